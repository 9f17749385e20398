"""What things are called wherever people read of them, and how their numbers are written."""

import math
from collections.abc import Mapping
from typing import Any

from tesp.methods.registry import METHODS

#: The task sets in the paper's order: in full, short enough for a terminal, and as signs.
TASK_SETS = {
    "train": "Training tasks D",
    "in_distribution": "New tasks D′",
    "out_of_distribution": "Outside the distribution D″",
}
SHORT = {"train": "D (training)", "in_distribution": "D′ (new)", "out_of_distribution": "D″ (outside)"}
SIGNS = {name: title.split()[-1] for name, title in TASK_SETS.items()}

STANDING_STILL, ORACLE = "standing still", "oracle"
TOLD = "oracle (knows the task)"


def method(algorithm: str) -> str:
    """Return how the literature writes an algorithm; any other, or one that is not known here, goes by its own name."""
    return METHODS[algorithm].title or algorithm if algorithm in METHODS else algorithm


def fast_updates(count: int) -> str:
    """Return a number of fast-updates in words, such as ``1 fast-update``."""
    return f"{count} fast-update{'' if count == 1 else 's'}"


def agent(fast_update: int) -> str:
    """Return which agent acts in a round: −1 is the warm-up round, 0 the agent before any fast-update."""
    if fast_update < 0:
        return "warm-up round"
    return f"after {fast_updates(fast_update)}" if fast_update else "before any fast-update"


def origin(record: Mapping[str, Any]) -> str:
    """Return which meta-learner a record is of."""
    name = method(record["algorithm"])
    return f"{name} on {record['family']}, seed {record['seed']}, after {record['meta_update']} meta-updates"


def number(value: float | None, digits: int) -> str:
    """Return a number with a typographic minus; a dash if there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def percent(rate: float | None) -> str:
    """Return a rate in whole per cent; a dash if there is none."""
    return number(rate, 0) if rate is None or math.isnan(rate) else f"{100 * rate:.0f} %"
