"""The training loop. It never asks which algorithm it runs."""

import signal
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tesp.adaptation.meta_update import MetaUpdated
from tesp.adaptation.step_size import admissible_share, averaged, step_size
from tesp.adaptation.step_size import following as following_step
from tesp.errors import NonFiniteError
from tesp.evaluation.protocol import Evaluator, mean_return, outcome_columns
from tesp.interaction import Adaptation, Learner
from tesp.task_sets import TaskSet
from tesp.tasks.family import Family
from tesp.training.callbacks import Callback, Record
from tesp.training.checkpoint import Checkpoints, TrainingState
from tesp.training.settings import ScheduleSettings
from tesp.types import Parameters

#: Separates the randomness of training from that of evaluation.
_TRAINING = 0x7E59


@dataclass(frozen=True)
class Training:
    """What a run trains with.

    Attributes:
        learner: The compiled algorithm.
        family: The family of tasks.
        train_tasks: D.
        evaluator: Judges parameters on D, D′ and D″.
        schedule: Length, evaluation, checkpoints.
        seed: Seed of all sampling.
        identity: Columns that every record carries (family, algorithm, seed).
    """

    learner: Learner
    family: Family
    train_tasks: TaskSet
    evaluator: Evaluator
    schedule: ScheduleSettings
    seed: int
    identity: dict[str, Any]


def train(
    training: Training,
    state: TrainingState,
    checkpoints: Checkpoints,
    callbacks: Sequence[Callback],
    evaluated: bool = False,
) -> TrainingState:
    """Meta-train from ``state`` to the end of the schedule.

    An interrupt (Ctrl-C) and an error both leave a checkpoint of the last complete meta-update.

    Args:
        training: What to train with.
        state: Where to start.
        checkpoints: Where to store states.
        callbacks: Told of every record.
        evaluated: Whether the evaluation that is due at ``state`` has been recorded already.

    Raises:
        NonFiniteError: A state, loss or gradient became NaN or infinite; names quantity, task and meta-update.
    """
    schedule = training.schedule
    count = training.learner.sampling.tasks_per_update * training.learner.sampling.episodes_per_round
    simulation = training.family.simulate(count, schedule.threads)
    doing = "the start"
    try:
        while True:
            done = state.meta_update
            due = done % schedule.evaluate_every == 0 or done == schedule.meta_updates
            records, score = [], None
            doing = f"the evaluation after {done} meta-updates"
            if due and not evaluated:
                state, records, score = _evaluate(training, state)
            # Together, so that no interrupt parts an evaluation from the checkpoint that carries its score.
            with uninterrupted():
                _tell(callbacks, records)
                if due or done % schedule.checkpoint_every == 0:
                    checkpoints.save(state, score)
            if done >= schedule.meta_updates:
                return state
            evaluated = False
            doing = f"meta-update {done + 1}"
            following, record = one_meta_update(training, state, simulation)
            with uninterrupted():
                _tell(callbacks, [record])
                state = following
    except NonFiniteError as error:
        raise _stopped(error, doing, state, checkpoints) from error
    except KeyboardInterrupt:
        with uninterrupted():
            checkpoints.save(state)
        raise


def _evaluate(training, state) -> tuple[TrainingState, list[Record], float]:
    """Evaluate; return also the records and the score that decides about the best checkpoint: the return on D′."""
    began = perf_counter()
    rows = training.evaluator.evaluate(state.evaluated, state.meta_update)
    state = state._replace(wall_seconds=state.wall_seconds + perf_counter() - began)
    common = {
        "meta_update": state.meta_update,
        "environment_steps": state.environment_steps,
        "wall_seconds": round(state.wall_seconds, 3),
    }
    records = [{"kind": "evaluation", **training.identity, **common, **row} for row in rows]
    last = training.learner.fast.fast_updates
    score = next(r["average_return"] for r in rows if r["task_set"] == "in_distribution" and r["fast_update"] == last)
    return state, records, score


def one_meta_update(training: Training, state: TrainingState, simulation) -> tuple[TrainingState, Record]:
    """One meta-update as in algorithm 1 of the paper: draw tasks, adapt to them, train on what they experienced."""
    began, cpu_began = perf_counter(), process_time()
    learner = training.learner
    key = jax.random.fold_in(jax.random.key(training.seed), _TRAINING)
    key = jax.random.fold_in(key, state.meta_update)
    tasks = training.train_tasks.tasks
    draw_key, round_key = jax.random.split(key)
    drawn = jax.random.choice(draw_key, len(tasks), (learner.sampling.tasks_per_update,), replace=False)
    ids = np.asarray(drawn)
    try:
        adaptation = learner.adapt(state.parameters, simulation, tasks[ids], training.family.horizon, round_key, ids)
    except NonFiniteError as error:
        # Inside a meta-update tasks are counted among those drawn; people know them by their place in D.
        task = None if error.task is None else int(ids[error.task])
        raise NonFiniteError(error.quantity, task, error.detail) from error
    done, total = state.meta_update, training.schedule.meta_updates
    used = step_size(learner.meta, state.step_size, done, total)
    meta_began = perf_counter()
    updated = learner.meta_update(state.parameters, state.optimiser_state, adaptation, used, done / total)
    seconds = {**adaptation.stopwatch.seconds, "meta_update": perf_counter() - meta_began}
    _require_finite(updated, ids)
    elapsed = perf_counter() - began
    following = TrainingState(
        updated.parameters,
        updated.optimiser_state,
        state.meta_update + 1,
        state.environment_steps + adaptation.steps,
        state.wall_seconds + elapsed,
        following_step(learner.meta, state.step_size, used, np.asarray(updated.kl)),
        _average(state, updated.parameters, learner.meta.parameter_average),
    )
    record = {"kind": "train", **training.identity, **_columns(following, adaptation, updated, used)}
    record["admissible_share"] = round(admissible_share(learner.meta, np.asarray(updated.kl)), 4)
    record["step_size_found"] = following.step_size
    record["seconds"] = round(elapsed, 4)
    record["seconds_cpu"] = round(process_time() - cpu_began, 4)
    record |= {f"seconds_{name}": round(value, 4) for name, value in seconds.items()}
    return following, record


def _average(state: TrainingState, parameters: Parameters, decay: float) -> Parameters | None:
    """Return the average of the parameters after every meta-update so far, or None where there is to be none."""
    return None if state.average is None else averaged(state.average, parameters, decay, state.meta_update)


def _columns(state: TrainingState, adaptation: Adaptation, updated: MetaUpdated, step_size: float) -> Record:
    last = adaptation.rounds[-1]
    terms = jax.tree.map(lambda table: np.asarray(table).mean(axis=1), updated.terms)
    kept = int(updated.epoch_kept)
    norms = np.nanmean(np.asarray(updated.gradient_norms), axis=0)
    inner = [r.inner_norm.mean() for r in adaptation.rounds if r.inner_norm is not None]
    assert last.round is not None
    embedding = np.asarray(last.round.embedding)
    rates = [np.abs(np.ravel(leaf)) for leaf in jax.tree.leaves(state.parameters.rates)]
    outcome = outcome_columns(last.outcomes)
    return {
        "meta_update": state.meta_update,
        "environment_steps": state.environment_steps,
        "wall_seconds": round(state.wall_seconds, 3),
        **{name: outcome[name] for name in ("average_return", "success_rate", "final_distance")},
        "episode_length": outcome["episode_length"],
        "unhealthy_rate": outcome["unhealthy_rate"],
        "round_returns": [mean_return(r.outcomes) for r in adaptation.rounds],
        "policy_loss": float(terms.policy_loss[kept]),
        "embedding_mean_square": float(terms.penalty[kept]),
        "early_loss": float(terms.early_loss[kept]),
        "mean_kl": float(np.asarray(updated.kl)[kept]),
        "epoch_kept": kept,
        "epochs_run": int(updated.epochs_run),
        "gradient_norm_adapted": float(norms[0]),
        "gradient_norm_rates": float(norms[1]),
        "gradient_norm_shared": float(norms[2]),
        "gradient_norm_inner": float(np.mean(inner)) if inner else 0.0,
        "embedding_norm": float(np.linalg.norm(embedding, axis=-1).mean()),
        "embedding_rms": float(np.sqrt(np.mean(embedding**2))) if embedding.size else 0.0,
        "mean_absolute_rate": float(np.concatenate(rates).mean()) if rates else 0.0,
        "log_std": float(np.asarray(_valid_mean(last.round.batch.episodes))),
        "step_size": step_size,
        "steps_sampled": adaptation.steps,
    }


def _valid_mean(episodes):
    valid = episodes.valid[..., None]
    log_std = episodes.behaviour.log_std
    total = jnp.sum(jnp.where(valid, log_std, 0.0))
    return total / (jnp.sum(episodes.valid) * log_std.shape[-1]).astype(total.dtype)


def _require_finite(updated: MetaUpdated, ids: np.ndarray) -> None:
    """Refuse a meta-update in which any epoch met a number that is not finite."""
    run = int(updated.epochs_run)
    for name, table in updated.terms._asdict().items():
        finite = np.isfinite(np.asarray(table)[: run + 1])
        if not finite.all():
            epoch, task = np.argwhere(~finite)[0]
            raise NonFiniteError(name.replace("_", " "), int(ids[task]), f"in epoch {epoch}")
    norms = np.asarray(updated.gradient_norms)[:run]
    if not np.isfinite(norms).all():
        epoch, part = np.argwhere(~np.isfinite(norms))[0]
        name = ("adapted parameters", "rates", "shared parameters")[part]
        raise NonFiniteError(f"meta-gradient of the {name}", None, f"in epoch {epoch}")


def _stopped(error: NonFiniteError, doing: str, state: TrainingState, checkpoints: Checkpoints) -> NonFiniteError:
    checkpoints.save(state)
    detail = f"{error.detail}, " if error.detail else ""
    return NonFiniteError(
        error.quantity,
        error.task,
        f"{detail}in {doing}; the last good checkpoint is that of meta-update {checkpoints.latest()}",
    )


def _tell(callbacks: Sequence[Callback], records: list[Record]) -> None:
    for callback in callbacks if records else ():
        callback.on_records(records)


@contextmanager
def uninterrupted():
    """Hold back Ctrl-C while something is written that must be whole."""
    previous = signal.getsignal(signal.SIGINT)
    # Other threads get no signals; a process that ignores Ctrl-C (in the background, say) goes on ignoring it.
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    pending = []
    signal.signal(signal.SIGINT, lambda *_: pending.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if pending:
        raise KeyboardInterrupt
