"""How the scores of methods are spread, and how often one method does better than the others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from tesp.report import words
from tesp.report.figures import style
from tesp.report.figures.by_episodes import labelled, methods
from tesp.report.scores import Scores, as_trained, improvement_of
from tesp.report.statistics import mean_interval, performance_profile

#: Thresholds of a profile.
THRESHOLDS = 81

#: Every so many thresholds a line has a marker.
MARKED = 8

#: Height of the profiles, of the frame around a panel below, and of a method in it, in inches.
ABOVE, AROUND, EACH = 3.6, 1.2, 0.3


def plot_score_profiles(scores: Sequence[Scores], output: str | Path, *, metres: bool) -> Figure:
    """Draw performance profiles on D, D′ and D″; below, how often the first method does better than each other.

    All methods stand for what they come to: after K fast-updates with the N of their training.

    Args:
        scores: What `tesp.report.scores.read_scores` returned.
        output: Where the figure is written; the ending chooses the format.
        metres: Whether the family measures distances; see `tesp.report.records.RunRecords.in_metres`.
    """
    names = methods(scores)
    below = AROUND + EACH * (len(names) - 1) if len(names) > 1 else 0.0
    figure = style.blank((12.5, ABOVE + below))
    grid = figure.add_gridspec(2 if below else 1, 3, height_ratios=[ABOVE, below] if below else None)
    for column, (task_set, title) in enumerate(words.TASK_SETS.items()):
        found = as_trained(scores, task_set)
        axes = figure.add_subplot(grid[0, column])
        style.tidy(axes, title, words.returned("return τ", metres), "share of tasks above τ" if column == 0 else "")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        _draw_profiles(axes, found, names)
        if below:
            axes = figure.add_subplot(grid[1, column])
            style.tidy(axes, "", f"P({words.method(names[0])} does better on a task)")
            _draw_improvements(axes, found, names, named=column == 0)
    style.legend(figure)
    text = "Above: share of scores (runs × tasks) above τ. Bands and bars: 95 % bootstrap intervals (runs, then tasks)."
    if below:
        text += " Below: each task is compared once, in runs of one seed; ties count half."
    style.caption(figure, text)
    style.save(figure, output)
    return figure


def _draw_profiles(axes: Axes, found: dict[str, Scores], names: Sequence[str]) -> None:
    every = np.concatenate([s.returns.ravel() for s in found.values()]) if found else np.zeros(1)
    thresholds = np.linspace(every.min(), every.max(), THRESHOLDS)
    for name, colour, label in (
        (words.STANDING_STILL, style.GREY, words.STANDING_STILL),
        (words.ORACLE, "black", words.TOLD),
    ):
        if name in found:
            share = performance_profile(found[name].returns, thresholds).mean(axis=(0, 1))
            axes.plot(thresholds, share, color=colour, linestyle="--", linewidth=1.2, label=label)
    for index, name in enumerate(names):
        if name not in found:
            continue
        above = performance_profile(found[name].returns, thresholds)
        axes.fill_between(thresholds, *mean_interval(above), color=style.colour(index), alpha=0.16, linewidth=0)
        axes.plot(
            thresholds,
            above.mean(axis=(0, 1)),
            # Not all at the same thresholds, where lines lie on each other.
            markevery=(index % MARKED, MARKED),
            label=labelled(found[name]),
            **style.line(index),
        )
    axes.set_ylim(-0.02, 1.02)


def _draw_improvements(axes: Axes, found: dict[str, Scores], names: Sequence[str], named: bool) -> None:
    first, *others = names
    axes.axvline(0.5, color=style.GREY, linewidth=1.0, linestyle=":")
    for place, name in enumerate(others):
        told = improvement_of(found[first], found[name]) if first in found and name in found else None
        if told is not None:
            mean, low, high, _ = told
            colour = style.colour(place + 1)
            axes.plot([low, high], [place, place], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
            axes.plot([mean], [place], color=colour, marker=style.marker(place + 1), markersize=6)
    axes.set_xlim(-0.02, 1.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.set_ylim(len(others) - 0.5, -0.5)
    axes.set_yticks(range(len(others)), [f"than {words.method(name)}" for name in others] if named else [])
