"""Checkpoints of a run: atomic, the last n and the best, never pickled."""

import math
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import optax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from tesp.adaptation.meta_update import optimiser
from tesp.algorithms.base import Algorithm
from tesp.errors import RunFolderError
from tesp.types import Parameters, PyTree


class TrainingState(NamedTuple):
    """All that training continues from. Randomness is a function of the seed and the meta-update.

    Attributes:
        parameters: θ_TE, α and θ_policy.
        optimiser_state: Adam's moments.
        meta_update: Meta-updates done.
        environment_steps: Environment steps sampled for training.
        wall_seconds: Seconds trained, over all sessions of the run.
    """

    parameters: Parameters
    optimiser_state: optax.OptState
    meta_update: int
    environment_steps: int
    wall_seconds: float


def initial_state(algorithm: Algorithm, seed: int) -> TrainingState:
    """Return the state of a fresh run."""
    parameters = algorithm.init(jax.random.key(seed))
    return TrainingState(parameters, optimiser().init(parameters), 0, 0, 0.0)


class Checkpoints:
    """The checkpoints in one folder, one subfolder a meta-update.

    A checkpoint is written beside its place and moved there when it is whole, so a process that dies while
    writing leaves the earlier ones as they were.
    """

    def __init__(self, folder: Path, keep_last: int = 2):
        policies = preservation_policy
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(keep_last),
                    policies.BestN(get_metric_fn=_score, n=1),
                ]
            ),
            best_fn=_score,
            best_mode="max",
            cleanup_tmp_directories=True,
            enable_async_checkpointing=False,
        )
        self._folder = folder
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def save(self, state: TrainingState, score: float | None = None) -> None:
        """Write a checkpoint; ``score`` (higher is better) decides which one is the best.

        A checkpoint of this meta-update that exists is kept as it is: the state is the same.
        """
        if state.meta_update in self._manager.all_steps():
            return
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(_arrays(state)))
        # A checkpoint that was not evaluated never counts as the best.
        metrics = {"score": -math.inf if score is None else float(score)}
        self._manager.save(state.meta_update, args=arguments, metrics=metrics, force=True)

    def steps(self) -> list[int]:
        """Return the meta-updates of the checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def best(self) -> int | None:
        """Return the meta-update of the best checkpoint, or None if none has a score."""
        return self._manager.best_step()

    def latest(self) -> int | None:
        """Return the meta-update of the last checkpoint, or None."""
        return self._manager.latest_step()

    def restore(self, algorithm: Algorithm, meta_update: int) -> TrainingState:
        """Read a checkpoint.

        Raises:
            RunFolderError: It does not exist or holds parameters of another shape.
        """
        template = _arrays(initial_state(algorithm, 0))
        if meta_update not in self._manager.all_steps():
            raise RunFolderError(
                f"There is no checkpoint of meta-update {meta_update} in {self._folder}; "
                f"there are: {', '.join(map(str, self.steps())) or 'none'}."
            )
        try:
            arguments = ocp.args.Composite(state=ocp.args.StandardRestore(template))
            stored = self._manager.restore(meta_update, args=arguments)["state"]
            _require_same_shapes(template, stored)
        except (ValueError, KeyError) as error:
            raise RunFolderError(
                f"The checkpoint of meta-update {meta_update} in {self._folder} does not fit this configuration: "
                "its parameters have other names or shapes. It was written for another family, algorithm or "
                "network size; use the configuration that stands beside it."
            ) from error
        restored = TrainingState(**stored)
        return restored._replace(
            meta_update=int(restored.meta_update),
            environment_steps=int(restored.environment_steps),
            wall_seconds=float(restored.wall_seconds),
        )

    def close(self) -> None:
        """Finish what is being written."""
        self._manager.close()


def _score(metrics: dict[str, float]) -> float:
    return metrics["score"]


def _arrays(state: TrainingState) -> dict[str, PyTree]:
    """Host arrays, so that a checkpoint does not depend on how many devices wrote it."""
    return jax.tree.map(np.asarray, state._asdict())


def _require_same_shapes(template: PyTree, stored: PyTree) -> None:
    shapes = [jax.tree.map(np.shape, tree) for tree in (template, stored)]
    if shapes[0] != shapes[1]:
        raise ValueError("shapes differ")
