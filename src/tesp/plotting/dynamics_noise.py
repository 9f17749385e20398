"""The noise study: what is left of the return when the dynamics are disturbed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tesp.errors import ConfigurationError
from tesp.plotting import style
from tesp.plotting.published import check_published, published_ant
from tesp.plotting.records import Record, Run

#: (task set, σ) → meta-update → average returns of all runs.
Returns = dict[tuple[str, float], dict[int, list[float]]]


def plot_dynamics_noise(
    runs: Sequence[Run], evaluations: Sequence[Sequence[Record]], output: str | Path, published: bool = False
) -> Figure:
    """Draw the average return after K fast-updates under noise, in the form of the supplement's figure.

    One panel per task set, one line per σ over the checkpoints that were evaluated; the mean over runs.

    Args:
        runs: Runs of one family.
        evaluations: What `tesp evaluate` stored of each run; where it evaluated a checkpoint at one σ twice, the later
            evaluation counts.
        output: Where the figure is written; the ending chooses the format.
        published: Whether the published curves of the ant are drawn too, dotted.

    Raises:
        ConfigurationError: There is no evaluation with a σ, or nothing was published for the family.
    """
    path = style.check_output(output)
    if published:
        check_published(runs)
    returns = _returns(evaluations)
    if not returns:
        raise ConfigurationError(
            "There is no evaluation to draw; evaluate first, for instance with --dynamics-noise 0 0.01 0.05 0.1."
        )
    sigmas = sorted({sigma for _, sigma in returns})
    figure = Figure(figsize=(12.5, 3.9), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (task_set, title) in zip(panels, style.TASK_SETS.items(), strict=True):
        style.tidy(axes, title)
        axes.set_xlabel("meta-updates", fontsize=style.LABEL_SIZE)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for index, sigma in enumerate(sigmas):
            _draw(axes, returns.get((task_set, sigma), {}), sigma, index)
        if published:
            _draw_published(axes, task_set, sigmas)
    panels[0].set_ylabel(style.RETURN_LABEL, fontsize=style.LABEL_SIZE)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=style.LABEL_SIZE, frameon=False)
    text = "Average return after the last fast-update; noise N(0, σ²) on the state after every control step"
    many = f", mean of {len(runs)} runs" if len(runs) > 1 else ""
    style.caption(figure, text + many + ("; dotted: TESP, as published." if published else "."))
    style.save(figure, path)
    return figure


def _returns(evaluations: Sequence[Sequence[Record]]) -> Returns:
    returns: Returns = {}
    for records in evaluations:
        last: dict[tuple[str, float, int], float] = {}
        for record in records:
            key = (record["task_set"], record.get("dynamics_noise", 0.0), record["meta_update"])
            # Records of one evaluation come in the order of k, so the last of a key is that of the greatest k.
            last[key] = record["average_return"]
        for (task_set, sigma, update), value in last.items():
            returns.setdefault((task_set, sigma), {}).setdefault(update, []).append(value)
    return returns


def _draw(axes: Axes, points: dict[int, list[float]], sigma: float, index: int) -> None:
    updates = sorted(points)
    means = [float(np.mean(points[update])) for update in updates]
    look = {"color": style.colour(index), "marker": style.marker(index), "markersize": 4, "linewidth": 1.8}
    axes.plot(updates, means, label=f"σ = {sigma:g}", **look)


def _draw_published(axes: Axes, task_set: str, sigmas: Sequence[float]) -> None:
    for index, sigma in enumerate(sigmas):
        if (task_set, sigma) in published_ant():
            curve = published_ant()[task_set, sigma]
            axes.plot(*curve, ":", color=style.colour(index), linewidth=1.4, label=f"σ = {sigma:g}, published")
