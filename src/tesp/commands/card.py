"""``tesp card``."""

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tesp import trained
from tesp.commands.parsing import Folder, Trust, parse
from tesp.errors import ConfigurationError, RunFolderError


@dataclass(frozen=True)
class CardArguments:
    """Write the card of a trained learner: what it learned, what it returns with what certainty, and its limits."""

    run: Folder
    """The run folder; or the name of a learner that comes with the package, such as `tesp/reacher2`."""
    checkpoint: str = "best"
    """Which learner of a run: `best` (highest return on D′), `latest` or a number of meta-updates."""
    name: str = ""
    """What the learner is called; by default as the run's folder."""
    license: str = "mit"
    """Identifier of the licence that it is given away under."""
    output: Path | None = None
    """File to write; by default the card is shown."""
    trust: Trust = False


def run(arguments: list[str], console: Console) -> None:
    """Show or write a card."""
    parsed = parse(CardArguments, arguments, "tesp card")
    if trained.is_name(parsed.run):
        text = trained.card(os.fspath(parsed.run))
    else:
        text = card_of(parsed.run, parsed.checkpoint, parsed.name, parsed.license, trust=parsed.trust)
    if parsed.output is None:
        console.print(text.rstrip(), markup=False, soft_wrap=True)
        return
    from tesp.storage.files import write_whole

    try:
        write_whole(parsed.output, text)
    except OSError as error:
        raise RunFolderError(f"{parsed.output} cannot be written: {error.strerror}. Give another file.") from error
    console.print(f"written: {parsed.output}", markup=False)


def card_of(folder: Path, checkpoint: str, name: str = "", license_name: str = "mit", *, trust: bool = False) -> str:
    """Return the card of the learner in a run.

    Raises:
        RunFolderError: The folder is not a run's, or has no such checkpoint.
        ConfigurationError: The learner was not evaluated.
    """
    from tesp import runs
    from tesp.commands.reproducing import reproducing_command
    from tesp.report.card import card, facts_of

    if folder.is_file():
        raise ConfigurationError(f"{folder} is a file, which does not say what its learner returned; give the run.")
    run = runs.load(folder, checkpoint, trust=trust)
    assert run.origin.meta_update is not None
    facts = facts_of(folder, run.origin.meta_update)
    return card(facts, name or folder.resolve().name, reproducing_command(run.config), license_name.lower())
