"""Learning curves in the paper's form, one panel per task set and one line per algorithm, and the training below."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tesp.errors import ConfigurationError
from tesp.report import words
from tesp.report.figures import style
from tesp.report.figures.reference_lines import draw_references
from tesp.report.figures.training_rounds import caption_of_rounds, draw_rounds
from tesp.report.published import published_curves
from tesp.report.records import RunRecords
from tesp.report.seeds import FIELDS, Curve, TrainingRounds, curve, group_runs, training_rounds

BANDS = {
    "range": "band: least to greatest seed",
    "bootstrap": "band: 95 % bootstrap interval of the mean",
}

#: Height of the row of evaluations and of a row of training below it, in inches.
ABOVE, BELOW = 3.9, 3.0

#: An upper bound of the longest time in seconds, seconds per unit, and the unit.
TIME_UNITS = ((600.0, 1.0, "s"), (7200.0, 60.0, "min"), (np.inf, 3600.0, "h"))


def plot_learning_curves(
    runs: Sequence[RunRecords],
    output: str | Path,
    x: str = "meta_updates",
    *,
    band: str = "range",
    oracles: Sequence[RunRecords] = (),
    published: bool = False,
) -> Figure:
    """Draw the average return after K fast-updates against training, on D, D′ and D″.

    A line is the mean over an algorithm's seeds, at the meta-updates that all of them have reached; with two
    seeds or more a band surrounds it. Dashed lines mark what standing still returns, and what the oracle returned at
    its last evaluation; the oracle has a curve of its own only where it is the one algorithm.

    Below, one panel per algorithm shows what the rounds of training returned, from the warm-up round to that after K
    fast-updates, on the tasks of D that each meta-update drew; the mean over seeds.

    Args:
        runs: Runs of one family, of any number of algorithms and seeds.
        output: Where the figure is written; the ending chooses the format.
        x: What the curves are drawn against: ``meta_updates``, ``environment_steps`` or ``wall_seconds``;
            steps and seconds are means over seeds.
        band: ``range`` for least to greatest seed, ``bootstrap`` for 95 % intervals of the mean.
        oracles: Runs of the oracle that are not among ``runs``.
        published: Whether the paper's own curves are drawn too, where there are any (the ant, over meta-updates).

    Raises:
        RunFolderError: A run has no evaluation.
        ConfigurationError: The runs are of several families, runs of one algorithm share a seed or differ in
            K, or an argument is not possible.
    """
    _check(x, band)
    groups = group_runs(runs)
    oracles = [*oracles, *(groups.pop(words.ORACLE, []) if len(groups) > 1 else [])]
    known = published_curves(runs, x) if published else {}
    curves = {
        task_set: {name: curve(members, task_set, x, band) for name, members in groups.items()}
        for task_set in words.TASK_SETS
    }
    rounds = {name: found for name, members in groups.items() if (found := training_rounds(members, x)) is not None}
    label, scale = _axis(x, curves)
    height = words.returned("average return", any(run.in_metres for run in runs))
    figure, evaluated, trained = _panels(len(rounds))
    for axes, (task_set, title) in zip(evaluated, words.TASK_SETS.items(), strict=True):
        style.tidy(axes, title, label, height if task_set == "train" else "")
        _draw_curves(axes, curves[task_set], groups, scale)
        if task_set in known:
            axes.plot(*known[task_set], ":", color="black", linewidth=1.6, label="TESP, as published")
        draw_references(axes, runs, oracles, task_set)
    for axes, (name, found) in zip(trained, rounds.items(), strict=True):
        title = f"{words.method(name)} while training" if len(groups) > 1 else "While training, on tasks drawn from D"
        style.tidy(axes, title, label, height if _is_leftmost(axes) else "")
        draw_rounds(axes, found, scale)
        draw_references(axes, groups[name], oracles, "train")
    for axes in figure.axes:
        _count_along(axes, x)
    style.legend(figure)
    style.caption(figure, _caption(groups, band, rounds.values()))
    style.save(figure, output)
    return figure


def _check(x: str, band: str) -> None:
    for name, value, allowed in (("x", x, FIELDS), ("band", band, BANDS)):
        if value not in allowed:
            raise ConfigurationError(f"{name} = {value!r} is not possible; give one of {', '.join(allowed)}.")


def _count_along(axes: Axes, x: str) -> None:
    if x == "environment_steps":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=x == "meta_updates"))


def _panels(count: int) -> tuple[Figure, list[Axes], list[Axes]]:
    """Return a figure with one panel per task set above and ``count`` panels below, all with the same returns."""
    columns = 2 if count == 4 else min(max(count, 1), 3)
    rows = -(-count // columns)
    figure = style.blank((12.5, ABOVE + BELOW * rows))
    # Six is what one, two and three panels all divide.
    grid = figure.add_gridspec(1 + rows, 6, height_ratios=[ABOVE, *[BELOW] * rows])
    places = [(0, 3, column) for column in range(3)]
    places += [(1 + place // columns, columns, place % columns) for place in range(count)]
    drawn: list[Axes] = []
    for row, of, column in places:
        width = 6 // of
        axes = figure.add_subplot(grid[row, column * width : (column + 1) * width], sharey=drawn[0] if drawn else None)
        drawn.append(axes)
        axes.tick_params(labelleft=_is_leftmost(axes))
    return figure, drawn[:3], drawn[3:]


def _is_leftmost(axes: Axes) -> bool:
    place = axes.get_subplotspec()
    return place is not None and place.is_first_col()


def _draw_curves(axes: Axes, curves: Mapping[str, Curve], groups: Mapping[str, list[RunRecords]], scale: float) -> None:
    for index, (name, line) in enumerate(curves.items()):
        if not len(line.x):
            continue
        seeds = len(groups[name])
        if seeds > 1:
            axes.fill_between(line.x / scale, line.low, line.high, color=style.colour(index), alpha=0.16, linewidth=0)
        label = f"{words.method(name)} ({seeds} seed{'s' if seeds > 1 else ''})"
        axes.plot(line.x / scale, line.mean, label=label, **style.line(index))
    if not any(len(line.x) for line in curves.values()):
        look = {"ha": "center", "fontsize": style.LABEL_SIZE, "color": style.GREY}
        axes.text(0.5, 0.5, "not evaluated", transform=axes.transAxes, **look)


def _axis(x: str, curves: Mapping[str, Mapping[str, Curve]]) -> tuple[str, float]:
    """Return the label of the horizontal axis and what its values are divided by."""
    if x != "wall_seconds":
        return {"meta_updates": "meta-updates", "environment_steps": "environment steps"}[x], 1.0
    longest = max(line.x.max(initial=0.0) for lines in curves.values() for line in lines.values())
    scale, unit = next((scale, unit) for bound, scale, unit in TIME_UNITS if longest < bound)
    return f"wall-clock time ({unit})", scale


def _caption(groups: Mapping[str, list[RunRecords]], band: str, rounds: Collection[TrainingRounds]) -> str:
    counts = {run.fast_updates for runs in groups.values() for run in runs}
    after = words.fast_updates(counts.pop()) if len(counts) == 1 else "each algorithm's last fast-update"
    text = f"Average return after {after}"
    several = any(len(runs) > 1 for runs in groups.values())
    if several:
        text += f"; line: mean over seeds, {BANDS[band]}"
    return f"{text}." + (caption_of_rounds(rounds, several) if rounds else "")
