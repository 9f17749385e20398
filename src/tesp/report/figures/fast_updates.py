"""What each fast-update gains."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tesp.report import words
from tesp.report.figures import style
from tesp.report.figures.reference_lines import draw_references
from tesp.report.records import Record, RunRecords

#: More bars than this are too narrow for a number each.
MOST_NUMBERS = 6


def plot_fast_updates(run: RunRecords, output: str | Path, oracle: RunRecords | None = None) -> Figure:
    """Draw the average return after k = 0 … K fast-updates at the last evaluation, one panel per task set.

    The bars reach from 0, so with returns that are negative distances the shorter one is the better one; the whiskers
    span one standard deviation over tasks to either side. Dashed lines mark standing still and the oracle.

    Args:
        run: The run.
        output: Where the figure is written; the ending chooses the format.
        oracle: The oracle trained on the same tasks, if there is one.

    Raises:
        RunFolderError: The run has no evaluation.
        ConfigurationError: The ending is not a known format.
    """
    _, evaluation = run.last_evaluation()
    task_sets = [name for name in words.TASK_SETS if name in evaluation]
    figure, grid = style.panels((2.9 * len(task_sets) + 0.9, 3.7), columns=len(task_sets), sharey=True)
    for index, (axes, task_set) in enumerate(zip(grid[0], task_sets, strict=True)):
        style.tidy(axes, words.TASK_SETS[task_set], "fast-updates k", "" if index else style.RETURN_LABEL)
        _draw_returns(axes, evaluation[task_set], index)
        draw_references(axes, [run], [] if oracle is None else [oracle], task_set)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.margins(x=0.12)
    first = next(iter(evaluation[task_sets[0]].values()))
    text = f"{words.origin(first)}; whiskers: one standard deviation over tasks"
    known = (("standing still (grey)", run.stand_still()), ("oracle (black)", oracle))
    dashed = [name for name, found in known if found]
    style.caption(figure, text + (f"; dashed: {' and '.join(dashed)}." if dashed else "."))
    style.save(figure, output)
    return figure


def _draw_returns(axes: Axes, records: Mapping[int, Record], index: int) -> None:
    returns = np.array([record["average_return"] for record in records.values()], float)
    # The more fast-updates, the fuller the colour.
    strength = np.linspace(0.35, 1.0, len(records))[:, None] if len(records) > 1 else np.ones((1, 1))
    own = np.array(to_rgb(style.colour(index)))
    axes.bar(
        list(records),
        returns,
        yerr=np.array([record["average_return_std"] for record in records.values()], float),
        color=strength * own + (1.0 - strength),
        edgecolor=style.colour(index),
        width=0.72,
        capsize=4,
        error_kw={"ecolor": "black", "elinewidth": 1.2},
    )
    axes.axhline(0.0, color=style.GREY, linewidth=1.0)
    # Bars would otherwise end the panel at 0, and their numbers would lie on its title.
    axes.use_sticky_edges = False
    axes.margins(y=0.1)
    if len(records) > MOST_NUMBERS:
        return
    for k, value in zip(records, returns, strict=True):
        # Beyond the base of the bar, where neither the bar nor the whisker is in the way.
        offset, side = ((0, -3), "top") if value > 0 else ((0, 3), "bottom")
        look = {"ha": "center", "va": side, "fontsize": style.TICK_SIZE}
        axes.annotate(words.number(value, 1), (k, 0.0), offset, textcoords="offset points", **look)
