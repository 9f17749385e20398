"""``tesp resume``."""

from dataclasses import dataclass

from rich.console import Console

from tesp.commands.parsing import Folder, parse
from tesp.commands.showing import finish


@dataclass(frozen=True)
class ResumeArguments:
    """Continue a run from its last checkpoint, as if it had not been interrupted."""

    run: Folder
    """The run folder."""


def run(arguments: list[str], console: Console) -> None:
    """Continue a run."""
    from tesp import runs

    parsed = parse(ResumeArguments, arguments, "tesp resume")
    console.print(f"run folder: {parsed.run}", markup=False)
    run = runs.resume(parsed.run, console)
    finish(run.folder.path, console)
