"""``tesp push``."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from tesp.commands.parsing import Folder, Trust, parse


@dataclass(frozen=True)
class PushArguments:
    """Send the learner of a run and its card to a repository on Hugging Face."""

    run: Folder
    """The run folder."""
    repository: Annotated[str, tyro.conf.Positional]
    """USER/NAME; it is made if there is none."""
    checkpoint: str = "best"
    """`best` (highest return on D′), `latest` or a number of meta-updates."""
    license: str = "mit"
    """Identifier of the licence that it is given away under."""
    private: bool = False
    """Whether nobody else sees a repository that is made."""
    trust: Trust = False


def run(arguments: list[str], console: Console) -> None:
    """Send a learner."""
    from tesp import hub, runs
    from tesp.commands.card import card_of

    parsed = parse(PushArguments, arguments, "tesp push")
    text = card_of(parsed.run, parsed.checkpoint, parsed.repository, parsed.license, trust=parsed.trust)
    with tempfile.TemporaryDirectory() as folder:
        file = runs.load(parsed.run, parsed.checkpoint, trust=parsed.trust).save(Path(folder) / hub.LEARNER)
        address = hub.push(file, text, parsed.repository, private=parsed.private)
    console.print(f"sent: {address}", markup=False)
