"""``tesp resume``."""

from dataclasses import dataclass, field

import tyro
from rich.console import Console

from tesp.commands.elsewhere import HostArguments, elsewhere_of
from tesp.commands.parsing import Folder, Trust, parse, with_value
from tesp.commands.showing import finish


@dataclass(frozen=True)
class ResumeArguments:
    """Continue a run from its last checkpoint, as if it had not been interrupted."""

    run: Folder
    """The run folder."""
    meta_updates: int | None = None
    """Another length for the run; by default the one that it has. What depends on the length follows the new one."""
    trust: Trust = False
    on: tyro.conf.OmitArgPrefixes[HostArguments] = field(default_factory=HostArguments)
    """Where the tasks are worked on; a run may go on elsewhere than it began."""


def run(arguments: list[str], console: Console) -> None:
    """Continue a run."""
    from tesp import runs

    parsed = parse(ResumeArguments, with_value(arguments, "--ray", "local"), "tesp resume")
    elsewhere = elsewhere_of(parsed.on, console)
    run = runs.resume(parsed.run, console, meta_updates=parsed.meta_updates, trust=parsed.trust, elsewhere=elsewhere)
    finish(run.folder.path, console)
