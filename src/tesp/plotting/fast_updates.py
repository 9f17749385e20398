"""What each fast-update gains."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tesp.plotting import style
from tesp.plotting.evaluations import evaluation_at
from tesp.plotting.records import Record, Run
from tesp.plotting.references import draw_references

#: More bars than this are too narrow for a number each.
MOST_NUMBERS = 6


def plot_fast_updates(
    run: Run, output: str | Path, meta_update: int | None = None, oracle: Run | None = None
) -> Figure:
    """Draw the average return after k = 0 … K fast-updates, one panel per task set.

    The bars reach from 0, so with returns that are negative distances the shorter one is the better one; the whiskers
    span one standard deviation over tasks to either side. Dashed lines mark standing still and the oracle.

    Args:
        run: The run.
        output: Where the figure is written; the ending chooses the format.
        meta_update: Which evaluation; None for the last complete one.
        oracle: The oracle trained on the same tasks, if there is one.

    Raises:
        RunFolderError: The run has no evaluation.
        ConfigurationError: The run was not evaluated at ``meta_update``, or the ending is not a known format.
    """
    path = style.check_output(output)
    meta_update, evaluation = evaluation_at(run, meta_update)
    task_sets = [name for name in style.TASK_SETS if name in evaluation]
    figure = Figure(figsize=(2.9 * len(task_sets) + 0.9, 3.7), layout="constrained")
    panels = figure.subplots(1, len(task_sets), sharey=True, squeeze=False)[0]
    for index, (axes, task_set) in enumerate(zip(panels, task_sets, strict=True)):
        style.tidy(axes, style.TASK_SETS[task_set])
        _draw_returns(axes, evaluation[task_set], index)
        draw_references(axes, [run], [] if oracle is None else [oracle], task_set)
        axes.set_xlabel("fast-updates k", fontsize=style.LABEL_SIZE)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.margins(x=0.12)
    panels[0].set_ylabel(style.RETURN_LABEL, fontsize=style.LABEL_SIZE)
    first = next(iter(evaluation[task_sets[0]].values()))
    algorithm = style.ALGORITHMS.get(first["algorithm"], first["algorithm"])
    text = f"{algorithm} on {first['family']}, seed {first['seed']}, after {meta_update} meta-updates; "
    text += "whiskers: one standard deviation over tasks"
    dashed = [
        name for name, found in (("standing still (grey)", run.stand_still()), ("oracle (black)", oracle)) if found
    ]
    style.caption(figure, text + (f"; dashed: {' and '.join(dashed)}." if dashed else "."))
    style.save(figure, path)
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
        below = value > 0
        axes.annotate(
            style.number(value, 1),
            (k, 0.0),
            (0, -3 if below else 3),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            fontsize=style.TICK_SIZE,
        )
