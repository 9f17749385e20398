"""Where the agent went while it adapted: one panel per round."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from tesp.errors import ConfigurationError
from tesp.plotting import style
from tesp.plotting.records import Record

#: Panels in a row before the rounds of a goal go on in the next row.
COLUMNS = 6

#: Side of a panel in inches.
SIDE = 2.5

#: Viridis without its yellow end, which is hard to see on white.
COLOURS = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.9, 256)))

ANGLES = np.linspace(0.0, 2 * np.pi, 181)

#: The unit circle, (x or y, point).
CIRCLE = np.array([np.cos(ANGLES), np.sin(ANGLES)])

GOAL_COLOUR = "#D55E00"


def plot_trajectories(
    adaptation_records: Sequence[Record], output: str | Path, adaptation_id: str | None = None
) -> Figure:
    """Draw the episodes of every round of an adaptation, coloured by their return.

    The rounds are the warm-up and those after 0, 1, …, K fast-updates. If the adaptation had several goals,
    each has a row of its own. A task that is not a point of the plane has no star.

    Args:
        adaptation_records: Records of kind ``adaptation``; others are passed over.
        output: Where the figure is written; the ending chooses the format.
        adaptation_id: Which adaptation; None for the last one.

    Raises:
        ConfigurationError: There is no such adaptation, or the ending is not a known format.
    """
    path = style.check_output(output)
    goals = _rounds_by_goal(_choose(adaptation_records, adaptation_id))
    norm = _return_scale(goals)
    columns = min(COLUMNS, max(len(rounds) for rounds in goals.values()))
    rows = [-(-len(rounds) // columns) for rounds in goals.values()]
    legend_columns = 4 if columns > 2 else columns
    legend_height = 0.22 * -(-4 // legend_columns)
    size = (SIDE * columns + 1.5, (SIDE + 0.6) * sum(rows) + legend_height + 0.45)
    figure = Figure(figsize=size, layout="compressed")
    grid = figure.subplots(sum(rows), columns, sharex=True, sharey=True, squeeze=False)
    unused = set(grid.flat)
    for rounds, start in zip(goals.values(), np.cumsum([0, *rows]), strict=False):
        for place, (fast_update, record) in enumerate(sorted(rounds.items())):
            axes = grid[start + place // columns, place % columns]
            unused.discard(axes)
            _draw_round(axes, fast_update, record, norm)
    for axes in unused:
        axes.set_axis_off()
    _label_edges(grid, unused)
    _show_everything(grid[0, 0])
    bar = figure.colorbar(ScalarMappable(norm, COLOURS), ax=grid, fraction=0.03, pad=0.015)
    bar.set_label("return of the episode (m·steps)", fontsize=style.LABEL_SIZE)
    bar.ax.tick_params(labelsize=style.TICK_SIZE)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=legend_columns,
        fontsize=style.LABEL_SIZE,
        frameon=False,
    )
    style.save(figure, path)
    return figure


def _choose(records: Sequence[Record], adaptation_id: str | None) -> list[Record]:
    adaptations = [record for record in records if record["kind"] == "adaptation"]
    if not adaptations:
        raise ConfigurationError("There is no adaptation to draw; adapt to a goal first.")
    known = list(dict.fromkeys(record.get("adaptation_id") for record in adaptations))
    if adaptation_id is None:
        adaptation_id = adaptations[-1].get("adaptation_id")
    if adaptation_id not in known:
        raise ConfigurationError(
            f"adaptation_id = {adaptation_id!r} does not exist; give one of {', '.join(map(repr, known))}."
        )
    return [record for record in adaptations if record.get("adaptation_id") == adaptation_id]


def _rounds_by_goal(records: Sequence[Record]) -> dict[tuple[float, ...], dict[int, Record]]:
    goals: dict[tuple[float, ...], dict[int, Record]] = {}
    for record in records:
        goals.setdefault(tuple(record["goal"]), {})[record["fast_update"]] = record
    return goals


def _return_scale(goals: Mapping[tuple[float, ...], Mapping[int, Record]]) -> Normalize:
    returns = [
        episode["average_return"]
        for rounds in goals.values()
        for record in rounds.values()
        for episode in record["episodes"]
    ]
    if not returns:
        raise ConfigurationError("The adaptation holds no episode, so there is no trajectory to draw.")
    low, high = min(returns), max(returns)
    return Normalize(low, high if high > low else low + 1.0)


def _draw_round(axes: Axes, fast_update: int, record: Record, norm: Normalize) -> None:
    episodes = sorted(record["episodes"], key=lambda episode: episode["average_return"])
    start = np.asarray(record["start"], float)
    paths = [np.vstack([start, *np.reshape(episode["position"], (-1, 2))]) for episode in episodes]
    returns = np.array([episode["average_return"] for episode in episodes])
    style.tidy(axes, _title(fast_update, record))
    axes.set_aspect("equal")
    if record.get("boundary_radius") is not None:
        circle = record["boundary_radius"] * CIRCLE
        axes.plot(*circle, ":", color=style.GREY, linewidth=1.2, label="boundary between D, D′ and D″")
    axes.add_collection(LineCollection(paths, array=returns, cmap=COLOURS, norm=norm, linewidths=1.1, alpha=0.85))
    ends = np.array([path[-1] for path in paths]).reshape(-1, 2)
    axes.scatter(*ends.T, c=returns, cmap=COLOURS, norm=norm, s=20, zorder=3, linewidths=0.5, edgecolors="white")
    axes.plot([], [], "o", color=style.GREY, markersize=4, label="end of an episode")
    axes.scatter(*start, marker="s", s=34, color="black", edgecolors="white", zorder=4, label="start")
    if len(record["goal"]) == 2:
        axes.scatter(*record["goal"], marker="*", s=170, color=GOAL_COLOUR, edgecolors="white", zorder=5, label="goal")


def _title(fast_update: int, record: Record) -> str:
    plural = "" if fast_update == 1 else "s"
    name = "Warm-up" if fast_update < 0 else f"After {fast_update} fast-update{plural}"
    return (
        f"{name}\nreturn {style.number(record['average_return'], 1)}, success {style.percent(record['success_rate'])}"
    )


def _show_everything(axes: Axes) -> None:
    """Make the shared view square, so that every panel fills its place."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    half = max(right - left, top - bottom) / 2
    axes.set_xlim((left + right) / 2 - half, (left + right) / 2 + half)
    axes.set_ylim((bottom + top) / 2 - half, (bottom + top) / 2 + half)


def _label_edges(grid: np.ndarray, unused: set[Axes]) -> None:
    """Label the outermost panels, and show the ticks of those above an unused place."""
    last = len(grid) - 1
    for (row, column), axes in np.ndenumerate(grid):
        if axes in unused:
            continue
        if row == last or grid[row + 1, column] in unused:
            axes.set_xlabel("x (m)", fontsize=style.LABEL_SIZE)
            axes.tick_params(labelbottom=True)
        if column == 0:
            axes.set_ylabel("y (m)", fontsize=style.LABEL_SIZE)
