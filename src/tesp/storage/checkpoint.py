"""Checkpoints of a run: atomic, the last n and the best, and the newest state; never pickled."""

import logging
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from tesp.errors import RunFolderError
from tesp.methods.base import Method
from tesp.numerics import with_usual_numerics
from tesp.storage import tensor_files
from tesp.storage.identity import FIELD, identity_beside, require_same
from tesp.types import PyTree


class TrainingState(NamedTuple):
    """All that training continues from. Randomness is a function of the seed and the meta-update.

    Attributes:
        method: The state of the method: a NamedTuple of pytrees of arrays and numbers.
        meta_update: Meta-updates done.
        environment_steps: Environment steps sampled for training.
        wall_seconds: Seconds trained, over all sessions of the run.
    """

    method: Any
    meta_update: int
    environment_steps: int
    wall_seconds: float


@with_usual_numerics
def initial_state(method: Method, seed: int) -> TrainingState:
    """Return the state of a fresh run."""
    return TrainingState(method.init(jax.random.key(seed)), 0, 0, 0.0)


@with_usual_numerics
def state_like(method: Method) -> TrainingState:
    """Return zeros in the shapes of a run's state, for `Checkpoints.restore`: nothing is drawn and nothing compiled.

    What is a number rather than an array is a fresh run's.
    """
    shapes = eqx.filter_eval_shape(lambda: method.init(jax.random.key(0)))
    zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype) if isinstance(x, jax.ShapeDtypeStruct) else x, shapes)
    return TrainingState(zeros, 0, 0, 0.0)


_log = logging.getLogger(__name__)

#: Fields that version 0.1 did not have.
_LATER_FIELDS = ("step_size", "average")


@cache
def _orbax() -> tuple[Any, Any]:
    """Import Orbax when it is needed: it takes seconds, and gives the root logger of the program a handler."""
    import orbax.checkpoint
    from orbax.checkpoint.checkpoint_managers import preservation_policy

    return orbax.checkpoint, preservation_policy


#: Where the newest state is while no checkpoint is due, and what kind of file that is.
_NEWEST, _KIND = "newest.safetensors", "training-state"


class Checkpoints:
    """The checkpoints in one folder, one subfolder a meta-update, and the newest state of all in one file.

    A checkpoint is written beside its place and moved there when it is whole, so a process that dies while
    writing leaves the earlier ones as they were. The file takes a small part of a checkpoint's time, so there is one
    after every meta-update, and it is gone when a checkpoint is as new.
    """

    def __init__(self, folder: Path, keep_last: int = 2, read_only: bool = False):
        self._identity = identity_beside(folder)
        ocp, policies = _orbax()
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(keep_last),
                    policies.BestN(get_metric_fn=_score, n=1),
                ]
            ),
            best_fn=_score,
            best_mode="max",
            # What is unfinished is left alone by whoever only reads: a run under way may be writing it.
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            enable_async_checkpointing=False,
        )
        self._folder, self._newest = folder, folder / _NEWEST
        try:
            # Told what an item is, a manager can say what a checkpoint holds before it reads it.
            handlers = {"state": ocp.StandardCheckpointHandler()}
            self._manager = ocp.CheckpointManager(folder.absolute(), options=options, item_handlers=handlers)
        except ValueError as error:
            raise RunFolderError(
                f"A checkpoint in {folder} is damaged: {error}. Remove its subfolder or restore it."
            ) from error

    def save(self, state: TrainingState, score: float | None = None) -> None:
        """Write a checkpoint; ``score`` (higher is better) decides which one is the best.

        A checkpoint of this meta-update that exists is kept as it is, for the state is the same, unless it only
        now gets its score: training was interrupted before the evaluation that was due.
        """
        if state.meta_update in self._manager.all_steps():
            if score is None or self.has_score(state.meta_update):
                return
            self._manager.delete(state.meta_update)
        ocp, _ = _orbax()
        arguments = ocp.args.Composite(state=ocp.args.StandardSave(_arrays(state)))
        # A checkpoint that was not evaluated never counts as the best.
        metrics = {"score": -math.inf if score is None else float(score)}
        own = {FIELD: self._identity}
        self._manager.save(state.meta_update, args=arguments, metrics=metrics, force=True, custom_metadata=own)
        self._newest.unlink(missing_ok=True)

    def save_newest(self, state: TrainingState) -> None:
        """Write the newest state over the one before it, whole or not at all; it is no checkpoint that is kept."""
        description = {FIELD: self._identity, "meta_update": state.meta_update}
        tensor_files.write_plainly(self._newest, _KIND, tensor_files.named("state", _arrays(state)), description)

    def steps(self) -> list[int]:
        """Return the meta-updates of the checkpoints that are kept, ascending."""
        return sorted(self._manager.all_steps())

    def best(self) -> int | None:
        """Return the meta-update of the best checkpoint, or None if none has a score."""
        best = self._manager.best_step()
        return best if best is not None and self.has_score(best) else None

    def latest(self) -> int | None:
        """Return the meta-update of the last checkpoint or of the newest state, or None."""
        newest = self._newest_step()
        return max([*self.steps(), *([] if newest is None else [newest])], default=None)

    def _newest_step(self) -> int | None:
        if not self._newest.is_file():
            return None
        try:
            found = tensor_files.read(self._newest, _KIND)[1].get("meta_update")
        except RunFolderError as error:
            # The last checkpoint is not far behind.
            _log.warning("%s It is passed over.", error)
            return None
        return found if isinstance(found, int) else None

    def restore(self, like: TrainingState, meta_update: int) -> TrainingState:
        """Read a checkpoint of a run whose state has the shapes of ``like``.

        One without a step size, of version 0.1, gets that of ``like``; one without an average, where one is to be kept,
        gets its own parameters as the average.

        Raises:
            RunFolderError: It does not exist, is damaged or holds parameters of another shape.
        """
        ocp, _ = _orbax()
        template = _arrays(like)
        if meta_update not in self._manager.all_steps() and meta_update == self._newest_step():
            return self._restore_newest(like)
        if meta_update not in self._manager.all_steps():
            raise RunFolderError(
                f"There is no checkpoint of meta-update {meta_update} in {self._folder}; "
                f"there are: {', '.join(map(str, self.steps())) or 'none'}."
            )
        known = self._manager.metadata(meta_update)
        require_same(self._folder / str(meta_update), (known.custom_metadata or {}).get(FIELD), self._identity)
        try:
            fields = known.item_metadata["state"]
            for name in _LATER_FIELDS:
                if fields is not None and name not in fields:
                    template.pop(name, None)
            arguments = ocp.args.Composite(state=ocp.args.StandardRestore(template))
            stored = self._manager.restore(meta_update, args=arguments)["state"]
            _require_alike(template, stored)
        except (ValueError, KeyError) as error:
            raise RunFolderError(
                f"The checkpoint of meta-update {meta_update} in {self._folder} does not fit the run's configuration: "
                "it is damaged, or was written for another family, algorithm or network size. Remove it or restore "
                "the run's own."
            ) from error
        if "average" in _fields(like) and "average" not in stored:
            stored["average"] = stored["parameters"]
        return _as_in(like, stored)

    def _restore_newest(self, like: TrainingState) -> TrainingState:
        arrays, description = tensor_files.read(self._newest, _KIND)
        require_same(self._newest, description.get(FIELD), self._identity)
        found = tensor_files.filled("state", _arrays(like), arrays, str(self._newest), any_width=True)
        return _as_in(like, found)

    def has_score(self, meta_update: int) -> bool:
        """Say whether the checkpoint of a meta-update has been evaluated."""
        if meta_update not in self._manager.all_steps():
            return False
        metrics = self._manager.metrics(meta_update)
        return metrics is not None and math.isfinite(_score(metrics))

    def close(self) -> None:
        """Finish what is being written."""
        self._manager.close()


def _score(metrics: dict[str, float]) -> float:
    return metrics["score"]


def _fields(state: TrainingState) -> dict[str, PyTree]:
    """Return what a checkpoint holds by name: the fields of the method's state beside those of the loop's."""
    fields = {**state.method._asdict(), **state._asdict()}
    return {name: tree for name, tree in fields.items() if name != "method" and tree is not None}


def _as_in(like: TrainingState, stored: dict[str, PyTree]) -> TrainingState:
    """Return the state that holds the stored fields; numbers that are no arrays become what they were."""

    def kept(old, new):
        return type(old)(new) if isinstance(old, int | float) else new

    fields = {name: jax.tree.map(kept, tree, stored.get(name, tree)) for name, tree in _fields(like).items()}
    own = {name: fields.pop(name) for name in like.method._fields if name in fields}
    return TrainingState(like.method._replace(**own), **fields)


def _arrays(state: TrainingState) -> dict[str, PyTree]:
    """Host arrays, so that a checkpoint does not depend on how many devices wrote it."""
    return {name: jax.tree.map(np.asarray, tree) for name, tree in _fields(state).items()}


def _require_alike(template: PyTree, stored: PyTree) -> None:
    """Refuse arrays that are not of the template's shapes and kinds, or not finite."""

    def form(tree):
        return jax.tree.map(lambda x: (np.shape(x), np.asarray(x).dtype.kind), tree)

    if form(template) != form(stored):
        raise ValueError("shapes differ")
    if not all(np.isfinite(x).all() for x in jax.tree.leaves(stored)):
        raise ValueError("not all numbers are finite")
