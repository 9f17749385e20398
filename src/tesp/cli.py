"""The command line: ``tesp train | resume | evaluate | adapt | compare | plot | render | report | export | list``."""

import errno
import sys
from collections.abc import Sequence
from importlib import import_module

from rich.console import Console

from tesp.compilation_cache import use_compilation_cache
from tesp.devices import use_all_cores
from tesp.errors import NonFiniteError, TespError
from tesp.offscreen import use_offscreen_rendering

#: Commands and the modules they are in. A module is imported when its command is called.
_COMMANDS = {
    "train": "tesp.commands.train",
    "resume": "tesp.commands.resume",
    "evaluate": "tesp.commands.evaluate",
    "adapt": "tesp.commands.adapt",
    "compare": "tesp.commands.compare",
    "plot": "tesp.commands.plot",
    "render": "tesp.commands.render",
    "report": "tesp.commands.report",
    "export": "tesp.commands.export",
    "list": "tesp.commands.listing",
}

_USAGE = """usage: tesp COMMAND …

  tesp train FAMILY [--preset quick|small|paper] [--seed N] [--output DIR] …   meta-train; `tesp train FAMILY --help`
  tesp resume RUN                           continue an interrupted run
  tesp evaluate RUN [--checkpoint best]     returns on D, D′ and D″ after 0…K fast-updates
  tesp adapt RUN --goal X Y                 adapt to one task it has never seen
  tesp compare FAMILY [--seeds 0 1 2] …     train several methods alike; one table, one figure
  tesp plot RUN… [--x meta_updates]         draw learning curves and more
  tesp render RUN [--task X Y] …            film the agent before and after each fast-update; stills of the bodies
  tesp report RUN… [--output report.html]   write one HTML file with all there is to know about runs
  tesp export RUN [--output DIR]            write the learner as one small file, and the records as CSV tables
  tesp list [DIR]                           families, presets and runs
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 (numbers went wrong), 2 (input), 130 (Ctrl-C)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(highlight=False, soft_wrap=True)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if not given or given[0] in ("-h", "--help", "help"):
        console.print(_USAGE, markup=False)
        return 0 if given else 2
    command, *rest = given
    if command not in _COMMANDS:
        errors.print(f"tesp: there is no command {command!r}; known are: {', '.join(_COMMANDS)}.", markup=False)
        return 2
    try:
        use_all_cores()
        use_compilation_cache()
        use_offscreen_rendering()
        import_module(_COMMANDS[command]).run(rest, console)
    except TespError as error:
        errors.print(f"tesp: {error}", markup=False)
        return 1 if isinstance(error, NonFiniteError) else 2
    except KeyboardInterrupt:
        errors.print(
            "tesp: interrupted; `tesp resume RUN` continues a training run from its checkpoint, and the same command "
            "given again a comparison."
        )
        return 130
    except Exception as error:
        if _disk_is_full(error):
            errors.print(
                "tesp: the disk is full. What was stored before is whole; free some space and continue a training "
                "run with `tesp resume RUN`."
            )
        elif isinstance(error, OSError) and error.filename is not None:
            errors.print(f"tesp: {error.filename} cannot be used: {error.strerror}.", markup=False)
        else:
            raise
        return 2
    return 0


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        # Checkpoints are written by a library that reports the system's message inside its own exceptions.
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    sys.exit(main())
