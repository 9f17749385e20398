"""The two lines that frame every result: standing still below, the oracle above."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from tesp.report import words
from tesp.report.figures import style
from tesp.report.oracles import oracle_records
from tesp.report.records import RunRecords


def draw_references(axes: Axes, runs: Sequence[RunRecords], oracles: Sequence[RunRecords], task_set: str) -> None:
    """Draw standing still and the oracle as dashed lines, each the mean over the seeds that have it."""
    # Runs of one seed have the same tasks: each seed counts once, however many methods were trained on it.
    still = {_seed(run): found[task_set] for run in runs if task_set in (found := run.stand_still())}
    told = {_seed(run): found[task_set] for run in oracles if task_set in (found := oracle_records(run))}
    for found, colour, label in ((still, style.GREY, words.STANDING_STILL), (told, "black", words.TOLD)):
        returns = [record["average_return"] for record in found.values()]
        if returns:
            axes.axhline(float(np.mean(returns)), color=colour, linestyle="--", linewidth=1.2, label=label)


def _seed(run: RunRecords) -> int:
    seeds = (record["seed"] for records in run.records.values() for record in records if "seed" in record)
    return next(seeds, id(run))
