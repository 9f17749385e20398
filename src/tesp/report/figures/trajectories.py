"""Where the agent went while it adapted: one panel per round."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from tesp.errors import ConfigurationError
from tesp.report import words
from tesp.report.figures import style
from tesp.report.records import Record, has_distance

#: Panels in a row before the rounds go on in the next row.
COLUMNS = 6

#: Side of a panel in inches.
SIDE = 2.5

GOAL_COLOUR = "#D55E00"


def plot_trajectories(records: Sequence[Record], output: str | Path) -> Figure:
    """Draw the episodes of every round of the last adaptation, coloured by their return.

    The rounds are the warm-up and those after 0, 1, …, K fast-updates. A task that is not a point of the plane has no
    star.

    Args:
        records: Records of kind ``adaptation``; others are passed over.
        output: Where the figure is written; the ending chooses the format.

    Raises:
        ConfigurationError: There is no adaptation or no episode in it, or the ending is not a known format.
    """
    adaptations = [record for record in records if record["kind"] == "adaptation"]
    if not adaptations:
        raise ConfigurationError("There is no adaptation to draw; adapt to a goal first.")
    latest = adaptations[-1].get("adaptation_id")
    rounds = {record["fast_update"]: record for record in adaptations if record.get("adaptation_id") == latest}
    returns = [episode["average_return"] for record in rounds.values() for episode in record["episodes"]]
    if not returns:
        raise ConfigurationError("The adaptation holds no episode, so there is no trajectory to draw.")
    norm = style.scale(returns)
    columns = min(COLUMNS, len(rounds))
    rows = -(-len(rounds) // columns)
    entries = 4 if columns > 2 else columns
    size = (SIDE * columns + 1.5, (SIDE + 0.6) * rows + 0.22 * -(-4 // entries) + 0.45)
    figure, grid = style.panels(size, rows, columns, layout="compressed", sharex=True, sharey=True)
    metres = any(map(has_distance, rounds.values()))
    # Where nothing is to be reached, nobody succeeds.
    reaches = metres or any(record["success_rate"] > 0 for record in rounds.values())
    for place, (axes, (fast_update, record)) in enumerate(zip(grid.flat, sorted(rounds.items()), strict=False)):
        above_nothing = place + columns >= len(rounds)
        style.tidy(
            axes,
            _title(fast_update, record, reaches),
            "x (m)" if above_nothing else "",
            "" if place % columns else "y (m)",
        )
        axes.tick_params(labelbottom=above_nothing)
        _draw_round(axes, record, norm, metres)
    for axes in list(grid.flat)[len(rounds) :]:
        axes.set_axis_off()
    style.square(grid[0, 0])
    style.bar(figure, grid, norm, words.returned("return of the episode", metres))
    style.legend(figure, "lower center", entries)
    style.save(figure, output)
    return figure


def _draw_round(axes: Axes, record: Record, norm: Normalize, metres: bool) -> None:
    episodes = sorted(record["episodes"], key=lambda episode: episode["average_return"])
    start = np.asarray(record["start"], float)
    paths = [np.vstack([start, *np.reshape(episode["position"], (-1, 2))]) for episode in episodes]
    returns = np.array([episode["average_return"] for episode in episodes])
    coloured = {"cmap": style.COLOURS, "norm": norm}
    axes.set_aspect("equal")
    style.boundary(axes, record.get("boundary_radius"), "boundary between D, D′ and D″")
    axes.add_collection(LineCollection(paths, array=returns, **coloured, linewidths=1.1, alpha=0.85))
    ends = np.array([path[-1] for path in paths]).reshape(-1, 2)
    axes.scatter(*ends.T, c=returns, **coloured, s=20, zorder=3, linewidths=0.5, edgecolors="white")
    axes.plot([], [], "o", color=style.GREY, markersize=4, label="end of an episode")
    style.starts(axes, start[None])
    if metres and len(record["goal"]) == 2:
        axes.scatter(*record["goal"], marker="*", s=170, color=GOAL_COLOUR, edgecolors="white", zorder=5, label="goal")


def _title(fast_update: int, record: Record, reaches: bool) -> str:
    name = "Warm-up" if fast_update < 0 else f"After {words.fast_updates(fast_update)}"
    title = f"{name}\nreturn {words.number(record['average_return'], 1)}"
    return f"{title}, success {words.percent(record['success_rate'])}" if reaches else title
