"""Where the adapted agent goes on every task: the goals on the plane and a path to each, coloured by return."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tesp.errors import ConfigurationError
from tesp.report import words
from tesp.report.figures import style
from tesp.report.records import Record, has_paths, tasks_by_set

#: Side of a panel in inches.
SIDE = 4.4

#: So many per cent of the tasks, those with the lowest returns, share the first colour.
LOWEST = 5.0


def plot_task_paths(records: Sequence[Record], output: str | Path) -> Figure:
    """Draw the goals of D, D′ and D″ with one path each, after all fast-updates.

    Goals and paths are coloured by the task's average return; the path is that of the episode with the median return.
    Where a family's tasks are separated by a circle, D and D″ share a panel (inside and outside), and D′ has its own;
    else every task set has its own. Tasks that are no goals in the plane have paths only.

    Args:
        records: Records of a run's ``details.jsonl``; those of other kinds than ``task`` are passed over.
        output: Where the figure is written; the ending chooses the format.

    Raises:
        ConfigurationError: No task has a path, or the ending is not a known format.
    """
    sets = tasks_by_set(records)
    if not has_paths(records):
        raise ConfigurationError("No task has a path in the plane, so there is none to draw.")
    first = next(iter(sets.values()))[0]
    panels = _panels(sets, first.get("boundary_radius"))
    norm, extend = _return_scale([record for own in panels.values() for record in own])
    size = (SIDE * len(panels) + 1.2, SIDE + 1.15)
    figure, grid = style.panels(size, columns=len(panels), layout="compressed", sharex=True, sharey=True)
    for axes, (title, own) in zip(grid[0], panels.items(), strict=True):
        style.tidy(axes, title, "x (m)", "y (m)" if axes is grid[0, 0] else "")
        axes.set_aspect("equal")
        _draw(axes, own, norm)
    style.bar(figure, grid, norm, words.returned("average return", first["is_goal"]), extend=extend)
    style.legend(figure, "upper center")
    fast_updates = len(first["average_return"]) - 1
    style.caption(
        figure,
        f"{words.origin(first)}; {words.agent(fast_updates)}. Colour: average return of the task's episodes; path: "
        "the episode with the median return.",
    )
    style.save(figure, output)
    return figure


def _panels(sets: Mapping[str, list[Record]], boundary: float | None) -> dict[str, list[Record]]:
    """Return the records by the title of the panel that they belong to."""
    if boundary is None or "out_of_distribution" not in sets or len(sets) == 1:
        return {words.TASK_SETS[name]: own for name, own in sets.items()}
    panels = {}
    if "train" in sets:
        panels["Training tasks D inside the circle, D″ outside"] = sets["train"] + sets["out_of_distribution"]
    if "in_distribution" in sets:
        alone = "train" not in sets
        title = "New tasks D′ inside the circle, D″ outside" if alone else words.TASK_SETS["in_distribution"]
        panels[title] = sets["in_distribution"] + (sets["out_of_distribution"] if alone else [])
    return panels


def _return_scale(records: Sequence[Record]) -> tuple[Normalize, Literal["neither", "min"]]:
    """Return the scale of the colours, and whether some tasks lie below it.

    The few tasks that failed would leave one colour to all the others, so the scale begins where they end.
    """
    returns = [record["average_return"][-1] for record in records]
    low = float(np.percentile(returns, LOWEST))
    return style.scale(returns, low), "min" if min(returns) < low else "neither"


def _draw(axes: Axes, records: Sequence[Record], norm: Normalize) -> None:
    first = records[0]
    radius = first.get("boundary_radius")
    style.boundary(axes, radius, f"circle of {radius:g} m" if radius is not None else "")
    # The best tasks are drawn last, hence on top where many paths leave the start.
    drawn = sorted(
        (record for record in records if record["path"] is not None), key=lambda record: record["average_return"][-1]
    )
    colours = style.COLOURS(norm([record["average_return"][-1] for record in drawn]))
    paths = [np.array([record["start"], *record["path"]], float) for record in drawn]
    axes.add_collection(LineCollection(paths, colors=colours, linewidths=0.8, alpha=0.7))
    axes.autoscale_view()
    goals = np.array([record["task"] for record in drawn if record["is_goal"]]).reshape(-1, 2)
    if len(goals):
        missing = [np.array([path[-1], goal]) for path, goal in zip(paths, goals, strict=True)]
        axes.add_collection(LineCollection(missing, colors=style.GREY, linewidths=0.8, alpha=0.8))
        axes.scatter(*goals.T, c=colours, s=32, zorder=3, linewidths=0.7, edgecolors="black")
    else:
        ends = np.array([path[-1] for path in paths]).reshape(-1, 2)
        axes.scatter(*ends.T, c=colours, s=18, zorder=3, linewidths=0.5, edgecolors="white")
    style.starts(axes, np.unique([path[0] for path in paths], axis=0))
    axes.plot([], [], "o", color=style.GREY, markersize=5, label="goal" if first["is_goal"] else "end of an episode")
    if first["is_goal"]:
        axes.plot([], [], color=style.GREY, linewidth=0.8, label="what is left to the goal")
