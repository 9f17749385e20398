"""Return against the episodes that were used for adaptation: methods at equal experience."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator, ScalarFormatter

from tesp.report import words
from tesp.report.figures import style
from tesp.report.scores import Scores, along, as_trained

#: Numbers of episodes that the axis names.
TICKS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

#: With more methods than these, thin lines would hide the others.
THIN = 4


def plot_by_episodes(scores: Sequence[Scores], output: str | Path, *, metres: bool) -> Figure:
    """Draw the interquartile mean of the returns against episodes used, on D, D′ and D″; a line for every method.

    A line goes through the points of `tesp.report.scores.along`, and its band is their 95 % interval. A thin line goes
    through the rounds k = 0 … K with the N of training, unless there are more than `THIN` methods. Standing still and
    the oracle use no episodes: they are dashed.

    Args:
        scores: What `tesp.report.scores.read_scores` returned.
        output: Where the figure is written; the ending chooses the format.
        metres: Whether the family measures distances; see `tesp.report.records.RunRecords.in_metres`.
    """
    label = words.returned("interquartile mean of the return", metres)
    figure, rows = style.panels((12.5, 4.4), columns=3, sharey=True)
    names = methods(scores)
    for axes, (task_set, title) in zip(rows[0], words.TASK_SETS.items(), strict=True):
        style.tidy(axes, title, "episodes used", label if task_set == "train" else "")
        for index, name in enumerate(names):
            own = [s for s in scores if (s.task_set, s.method) == (task_set, name)]
            _draw(axes, own, task_set, index)
            if len(names) <= THIN:
                _draw_rounds(axes, own, index)
        draw_frame(axes, as_trained(scores, task_set))
        _count_along(axes, max((s.used for s in scores), default=1.0))
    style.legend(figure)
    text = (
        "Interquartile mean of the return over runs and tasks, band: 95 % bootstrap interval (runs, then tasks). Line: "
        "with the least N, after k = 0 … K; then with more episodes per round, after K."
    )
    thin = " Thin: k = 0 … K with the N of training." if len(names) <= THIN else ""
    style.caption(figure, f"{text}{thin} In brackets: seeds, and steps of training.")
    style.save(figure, output)
    return figure


def methods(scores: Sequence[Scores]) -> list[str]:
    """Return the methods that adapt, in their order, which is that of their colours."""
    return [n for n in dict.fromkeys(s.method for s in scores) if n not in (words.ORACLE, words.STANDING_STILL)]


def labelled(scores: Scores) -> str:
    """Return the name of a method with its seeds and its steps of training."""
    count, steps = len(scores.seeds), EngFormatter(places=1)(scores.environment_steps)
    return f"{words.method(scores.method)} ({count} seed{'' if count == 1 else 's'}, {steps} steps)"


def draw_frame(axes: Axes, found: dict[str, Scores]) -> None:
    """Draw standing still and the oracle as dashed lines."""
    for name, colour, label in (
        (words.STANDING_STILL, style.GREY, words.STANDING_STILL),
        (words.ORACLE, "black", words.TOLD),
    ):
        if name in found:
            height = found[name].interquartile_mean
            axes.axhline(height, color=colour, linestyle="--", linewidth=1.2, label=label)


def _draw(axes: Axes, own: Sequence[Scores], task_set: str, index: int) -> None:
    if not own:
        return
    points = along(own, task_set, own[0].method)
    used = [s.used for s in points]
    low, high = zip(*(s.interval for s in points), strict=True)
    axes.fill_between(used, low, high, color=style.colour(index), alpha=0.16, linewidth=0)
    axes.plot(used, [s.interquartile_mean for s in points], label=labelled(points[0]), **style.line(index))


def _draw_rounds(axes: Axes, own: Sequence[Scores], index: int) -> None:
    rounds, colour = sorted((s for s in own if s.as_trained), key=lambda s: s.fast_update), style.colour(index)
    axes.plot([s.used for s in rounds], [s.interquartile_mean for s in rounds], color=colour, linewidth=0.8, alpha=0.8)


def _count_along(axes: Axes, most: float) -> None:
    """Count episodes from none, then on a logarithmic scale."""
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(-0.15, 1.25 * max(most, 1.0))
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if tick <= 1.25 * most] or [0, 1]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
