"""Put the learner that a run ended with into the package, with its card.

    tesp train reacher2 --preset small --seed 100 --output runs/reacher2
    python experiments/trained/shelve.py --run runs/reacher2 --name reacher2

It is the last learner and not the best one, so that nothing is chosen by the returns that its card tells.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

import tesp
from tesp import trained
from tesp.commands.card import card_of

SHELF = Path(trained.__file__).parent


@dataclass(frozen=True)
class Arguments:
    """Put a run's learner into the package."""

    run: Path
    """The run folder."""
    name: str
    """What it is called there, without `tesp/`."""


def shelve(arguments: Arguments) -> list[Path]:
    """Write the learner and its card; return both files."""
    file = tesp.load(arguments.run, "latest").save(SHELF / f"{arguments.name}{trained.ENDING}")
    card = file.with_suffix(".md")
    card.write_text(card_of(arguments.run, "latest", f"{trained.PREFIX}{arguments.name}"), encoding="utf-8")
    return [file, card]


if __name__ == "__main__":
    for path in shelve(tyro.cli(Arguments, description=__doc__)):
        print(f"written: {path}")
