"""The training loop. It never asks which method it runs, not even for the columns of a record."""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any

import jax
import numpy as np

from tesp.episodes.executor import Executor, LocalExecutor
from tesp.episodes.rollout import Adaptation, Learner
from tesp.errors import LocatedError
from tesp.evaluation.protocol import Evaluator, mean_return, outcome_columns
from tesp.numerics import with_usual_numerics
from tesp.signals import uninterrupted
from tesp.storage.checkpoint import Checkpoints, TrainingState
from tesp.task_sets import TaskSet
from tesp.tasks.family import Family
from tesp.training.callbacks import Callback, Record
from tesp.training.settings import ScheduleSettings

#: Separates the randomness of training from that of evaluation.
_TRAINING = 0x7E59


@dataclass(frozen=True)
class Training:
    """What a run trains with.

    Attributes:
        learner: The compiled method.
        family: The family of tasks.
        train_tasks: D.
        evaluator: Judges parameters on D, D′ and D″.
        schedule: Length, evaluation, checkpoints.
        seed: Seed of all sampling.
        identity: Columns that every record carries (family, algorithm, seed).
        executor: Where the tasks are worked on; by default in this process.
    """

    learner: Learner
    family: Family
    train_tasks: TaskSet
    evaluator: Evaluator
    schedule: ScheduleSettings
    seed: int
    identity: dict[str, Any]
    executor: Executor | None = None


def train(
    training: Training,
    state: TrainingState,
    checkpoints: Checkpoints,
    callbacks: Sequence[Callback],
    evaluated: bool = False,
) -> TrainingState:
    """Meta-train from ``state`` to the end of the schedule.

    The state after every meta-update is stored, so neither an interrupt nor an error, nor the end of the process, costs
    more than the meta-update or the evaluation that it falls into. An interrupt leaves a checkpoint too.

    Args:
        training: What to train with.
        state: Where to start.
        checkpoints: Where to store states.
        callbacks: Told of every record.
        evaluated: Whether the evaluation that is due at ``state`` has been recorded already.

    Raises:
        NonFiniteError: A state, loss or gradient became NaN or infinite; names quantity, task and meta-update.
        EnvironmentFailedError: An environment or a family of the user's failed; names the same.
    """
    schedule = training.schedule
    family = training.family
    executor = training.executor or LocalExecutor(
        training.learner, family.horizon, lambda count: family.simulate(count, schedule.threads)
    )
    doing, stopping = "the start", False
    try:
        while True:
            done = state.meta_update
            due = done % schedule.evaluate_every == 0 or done == schedule.meta_updates
            records, score = [], None
            doing = f"the evaluation after {done} meta-updates"
            if due and not evaluated and not stopping:
                state, records, score = _evaluate(training, state)
            # Together, so that no interrupt parts an evaluation from the checkpoint that carries its score.
            with uninterrupted():
                stopping |= _tell(callbacks, records)
                if kept := due or stopping or done % schedule.checkpoint_every == 0:
                    checkpoints.save(state, score)
            for callback in callbacks if kept else ():
                callback.on_checkpoint(done)
            if stopping or done >= schedule.meta_updates:
                for callback in callbacks:
                    callback.on_end(done)
                return state
            evaluated = False
            doing = f"meta-update {done + 1}"
            following, record = one_meta_update(training, state, executor)
            with uninterrupted():
                stopping = _tell(callbacks, [record])
                state = following
                # Before the evaluation, which may take minutes: whatever ends the process costs what it is at alone.
                checkpoints.save_newest(state)
            for callback in callbacks:
                callback.on_state(state.meta_update)
    except LocatedError as error:
        checkpoints.save(state)
        place = f"in {doing}; the last good checkpoint is that of meta-update {checkpoints.latest()}"
        raise error.at(place) from error
    except KeyboardInterrupt:
        with uninterrupted():
            checkpoints.save(state)
        raise


def _evaluate(training, state) -> tuple[TrainingState, list[Record], float]:
    """Evaluate; return also the records and the score that decides about the best checkpoint: the return on D′."""
    began = perf_counter()
    parameters = training.learner.method.parameters(state.method, evaluated=True)
    rows = training.evaluator.evaluate(parameters, state.meta_update)
    state = state._replace(wall_seconds=state.wall_seconds + perf_counter() - began)
    common = {
        "meta_update": state.meta_update,
        "environment_steps": state.environment_steps,
        "wall_seconds": round(state.wall_seconds, 3),
    }
    records = [{"kind": "evaluation", **training.identity, **common, **row} for row in rows]
    last = training.learner.method.plan.last
    score = next(r["average_return"] for r in rows if r["task_set"] == "in_distribution" and r["fast_update"] == last)
    return state, records, score


@with_usual_numerics
def one_meta_update(training: Training, state: TrainingState, executor: Executor) -> tuple[TrainingState, Record]:
    """One meta-update as in algorithm 1 of the paper: draw tasks, adapt to them, train on what they experienced."""
    began, cpu_began = perf_counter(), process_time()
    learner = training.learner
    key = jax.random.fold_in(jax.random.key(training.seed), _TRAINING)
    key = jax.random.fold_in(key, state.meta_update)
    tasks = training.train_tasks.tasks
    draw_key, round_key = jax.random.split(key)
    drawn = jax.random.choice(draw_key, len(tasks), (learner.sampling.tasks_per_update,), replace=False)
    ids = np.asarray(drawn)
    parameters = learner.method.parameters(state.method)
    with _by_place_in(ids):
        adaptation = executor.adapt(parameters, tasks[ids], round_key, ids)
    done, total = state.meta_update, training.schedule.meta_updates
    meta_began = perf_counter()
    with _by_place_in(ids):
        learned, metrics = executor.meta_update(state.method, adaptation, done, total)
    seconds = {**adaptation.stopwatch.seconds, "meta_update": perf_counter() - meta_began}
    elapsed = perf_counter() - began
    following = TrainingState(
        learned, state.meta_update + 1, state.environment_steps + adaptation.steps, state.wall_seconds + elapsed
    )
    # A method's metrics stand beside the loop's columns and never in their place.
    record = {**metrics, "kind": "train", **training.identity, **_columns(following, adaptation)}
    record["seconds"] = round(elapsed, 4)
    record["seconds_cpu"] = round(process_time() - cpu_began, 4)
    record |= {f"seconds_{name}": round(value, 4) for name, value in seconds.items()}
    return following, record | executor.spent()


@contextmanager
def _by_place_in(ids: np.ndarray):
    """Name tasks in errors by their place in D: inside a meta-update they are counted among those drawn."""
    try:
        yield
    except LocatedError as error:
        raise error.at("", None if error.task is None else int(ids[error.task])) from error


def _columns(state: TrainingState, adaptation: Adaptation) -> Record:
    outcome = outcome_columns(adaptation.rounds[-1].outcomes)
    return {
        "meta_update": state.meta_update,
        "environment_steps": state.environment_steps,
        "wall_seconds": round(state.wall_seconds, 3),
        **{name: outcome[name] for name in ("average_return", "success_rate", "final_distance")},
        "episode_length": outcome["episode_length"],
        "unhealthy_rate": outcome["unhealthy_rate"],
        "round_returns": [mean_return(r.outcomes) for r in adaptation.rounds],
        "steps_sampled": adaptation.steps,
    }


def _tell(callbacks: Sequence[Callback], records: list[Record]) -> bool:
    """Tell all of the records; say whether one of them asks to stop."""
    asked = [callback.on_records(records) for callback in callbacks if records]
    return any(asked)
