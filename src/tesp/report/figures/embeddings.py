"""The task embeddings in two dimensions, before and after the fast-updates, coloured by the task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from tesp.errors import ConfigurationError
from tesp.report import words
from tesp.report.figures import style
from tesp.report.records import Record, has_embeddings, tasks_by_set

#: A wheel of colours without a seam, of the palette's colours.
WHEEL = LinearSegmentedColormap.from_list("wheel", [style.PALETTE[i] for i in (0, 2, 4, 1, 3, 0)])

#: Side of a panel in inches.
SIDE = 3.6


@dataclass(frozen=True)
class _Colouring:
    """By what a column of panels is coloured."""

    label: str
    value: Callable[[np.ndarray], np.ndarray]
    colours: Colormap
    ticks: tuple[float, ...] | None = None


def _direction(tasks: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(tasks[:, 1], tasks[:, 0])) % 360.0


def _parameter(index: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda tasks: tasks[:, index]


GOALS = (
    _Colouring("direction of the goal (°)", _direction, WHEEL, (0.0, 90.0, 180.0, 270.0, 360.0)),
    _Colouring("distance of the goal (m)", lambda tasks: np.hypot(*tasks.T), style.COLOURS),
)


def plot_embeddings(records: Sequence[Record], output: str | Path) -> Figure:
    """Draw the embeddings of all tasks on the two axes along which they differ most after the fast-updates.

    The axes are the first two principal components of the embeddings after all fast-updates, all task sets together;
    the embeddings before the first fast-update stand on the same axes, at a scale of their own. One column of panels
    is coloured by the goal's direction and one by its distance; of tasks that are no goals in the plane, by the first
    parameter of the task and, if there is one, the second. Task sets differ by marker.

    Args:
        records: Records of a run's ``details.jsonl``; those of other kinds than ``task`` are passed over.
        output: Where the figure is written; the ending chooses the format.

    Raises:
        ConfigurationError: No task has an embedding, or the ending is not a known format.
    """
    sets = tasks_by_set(records)
    if not has_embeddings(records):
        raise ConfigurationError("No task has an embedding, since the method has none; so there is none to draw.")
    first = next(iter(sets.values()))[0]
    fast_updates = len(first["average_return"]) - 1
    project, explained = principal_axes(_stacked(sets, "after"))
    rows = {"before": "Before the fast-updates", "after": words.agent(fast_updates).capitalize()}
    if fast_updates == 0:
        rows = {"after": "Without fast-updates"}
    columns, every_task = _colourings(first), np.concatenate([_tasks(own) for own in sets.values()])
    size = (SIDE * len(columns) + 0.6, (SIDE + 0.2) * len(rows) + 1.75)
    figure, grid = style.panels(size, len(rows), len(columns), sharex="row", sharey="row")
    for (row, column), axes in np.ndenumerate(grid):
        (moment, title), colouring = list(rows.items())[row], columns[column]
        lowest = row == len(rows) - 1
        style.tidy(
            axes,
            title,
            f"first principal axis ({words.percent(explained[0])})" if lowest else "",
            "" if column else f"second principal axis ({words.percent(explained[1])})",
        )
        norm = _scale(colouring, every_task)
        for index, (name, own) in enumerate(sets.items()):
            points = project(np.array([record["embedding"][moment] for record in own], float))
            colours = colouring.colours(norm(colouring.value(_tasks(own))))
            look = {"marker": style.marker(index), "s": 24, "linewidths": 0.4, "edgecolors": "white"}
            axes.scatter(*points.T, c=colours, **look)
            if row == column == 0:
                axes.plot([], [], look["marker"], color=style.GREY, label=words.TASK_SETS[name])
        if lowest:
            _bar(figure, grid[:, column], colouring, norm)
    text = f"{words.origin(first)}. The axes are fitted to the embeddings {rows['after'].lower()} and hold "
    text += f"{words.percent(sum(explained))} of their variance."
    framed = _set_views(grid)
    style.legend(figure, "upper center")
    style.caption(figure, text + (" Dashed frame: what the upper panels show." if framed else ""))
    style.save(figure, output)
    return figure


def _set_views(grid: np.ndarray) -> bool:
    """Make every panel square; frame the view of the upper panels in the lower ones, and say whether there is one."""
    for axes in grid[:, 0]:
        style.square(axes)
    for axes in grid.flat:
        axes.set_box_aspect(1)
    if len(grid) == 1:
        return False
    (left, right), (bottom, top) = grid[0, 0].get_xlim(), grid[0, 0].get_ylim()
    for axes in grid[1]:
        frame = ([left, right, right, left, left], [bottom, bottom, top, top, bottom])
        axes.plot(*frame, "--", color="black", linewidth=1.0, scalex=False, scaley=False)
    return True


def principal_axes(points: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], tuple[float, float]]:
    """Return the projection x ↦ (x − mean)·V₂ on the two axes of greatest variance, and the share that each holds.

    V₂ are the first two right singular vectors of the centred points. Each points to where its entry that is greatest
    in absolute value is positive, so that the same points always give the same picture. Where there are fewer than
    two entries the second coordinate is 0.

    Args:
        points: One embedding a row, (point, entry).

    Returns:
        The projection, from (point, entry) to (point, 2), and the two shares of the variance, each from 0 to 1.
    """
    mean = points.mean(axis=0)
    _, singular, axes = np.linalg.svd(points - mean, full_matrices=False)
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    count = min(2, len(axes))
    chosen = np.zeros((points.shape[1], 2))
    chosen[:, :count] = axes[:count].T
    variance = np.zeros(2)
    variance[:count] = singular[:count] ** 2
    share = variance / max(float(np.sum(singular**2)), np.finfo(float).tiny)
    return lambda x: (x - mean) @ chosen, (float(share[0]), float(share[1]))


def _stacked(sets: Mapping[str, list[Record]], moment: str) -> np.ndarray:
    return np.array([record["embedding"][moment] for own in sets.values() for record in own], float)


def _tasks(records: Sequence[Record]) -> np.ndarray:
    return np.array([record["task"] for record in records], float)


def _colourings(record: Record) -> tuple[_Colouring, ...]:
    if record["is_goal"]:
        return GOALS
    names = [f"parameter {index + 1} of the task" for index in range(min(2, len(record["task"])))]
    return tuple(_Colouring(name, _parameter(index), style.COLOURS) for index, name in enumerate(names))


def _scale(colouring: _Colouring, tasks: np.ndarray) -> Normalize:
    if colouring.ticks is not None:
        return Normalize(colouring.ticks[0], colouring.ticks[-1])
    return style.scale(colouring.value(tasks))


def _bar(figure: Figure, axes: np.ndarray, colouring: _Colouring, norm: Normalize) -> None:
    bar = style.bar(
        figure, axes, norm, colouring.label, colouring.colours, location="bottom", fraction=0.035, aspect=30
    )
    if colouring.ticks is not None:
        bar.set_ticks(colouring.ticks)
