"""Adapting a trained meta-learner to a task it has never seen."""

import uuid
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from tesp.errors import ConfigurationError
from tesp.evaluation.protocol import outcome_columns
from tesp.interaction import Adaptation, Learner
from tesp.tasks.base import Family
from tesp.types import Parameters

#: Separates the randomness of adapting to a single task from that of training and evaluation.
_ADAPTATION = 0x7E5A


def adapt_to_task(
    learner: Learner,
    parameters: Parameters,
    family: Family,
    task: Sequence[float] | np.ndarray,
    seed: int = 0,
    threads: int = 0,
) -> Adaptation:
    """Do the warm-up round, K fast-updates and the final round on one task.

    Args:
        learner: The algorithm.
        parameters: The trained meta-learner.
        family: The family that the task belongs to.
        task: The task's parameters; for goals (x, y) in metres.
        seed: Seed of the sampling.
        threads: Threads that step the physics (0: all cores).

    Raises:
        ConfigurationError: The task has another number of parameters than the family's, or is not finite.
    """
    row = np.asarray(task, np.float64)
    if row.shape != (family.task_size,) or not np.isfinite(row).all():
        raise ConfigurationError(
            f"The task {row.tolist()} is not possible; a task of {family.name!r} has {family.task_size} finite numbers."
        )
    simulation = family.simulate(learner.sampling.episodes_per_round, threads)
    key = jax.random.fold_in(jax.random.key(seed), _ADAPTATION)
    return learner.adapt(parameters, simulation, row[None], family.horizon, key)


def adaptation_records(
    adaptation: Adaptation, family: Family, task: Sequence[float] | np.ndarray
) -> list[dict[str, Any]]:
    """Return one record per round of an adaptation to one task, with the paths of its episodes."""
    identifier = uuid.uuid4().hex
    return [
        {
            "kind": "adaptation",
            "adaptation_id": identifier,
            "family": family.name,
            "goal": np.asarray(task, np.float64).tolist(),
            "fast_update": result.fast_update,
            **outcome_columns(result.outcomes),
            "environment_steps": int(result.outcomes.length.sum()),
            "start": result.outcomes.start[0, 0].tolist(),
            "boundary_radius": family.options.get("boundary_radius"),
            "episodes": _paths(result.outcomes),
        }
        for result in adaptation.rounds
    ]


def _paths(outcomes) -> list[dict[str, Any]]:
    return [
        {
            "average_return": float(outcomes.average_return[0, episode]),
            "success": bool(outcomes.success[0, episode]),
            "position": outcomes.position[0, episode, : outcomes.length[0, episode]].round(4).tolist(),
        }
        for episode in range(outcomes.length.shape[1])
    ]
