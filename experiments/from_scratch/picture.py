"""The figure: on how many of the goals a return is reached within how many environment steps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullLocator, PercentFormatter
from reaching import Trial, deterministic, grouped

from tesp.report import words
from tesp.report.figures import style

NAMES = {"ppo": "PPO from scratch", "sac": "SAC from scratch"}
ADAPTED = "TESP, adapting"
COLOURS = {ADAPTED: style.colour(0), "ppo": style.colour(1), "sac": style.colour(2)}


def plot(found: Sequence[Trial], output: Path) -> Figure:
    """Draw, for every family and task set, the share of goals on which a return was reached against environment steps.

    Args:
        found: All trainings.
        output: Where the figure is written.
    """
    groups = grouped(found)
    families, sets = (list(dict.fromkeys(key[place] for key in groups)) for place in (0, 1))
    figure, rows = style.panels((10.7, 3.1 * len(families) + 0.9), len(families), len(sets), sharex=True, sharey=True)
    for row, family in zip(rows, families, strict=True):
        for axes, task_set in zip(row, sets, strict=True):
            members = {key[2]: trials for key, trials in groups.items() if key[:2] == (family, task_set)}
            _draw(axes, members)
            title = words.TASK_SETS[task_set]
            style.tidy(axes, f"{family}: {title[0].lower()}{title[1:]}")
        row[0].set_ylabel("goals on which it is reached", fontsize=style.LABEL_SIZE)
    for axes in rows[-1]:
        axes.set_xlabel("environment steps on the task", fontsize=style.LABEL_SIZE)
    style.legend(figure, "upper center")
    counts = [len(members) for members in groups.values()]
    goals = sorted({min(counts), max(counts)})
    style.caption(
        figure,
        "Share of the goals on which the deterministic policy returns what that of the adapted TESP does on the same "
        f"goal, within so many environment steps; {' to '.join(map(str, goals))} goals of each set. TESP: steps up to "
        "its last fast-update, its meta-training not counted. Cross: where trainings ended that had not reached it.",
    )
    style.save(figure, output)
    return figure


def _draw(axes: Axes, members: dict[str, list[Trial]]) -> None:
    axes.set_xscale("log")
    goals = {trial.job["index"]: trial.adapted for trials in members.values() for trial in trials}
    _steps(axes, np.array(list(goals.values())), None, ADAPTED, COLOURS[ADAPTED])
    for algorithm, trials in members.items():
        reached = np.array([trial.steps_to(deterministic(trial.target)) for trial in trials])
        spent = max((t.spent for t, x in zip(trials, reached, strict=True) if np.isinf(x)), default=None)
        _steps(axes, reached, spent, NAMES[algorithm], COLOURS[algorithm])
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylim(0.0, 1.04)


def _steps(axes: Axes, reached: np.ndarray, spent: int | None, label: str, colour: str) -> None:
    """Draw the share of goals that are reached after so many steps, up to where the last training ended."""
    x = np.sort(reached[np.isfinite(reached)])
    y = np.arange(1, len(x) + 1) / len(reached)
    end = [] if spent is None else [spent]
    last = y[-1:] if len(y) else np.zeros(1)
    axes.step(
        [*x[:1], *x, *end],
        [*np.zeros(min(len(x), 1)), *y, *(last if end else [])],
        where="post",
        color=colour,
        linewidth=1.8,
        label=label,
    )
    if end:
        axes.plot(end, last, "x", color=colour, markersize=7, markeredgewidth=2, clip_on=False)
