"""The figure of the ablation: returns against CPU seconds, a row per family, a column per task set."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from stored import AblationRun
from variants import LETTERS, NO_PENALTY, NONE, VARIANTS

from tesp.report import words
from tesp.report.figures import style
from tesp.report.figures.learning_curves import TIME_UNITS

#: Width in inches; at the resolution of all figures about 1600 pixels.
WIDTH = 10.7
ROW, LEGEND = 2.9, 1.1

#: The first evaluation is of untrained networks, alike in all variants, and would only press the rest together.
FIRST = 1

BLACK = style.PALETTE[6]
LINES: dict[str, dict[str, Any]] = {
    NONE: {"color": style.GREY, "linewidth": 2.2},
    "A": {"color": style.colour(0), "linewidth": 1.3},
    "B": {"color": style.colour(1), "linewidth": 1.3},
    "C": {"color": style.colour(2), "linewidth": 1.3},
    "AB": {"color": style.colour(3), "linewidth": 1.3},
    "AC": {"color": style.colour(5), "linewidth": 1.3},
    "BC": {"color": style.colour(4), "linewidth": 1.3},
    "ABC": {"color": BLACK, "linewidth": 2.2},
    NO_PENALTY: {"color": BLACK, "linewidth": 1.3, "linestyle": ":"},
}
REFERENCE = "meta-sgd"
REFERENCE_LINE = {"color": "#7C3AED", "linewidth": 1.6, "linestyle": "--"}

#: CPU seconds of a run after each of its meta-updates.
Clock = Callable[[AblationRun], dict[int, float]]


def plot(runs: Sequence[AblationRun], clock: Clock, path: Path) -> Figure:
    """Draw the variants of TESP, and Meta-SGD with all additions that it can have.

    Args:
        runs: All runs.
        clock: See `Clock`.
        path: Where the figure is written.
    """
    families = list(dict.fromkeys(run.family for run in runs))
    figure = Figure(figsize=(WIDTH, ROW * len(families) + LEGEND), layout="constrained")
    panels = figure.subplots(len(families), 3, sharex="row", squeeze=False)
    for family, row in zip(families, panels, strict=True):
        _draw_row(row, family, [run for run in runs if run.family == family], clock)
    entries: dict[str, Any] = {}
    for axes in panels.flat:
        entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    order = [*VARIANTS["tesp"], *(label for label in entries if label not in VARIANTS["tesp"])]
    shown = {label: entries[label] for label in order if label in entries}
    figure.legend(shown.values(), shown, loc="outside upper center", ncols=5, fontsize=style.LABEL_SIZE, frameon=False)
    counts = sorted({run.seed for run in runs})
    style.caption(
        figure,
        f"TESP with additions A (step size that finds itself), B (loss on every round), C (modulated policy): average "
        f"return after K fast-updates. Line: mean over up to {len(counts)} seed{'s' if len(counts) > 1 else ''}; band: "
        "least to greatest seed, where all have been evaluated. The start is not drawn; compilation and evaluations "
        "are not in the time.",
    )
    style.save(figure, path)
    return figure


def _draw_row(row: Sequence[Axes], family: str, runs: Sequence[AblationRun], clock: Clock) -> None:
    drawn = {("tesp", variant): (variant, look) for variant, look in LINES.items()}
    drawn[REFERENCE, LETTERS[REFERENCE]] = (
        f"{words.method(REFERENCE)}, {LETTERS[REFERENCE]}",
        REFERENCE_LINE,
    )
    spent = {run.name: clock(run) for run in runs}
    scale, unit = _unit(max((max(seconds.values()) for seconds in spent.values()), default=0.0))
    for axes, (task_set, title) in zip(row, words.TASK_SETS.items(), strict=True):
        style.tidy(axes, f"{family}: {title[0].lower()}{title[1:]}")
        axes.set_xlabel(f"CPU time ({unit})", fontsize=style.LABEL_SIZE)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        for (method, variant), (label, look) in drawn.items():
            members = [run for run in runs if (run.method, run.variant) == (method, variant)]
            _draw_line(axes, members, spent, task_set, scale, label, look)
    row[0].set_ylabel(words.returned("average return", True), fontsize=style.LABEL_SIZE)


def _draw_line(
    axes: Axes,
    runs: Sequence[AblationRun],
    spent: dict[str, dict[int, float]],
    task_set: str,
    scale: float,
    label: str,
    look: dict[str, Any],
) -> None:
    """Draw one mean with its band, at the evaluations that all seeds have."""
    shared = set.intersection(*(set(run.returns) for run in runs)) if runs else set()
    updates = [update for update in sorted(shared) if update >= FIRST]
    if not updates:
        return
    x = np.array([[spent[run.name][update] / scale for update in updates] for run in runs]).mean(axis=0)
    y = np.array([[run.returns[update][task_set, run.fast_updates] for update in updates] for run in runs])
    if len(runs) > 1:
        axes.fill_between(x, y.min(axis=0), y.max(axis=0), color=look["color"], alpha=0.09, linewidth=0)
    axes.plot(x, y.mean(axis=0), label=label, marker="o", markersize=2.5, **look)


def _unit(longest: float) -> tuple[float, str]:
    return next((scale, unit) for bound, scale, unit in TIME_UNITS if longest < bound)
