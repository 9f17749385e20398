"""Start and continue runs. What the command line and a program of your own have in common."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console

from tesp import building
from tesp.config import Config, as_dict, check_storable, to_json
from tesp.episodes.rollout import Learner
from tesp.errors import ConfigurationError
from tesp.evaluation.protocol import Evaluator, stand_still
from tesp.runs.loading import evaluations_at, rows_of_an_evaluation, stored_family
from tesp.runs.run import Run
from tesp.runs.stored import stored_config
from tesp.storage.checkpoint import Checkpoints, initial_state, state_like
from tesp.storage.run_folder import RunFolder, versions
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks.family import Family
from tesp.tasks.simulation import Simulation
from tesp.training.callbacks import Callback, ShowProgress, WriteRecords
from tesp.training.loop import Training
from tesp.training.loop import train as train_loop
from tesp.training.wandb_callback import WandbError, WriteWandb, require_wandb


def default_output(config: Config) -> Path:
    """Return the folder of a run for which none is given."""
    return Path("runs") / f"{config.family}-{config.algorithm}-{config.preset}-seed{config.seed}"


def train(config: Config, output: str | os.PathLike[str] | None = None, console: Console | None = None) -> Run:
    """Start a run and train it to its end.

    Args:
        config: What to train, for instance ``tesp.preset_config("point", "quick")``.
        output: The run folder to make; by default ``runs/FAMILY-ALGORITHM-PRESET-seedSEED``.
        console: Where progress is shown; by default nowhere.

    Raises:
        ConfigurationError: The configuration is not possible.
        RunFolderError: The folder exists or cannot be made.
        NonFiniteError: A state, loss or gradient became NaN or infinite.
    """
    family = building.build_family(config)
    task_sets = family.sample_task_sets(config.seed)
    check_task_count(config, task_sets)
    check_storable(config)
    learner = building.build_learner(config, family)
    check_restart(config, family, task_sets)
    require_wandb(config.log)
    place = output or default_output(config)
    folder = RunFolder.create(place, to_json(config), task_sets, family.interface, config.family_reference)
    try:
        return _continue(folder, config, family, learner, task_sets, console)
    except WandbError:
        # Raised before training only.
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def check_task_count(config: Config, task_sets: dict[str, TaskSet]) -> None:
    """Refuse to draw more tasks than there are.

    Raises:
        ConfigurationError: D has fewer tasks than a meta-update draws.
    """
    drawn, there_are = config.sampling.tasks_per_update, len(task_sets["train"].tasks)
    if drawn > there_are:
        raise ConfigurationError(
            f"tasks_per_update = {drawn} is not possible with {there_are} training tasks: they are drawn without "
            "replacement. Give fewer tasks_per_update or more tasks_per_set."
        )


def check_restart(config: Config, family: Family, task_sets: dict[str, TaskSet]) -> None:
    """Refuse rounds in steps where a simulation whose episode is over cannot be started again.

    Raises:
        ConfigurationError: Rounds are measured in steps and the family's simulations have no method ``restart``.
    """
    if config.sampling.round_budget != "steps":
        return
    with contextlib.closing(family.simulate(1)) as simulation:
        if isinstance(simulation, Simulation) and simulation.compiled is None:
            # With nothing to restart it does nothing, or says what is missing.
            simulation.reset(task_sets["train"].tasks[:1])
            simulation.restart(np.zeros(0, int))


def resume(path: str | os.PathLike[str], console: Console | None = None) -> Run:
    """Continue a run from its last checkpoint to its end, as if it had not been interrupted.

    Raises:
        RunFolderError: The folder is not a run's, or its checkpoint does not fit its configuration.
    """
    folder = RunFolder.open(path)
    config = stored_config(folder, with_family=True)
    family = stored_family(folder, config)
    if console is not None and folder.read_versions() != versions():
        console.print("other versions of some packages than the run began with: results may differ in the last bits")
    return _continue(folder, config, family, building.build_learner(config, family), folder.read_task_sets(), console)


def _continue(
    folder: RunFolder,
    config: Config,
    family: Family,
    learner: Learner,
    task_sets: dict[str, TaskSet],
    console: Console | None,
) -> Run:
    """Train a run from its last checkpoint, or from the start if there is none."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(folder.locked())
        checkpoints = Checkpoints(folder.checkpoints, config.schedule.keep_checkpoints)
        stack.callback(checkpoints.close)
        latest = checkpoints.latest()
        if latest is None:
            state = initial_state(learner.method, config.seed)
        else:
            state = checkpoints.restore(state_like(learner.method), latest)
        scored = latest is not None and checkpoints.has_score(latest)
        evaluated = _rewind_records(folder, latest, rows_of_an_evaluation(config) if scored else None)
        identity = {"family": config.family, "algorithm": config.algorithm, "seed": config.seed}
        finished = evaluated and latest == config.schedule.meta_updates
        callbacks: list[Callback] = []
        # Every one of them is closed, even if another cannot be made or closed: on a full disk, for instance.
        for callback in _callbacks(folder, config, state, console, finished):
            stack.callback(callback.close)
            callbacks.append(callback)
        threads = config.schedule.threads
        evaluated_sets = _first(task_sets, config.schedule.evaluation_tasks)
        if latest is None:
            _record_references(callbacks, identity, family, evaluated_sets, threads)
        evaluator = Evaluator(learner, family, evaluated_sets, config.seed, threads)
        training = Training(learner, family, task_sets["train"], evaluator, config.schedule, config.seed, identity)
        state = train_loop(training, state, checkpoints, callbacks, evaluated)
    return Run(folder, config, family, task_sets, learner, state)


def _callbacks(folder, config, state, console, finished) -> Iterator[Callback]:
    """Make what watches the training, the records first, so that nothing behind them can lose them."""
    total = config.schedule.meta_updates
    yield WriteRecords(folder)
    if config.log.wandb != "off" and not finished:
        yield WriteWandb(folder, as_dict(config), config.log, total, console)
    if config.log.tensorboard:
        from tesp.training.tensorboard_callback import WriteTensorBoard  # Slow to import.

        yield WriteTensorBoard(folder, state.meta_update)
    if console is not None:
        yield ShowProgress(console, total, state.meta_update, folder.path.name)


def _rewind_records(folder: RunFolder, latest: int | None, rows: int | None) -> bool:
    """Drop the records of what will be done again; say whether the checkpoint's evaluation is among the rest.

    Args:
        folder: The run.
        latest: Meta-update of the last checkpoint, or None if there is none.
        rows: Number of records of a whole evaluation, or None if the checkpoint has no score: it was written
            before its evaluation was over.
    """

    def evaluates(record) -> bool:
        return record["kind"] == "evaluation" and record["meta_update"] == latest

    folder.keep_records(lambda record: latest is not None and record.get("meta_update", 0) <= latest)
    if rows is not None and evaluations_at(folder, latest) == rows:
        return True
    folder.keep_records(lambda record: not evaluates(record))
    return False


def _first(task_sets: dict[str, TaskSet], count: int) -> dict[str, TaskSet]:
    """Return the task sets cut to their first ``count`` tasks (0: all)."""
    return {name: TaskSet(name, task_set.tasks[: count or None]) for name, task_set in task_sets.items()}


def _record_references(callbacks, identity, family, task_sets, threads) -> None:
    records = []
    for name in TASK_SETS:
        columns = stand_still(family, task_sets[name], threads)
        records.append({"kind": "reference", "reference": "stand_still", **identity, "task_set": name, **columns})
    for callback in callbacks:
        callback.on_records(records)
