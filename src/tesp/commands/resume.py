"""``tesp resume``."""

from dataclasses import dataclass

from rich.console import Console

from tesp.commands.parsing import Folder, Trust, parse
from tesp.commands.showing import finish


@dataclass(frozen=True)
class ResumeArguments:
    """Continue a run from its last checkpoint, as if it had not been interrupted."""

    run: Folder
    """The run folder."""
    meta_updates: int | None = None
    """Another length for the run; by default the one that it has. What depends on the length follows the new one."""
    trust: Trust = False


def run(arguments: list[str], console: Console) -> None:
    """Continue a run."""
    from tesp import runs

    parsed = parse(ResumeArguments, arguments, "tesp resume")
    run = runs.resume(parsed.run, console, meta_updates=parsed.meta_updates, trust=parsed.trust)
    finish(run.folder.path, console)
