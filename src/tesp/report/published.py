"""Curves that the paper's authors published, as data of this project."""

import csv
from collections.abc import Sequence
from functools import cache
from importlib import resources

import numpy as np

from tesp.errors import ConfigurationError
from tesp.report.records import RunRecords

#: The only family of which exact numbers were published.
FAMILY = "ant"

#: What the published numbers were measured with.
HORIZON, FAST_UPDATES = 200, 3


@cache
def published_ant() -> dict[tuple[str, float], np.ndarray]:
    """Return the published returns of TESP on the ant: (task set, σ of the dynamics noise) → (2, evaluation).

    The rows are meta-updates and average returns after three fast-updates, in metre·steps. Source: the noise study in
    the supplement of the paper; the head of the file says more.
    """
    text = (resources.files("tesp.report") / "data" / "published_ant.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    curves: dict[tuple[str, float], list[tuple[float, float]]] = {}
    for row in rows:
        key = (row["task_set"], float(row["dynamics_noise_sigma"]))
        curves.setdefault(key, []).append((float(row["meta_updates"]), float(row["average_return"])))
    return {key: np.array(points).T for key, points in curves.items()}


def published_curves(runs: Sequence[RunRecords], x: str = "meta_updates") -> dict[str, np.ndarray]:
    """Return the published curve without noise by task set.

    Raises:
        ConfigurationError: Nothing was published for the runs' family, or not against ``x``.
    """
    check_published(runs, x)
    return {task_set: curve for (task_set, sigma), curve in published_ant().items() if sigma == 0}


def check_published(runs: Sequence[RunRecords], x: str = "meta_updates") -> None:
    """Refuse runs that no published curve can be laid over.

    Raises:
        ConfigurationError: Nothing was published for the runs' family, horizon or K, or not against ``x``.
    """
    families = sorted({str(run.config.get("family")) for run in runs})
    if families != [FAMILY]:
        raise ConfigurationError(
            f"There are published curves of the family {FAMILY!r} only, and these runs are of {', '.join(families)}; "
            "leave out --published."
        )
    for run in runs:
        horizon = run.config.get("task", {}).get("horizon")
        if horizon not in (None, HORIZON) or run.fast_updates not in (0, FAST_UPDATES):
            raise ConfigurationError(
                f"The published curves are of episodes of {HORIZON} steps and of {FAST_UPDATES} fast-updates, which "
                f"run {run.name!r} has not; leave out --published."
            )
    if x != "meta_updates":
        raise ConfigurationError(f"The published curves are over meta-updates, not {x}; leave out --x or --published.")
