"""What the rounds of training returned, one line for each number of fast-updates."""

from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes

from tesp.report import words
from tesp.report.figures import style
from tesp.report.seeds import TrainingRounds

#: Single meta-updates are too many to be told apart beyond this; lines are means over as many as leave so many points.
POINTS = 60

#: Lines that the legend names: with more rounds, those in equal steps from the first to the last.
NAMED = 8


def draw_rounds(axes: Axes, found: TrainingRounds, scale: float = 1.0) -> None:
    """Draw the returns of every round: the more fast-updates came before it, the darker its line.

    Args:
        axes: Where.
        found: The returns.
        scale: What x is divided by.
    """
    rounds = list(found.returns)
    named = {rounds[place] for place in np.linspace(0, len(rounds) - 1, NAMED).round().astype(int)}
    axes.plot([], [], " ", label="while training:")
    for fast_update, returns in found.returns.items():
        look = {"color": _colour(fast_update, rounds[-1]), "linestyle": ":" if fast_update < 0 else "-"}
        window = window_of(len(returns))
        if window > 1:
            axes.plot(found.x / scale, returns, color=look["color"], linewidth=0.6, alpha=0.35)
        label = words.agent(fast_update) if fast_update in named else None
        axes.plot(found.x / scale, moving_mean(returns, window), linewidth=1.6, label=label, **look)


def caption_of_rounds(found: Iterable[TrainingRounds], several: bool) -> str:
    """Return what is said of the lines below the learning curves, which are of one seed or of ``several``."""
    windows = sorted({window_of(len(rounds.x)) for rounds in found})
    text = " Below: average return of each round of a meta-update, sampled before it learns"
    text += "; mean over seeds" if several else ""
    if windows[-1] > 1:
        text += f"; pale: single meta-updates, line: mean over {' or '.join(map(str, windows))} of them"
    return text + "."


def window_of(count: int) -> int:
    """Return over how many of ``count`` meta-updates a line takes the mean: an odd number."""
    return 2 * (count // POINTS // 2) + 1


def moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Return the means of the values around each, x̄_i = Σ_{|j−i| ≤ w} x_j / n with w = (window − 1)/2, ends included.

    Towards the ends there are fewer on both sides, so that no mean leans to the inside.
    """
    half = np.minimum(window // 2, np.minimum(np.arange(len(values)), np.arange(len(values))[::-1]))
    return np.array([values[i - w : i + w + 1].mean() for i, w in enumerate(half)])


def _colour(fast_update: int, last: int) -> str | tuple[float, ...]:
    return style.GREY if fast_update < 0 else tuple(style.COLOURS(1.0 - fast_update / max(last, 1)))
