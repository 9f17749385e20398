"""What each fast-update gains."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tesp.report import words
from tesp.report.figures import fitting, style
from tesp.report.figures.reference_lines import draw_references
from tesp.report.records import Record, RunRecords

#: Width of a panel in inches, the share of it beside the bars on either side, and a bar's share of its room.
PANEL, MARGIN, BAR = 2.6, 0.12, 0.72

#: Quantiles of the tasks between which whiskers lie, in per cent.
WHISKERS = ("5", "95")

#: How large the numbers above the bars may be, in points, the first that fits.
SIZES = (style.TICK_SIZE, 8, 7)


def plot_fast_updates(run: RunRecords, output: str | Path, oracle: RunRecords | None = None) -> Figure:
    """Draw the average return after k = 0 … K fast-updates at the last evaluation, one panel per task set.

    The bars reach from 0, so with returns that are negative distances the shorter one is the better one. The
    whiskers hold nine tenths of the tasks, from the 5 % to the 95 % quantile of what they returned, so they end at
    returns that there were; evaluations of before tell no quantiles and have none. Dashed lines mark standing still and
    the oracle.

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
    label = words.returned("average return", run.in_metres)
    figure, grid = style.panels((2.9 * len(task_sets) + 0.9, 3.7), columns=len(task_sets), sharey=True)
    for index, (axes, task_set) in enumerate(zip(grid[0], task_sets, strict=True)):
        style.tidy(axes, words.TASK_SETS[task_set], "fast-updates k", "" if index else label)
        _draw_returns(axes, evaluation[task_set], index)
        draw_references(axes, [run], [] if oracle is None else [oracle], task_set)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.margins(x=MARGIN)
    first = next(iter(evaluation[task_sets[0]].values()))
    text = words.origin(first)
    if any(_whisker(record) for records in evaluation.values() for record in records.values()):
        text += f"; whiskers: {WHISKERS[0]} to {WHISKERS[1]} % of the tasks"
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
    axes.bar(list(records), returns, color=strength * own + (1.0 - strength), edgecolor=style.colour(index), width=BAR)
    for k, record in records.items():
        if whisker := _whisker(record):
            axes.plot([k, k], whisker, color="black", linewidth=1.2, marker="_", markersize=8)
    axes.axhline(0.0, color=style.GREY, linewidth=1.0)
    # Bars would otherwise end the panel at 0, and their numbers would lie on its title.
    axes.use_sticky_edges = False
    axes.margins(y=0.1)
    numbers, size = _fitting(returns)
    for k, value, number in zip(records, returns, numbers, strict=False):
        # Beyond the base of the bar, where neither the bar nor the whisker is in the way.
        offset, side = ((0, -3), "top") if value > 0 else ((0, 3), "bottom")
        look = {"ha": "center", "va": side, "fontsize": size}
        axes.annotate(number, (k, 0.0), offset, textcoords="offset points", **look)


def _whisker(record: Record) -> tuple[float, ...]:
    """Return the ends of a whisker, or nothing where they are not told."""
    quantiles = record.get("average_return_quantiles") or {}
    ends = tuple(float(quantiles.get(name, np.nan)) for name in WHISKERS)
    return ends if np.isfinite(ends).all() else ()


def _fitting(returns: np.ndarray) -> tuple[list[str], float]:
    """Return the numbers above the bars, and their size, such that they stand side by side; none if they cannot."""
    room = PANEL / ((len(returns) - 1 + BAR) * (1 + 2 * MARGIN))
    short = EngFormatter(places=1, sep="")
    for numbers in ([words.number(value, 1) for value in returns], [short(value) for value in returns]):
        for size in SIZES:
            if max(fitting.width_of(number, size) for number in numbers) + fitting.GAP / 72 <= room:
                return numbers, size
    return [], SIZES[0]
