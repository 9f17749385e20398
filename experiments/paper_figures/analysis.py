"""The paper's figures 4 and 5 and the numbers at their ends, from the stored records of the preset `small`.

    tesp sweep experiments/paper_figures/figure4.toml        # trains all of it: many core-hours
    python experiments/paper_figures/analysis.py --figure 4  # from experiments/records/campaign: figures and tables

Learning curves on D, D′ and D″ with bootstrap intervals over seeds, beside standing still and the oracle: of TESP,
MAML, Meta-SGD and AdaptSV (4), of TESP and V1 to V5 (5). A family is drawn once all methods have a seed in
common.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from tesp.config import of_today
from tesp.report import words
from tesp.report.comparison import comparison_markdown, comparison_rows
from tesp.report.figures.learning_curves import plot_learning_curves
from tesp.report.records import ARCHIVED, RunRecords, read_archived

ROOT = Path(__file__).parents[2]
FIGURES = {
    4: ("tesp", "maml", "meta-sgd", "adapt-sv"),
    5: ("tesp", *(f"tesp-v{number}" for number in range(1, 6))),
}


@dataclass(frozen=True)
class Arguments:
    """Draw one of the paper's figures and print its tables."""

    figure: Literal[4, 5] = 4
    """Which one."""
    records: Path = ROOT / "experiments" / "records" / "campaign"
    """Where the records lie."""
    output: Path = ROOT / "docs" / "images"
    """Folder of the figures."""


def found(records: Path, preset: str = "small") -> dict[str, list[RunRecords]]:
    """Return all whole runs of a preset by family, those of the first seeds first."""
    pattern = re.compile(rf"([a-z0-9]+)-([a-z0-9-]+?)-{preset}-seed(\d+){re.escape(ARCHIVED)}")
    runs: dict[str, list[RunRecords]] = {}
    for path in sorted(records.glob(f"*{ARCHIVED}")):
        if (named := pattern.fullmatch(path.name)) and named[2] in words.ALGORITHMS:
            run = read_archived(path)
            # Runs of one seed were trained when there were options that those of another did not know.
            runs.setdefault(named[1], []).append(replace(run, config=of_today(run.config)))
    return runs


def of_common_seeds(runs: list[RunRecords], methods: tuple[str, ...]) -> list[RunRecords]:
    """Return the runs of some methods, and of the oracle, on the seeds that all these methods have."""
    seeds = {m: {run.config["seed"] for run in runs if run.config["algorithm"] == m} for m in methods}
    common = set.intersection(*seeds.values())
    return [r for r in runs if r.config["seed"] in common and r.config["algorithm"] in (*methods, words.ORACLE)]


def main(arguments: Arguments) -> None:
    """Draw and print every family that has runs of all methods."""
    for family, runs in found(arguments.records).items():
        if chosen := of_common_seeds(runs, FIGURES[arguments.figure]):
            path = arguments.output / f"figure{arguments.figure}-{family}.png"
            plot_learning_curves(chosen, path, band="bootstrap")
            print(f"{family}: {path}\n\n{comparison_markdown(comparison_rows(chosen))}")


if __name__ == "__main__":
    main(tyro.cli(Arguments, description=__doc__))
