"""What things are called wherever people read of them, and how their numbers are written."""

import math
from collections.abc import Mapping
from typing import Any

#: The task sets in the paper's order: in full, short enough for a terminal, and as signs.
TASK_SETS = {
    "train": "Training tasks D",
    "in_distribution": "New tasks D′",
    "out_of_distribution": "Outside the distribution D″",
}
SHORT = {"train": "D (training)", "in_distribution": "D′ (new)", "out_of_distribution": "D″ (outside)"}
SIGNS = {name: title.split()[-1] for name, title in TASK_SETS.items()}

#: How the literature writes an algorithm; any other appears under its own name, or under what it was registered with.
ALGORITHMS: dict[str, str] = {
    "tesp": "TESP",
    "maml": "MAML",
    "meta-sgd": "Meta-SGD",
    "adapt-sv": "AdaptSV",
    "cavia": "CAVIA",
    "promp": "ProMP",
    "e-maml": "E-MAML",
    "maesn": "MAESN",
    "tesp-set": "TESP, set of policies",
    "oracle": "Oracle",
    "rl2": "RL²",
    "varibad": "VariBAD",
    "tesp-v1": "V1: buffer of all episodes",
    "tesp-v2": "V2: policy adapted too",
    "tesp-v3": "V3: η = 0",
    "tesp-v4": "V4: no fast-update",
    "tesp-v5": "V5: fixed rate",
}

STANDING_STILL, ORACLE = "standing still", "oracle"
TOLD = "oracle (knows the task)"


def method(algorithm: str) -> str:
    """Return how the literature writes an algorithm."""
    return ALGORITHMS.get(algorithm, algorithm)


def returned(name: str, metres: bool) -> str:
    """Return what a return is called with its unit: metre·steps where a family measures distances, otherwise none."""
    return f"{name} (m·steps)" if metres else name


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
