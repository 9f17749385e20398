"""The command line: ``tesp COMMAND …``; a command's module is imported when it is called."""

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from tesp.compilation_cache import use_compilation_cache
from tesp.devices import use_all_cores
from tesp.errors import NonFiniteError, RunsFailedError, TespError, did_you_mean
from tesp.offscreen import use_offscreen_rendering
from tesp.output import open_console, shown_on
from tesp.signals import Ended, ending_cleanly

#: Commands and the modules they are in. A module is imported when its command is called.
_COMMANDS = {
    "train": "tesp.commands.train",
    "resume": "tesp.commands.resume",
    "evaluate": "tesp.commands.evaluate",
    "adapt": "tesp.commands.adapt",
    "compare": "tesp.commands.compare",
    "sweep": "tesp.commands.sweep",
    "plot": "tesp.commands.plot",
    "render": "tesp.commands.render",
    "report": "tesp.commands.report",
    "export": "tesp.commands.export",
    "card": "tesp.commands.card",
    "push": "tesp.commands.push",
    "pull": "tesp.commands.pull",
    "list": "tesp.commands.listing",
    "completion": "tesp.commands.completion",
}

_USAGE = """usage: tesp COMMAND …

  tesp train FAMILY [--preset quick|small|paper] [--seed N] [--output DIR] …   meta-train; `tesp train FAMILY --help`
  tesp resume RUN                           continue an interrupted run
  tesp evaluate RUN [--checkpoint best]     returns on D, D′ and D″ after 0…K fast-updates
  tesp adapt RUN --goal X Y                 adapt to one task it has never seen; RUN may be tesp/point and the like
  tesp compare FAMILY [--seeds 0 1 2] …     train several methods alike; one table, one figure
  tesp sweep FILE.toml [--ray] …            train families × methods × seeds × options, on one machine or many
  tesp plot RUN… [--x meta_updates]         draw learning curves and more
  tesp render RUN [--task X Y] …            film the agent before and after each fast-update; stills of the bodies
  tesp report RUN… [--output report.html]   write one HTML file with all there is to know about runs
  tesp export RUN [--format onnx] …         write the learner as one small file, and the records as CSV tables; or ONNX
  tesp card RUN                             what a trained learner can do and cannot, as a page
  tesp push RUN USER/NAME, tesp pull USER/NAME   send a learner and its card to Hugging Face; fetch one
  tesp list [DIR] [--trained]               families, methods and runs; learners that come with the package
  tesp completion bash|zsh|fish             a script for the shell, so that TAB completes what stands here
  tesp --version                            the version

Exit codes: 0 done, 1 numbers became NaN or infinite, or some of several runs failed, 2 something that was given or
found is not possible, 130 Ctrl-C, 143 SIGTERM, 129 the terminal is gone.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    0: done. 1: numbers became NaN or infinite, or some of several runs failed. 2: the input is not possible, or
    something outside failed. 128 + the number of a signal that ended it: 130 Ctrl-C, 143 SIGTERM, 129 the terminal is
    gone.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    console, errors = open_console(), open_console(stderr=True)
    if not given or given[0] in ("-h", "--help", "help"):
        console.print(_USAGE, markup=False)
        return 0 if given else 2
    command, *rest = given
    if command in ("--version", "-V", "version"):
        console.print(f"tesp {version('tesp')}")
        return 0
    if command not in _COMMANDS:
        errors.print(f"tesp: there is no command {command!r}{did_you_mean(command, _COMMANDS)}.")
        return 2
    try:
        with ending_cleanly(), shown_on(errors):
            use_all_cores()
            use_compilation_cache()
            use_offscreen_rendering()
            # Figures are only written to files. What a notebook sets for itself is of no use to the commands it calls.
            os.environ["MPLBACKEND"] = "agg"
            import_module(_COMMANDS[command]).run(rest, console)
    except TespError as error:
        errors.print(f"tesp: {error}", markup=False)
        return 1 if isinstance(error, NonFiniteError | RunsFailedError) else 2
    except KeyboardInterrupt as error:
        errors.print(f"tesp: interrupted.{_next_steps(error)}")
        return 128 + (error.number if isinstance(error, Ended) else 2)
    except Exception as error:
        if _disk_is_full(error):
            errors.print(
                f"tesp: the disk is full. What was stored before is whole; free some space.{_next_steps(error)}"
            )
        elif isinstance(error, OSError) and error.filename is not None:
            errors.print(f"tesp: {error.filename} cannot be used: {error.strerror}.", markup=False)
        else:
            raise
        return 2
    return 0


def _next_steps(error: BaseException) -> str:
    """Return what those who were interrupted said of how to go on."""
    return "".join(f" {note}" for note in getattr(error, "__notes__", ()))


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        # Checkpoints are written by a library that reports the system's message inside its own exceptions.
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    sys.exit(main())
