"""Adaptations to one task as records, with the paths of their episodes."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tesp.episodes.collect import Outcomes
from tesp.evaluation.protocol import outcome_columns
from tesp.tasks.family import Family


def adaptation_records(
    rounds: Iterable[tuple[int, Outcomes]], family: Family, task: Sequence[float] | np.ndarray
) -> list[dict[str, Any]]:
    """Return one record per round of an adaptation to one task, with the paths of its episodes.

    Args:
        rounds: Fast-updates before the round (−1 for the warm-up round) and what became of its episodes.
        family: The family that the task belongs to.
        task: The task's parameters.

    Returns:
        The records. ``start`` and ``position`` are None where the family tells no positions.
    """
    identifier = uuid.uuid4().hex
    return [
        {
            "kind": "adaptation",
            "adaptation_id": identifier,
            "family": family.name,
            "goal": np.asarray(task, np.float64).tolist(),
            "fast_update": fast_update,
            **outcome_columns(outcomes),
            "environment_steps": int(outcomes.length.sum()),
            "start": _finite(outcomes.start[0, 0]),
            "boundary_radius": family.options.get("boundary_radius"),
            "episodes": _paths(outcomes),
        }
        for fast_update, outcomes in rounds
    ]


def _paths(outcomes) -> list[dict[str, Any]]:
    return [
        {
            "average_return": float(outcomes.average_return[0, episode]),
            "success": bool(outcomes.success[0, episode]),
            "position": _finite(outcomes.position[0, episode, : outcomes.length[0, episode]].round(4)),
        }
        for episode in np.flatnonzero(outcomes.length[0])
    ]


def _finite(positions: np.ndarray) -> list | None:
    """Return positions as lists, or None where the environment tells none: JSON has no NaN."""
    return positions.tolist() if np.isfinite(positions).all() else None
