"""Start and continue runs. What the command line and a program of your own have in common."""

import contextlib
import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from tesp import building
from tesp.agents.adapting import MetaLearner
from tesp.config import Config, as_dict, check_storable, override
from tesp.episodes.executor import Elsewhere, UnavailableError
from tesp.episodes.rollout import Learner
from tesp.errors import ConfigurationError, RunFolderError, TespError
from tesp.evaluation.protocol import Evaluator, stand_still
from tesp.runs.loading import evaluations_at, load, opened, rows_of_an_evaluation, stored_family
from tesp.runs.memory import check_memory
from tesp.runs.run import Run
from tesp.runs.stored import stored_config
from tesp.storage import tensor_files
from tesp.storage.checkpoint import Checkpoints, TrainingState, initial_state, state_like
from tesp.storage.run_folder import RunFolder
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


def train(
    config: Config,
    output: str | os.PathLike[str] | None = None,
    console: Console | None = None,
    *,
    callbacks: Sequence[Callback] = (),
    start: str | os.PathLike[str] | None = None,
    trust: bool = False,
    elsewhere: Elsewhere | None = None,
) -> Run:
    """Start a run and train it to its end.

    Args:
        config: What to train, for instance ``tesp.preset_config("point", "quick")``.
        output: The run folder to make; by default ``runs/FAMILY-ALGORITHM-PRESET-seedSEED``.
        console: Where progress is shown; by default nowhere.
        callbacks: Told what happens, in their order, after what the run writes itself; one of them may ask to stop.
        start: A run, or a file of a trained learner, whose parameters training begins with instead of fresh ones. The
            optimiser begins anew, and so do the tasks and all sampling.
        trust: As for `load_run`, of the run that training begins from.
        elsewhere: Where the tasks are worked on, like ``tesp.cluster.hosts.on_hosts(…)``; by default in this process.

    Raises:
        ConfigurationError: The configuration is not possible, or the parameters of ``start`` do not fit it.
        RunFolderError: The folder exists or cannot be made, or ``start`` cannot be loaded.
        NonFiniteError: A state, loss or gradient became NaN or infinite.
        UnavailableError: What ``elsewhere`` needs is not there.
    """
    folder, family, learner, task_sets = _begin(config, output, start, trust)
    if console is not None:
        console.print(f"run folder: {folder.path}", markup=False)
    try:
        return _continue(folder, config, family, learner, task_sets, console, callbacks, elsewhere)
    except (WandbError, UnavailableError):
        # Raised before training only.
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def begin(config: Config, output: str | os.PathLike[str] | None = None) -> RunFolder:
    """Make the folder of a run, which `resume` then trains, in this process or elsewhere.

    Args:
        config: As for `train`.
        output: As for `train`.

    Raises:
        ConfigurationError: As for `train`.
        RunFolderError: As for `train`.
    """
    return _begin(config, output)[0]


def _begin(
    config: Config,
    output: str | os.PathLike[str] | None,
    start: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> tuple[RunFolder, Family, Learner, dict[str, TaskSet]]:
    family = building.build_family(config)
    learner = building.build_learner(config, family)
    check_memory(config, family, learner)
    task_sets = family.sample_task_sets(config.seed)
    check_task_count(config, task_sets)
    check_storable(config)
    check_restart(config, family, task_sets)
    require_wandb(config.log)
    began = None if start is None else _fitting(start, learner, trust)
    also = None if began is None else lambda prepared: began.save(RunFolder(prepared).start)
    place = output or default_output(config)
    folder = RunFolder.create(place, as_dict(config), task_sets, family.interface, config.family_reference, also)
    return folder, family, learner, task_sets


def _fitting(start: str | os.PathLike[str], learner: Learner, trust: bool) -> MetaLearner:
    """Return the trained learner that training is to begin from.

    Raises:
        ConfigurationError: Its parameters are others than those that the method would draw; names them.
    """
    began = load(start, trust=trust)
    shapes = learner.method.parameters(state_like(learner.method).method)
    wanted, there = (
        {name: x.shape for name, x in tensor_files.named("", tree).items()} for tree in (shapes, began.parameters)
    )
    differ = [name for name in dict.fromkeys([*wanted, *there]) if wanted.get(name) != there.get(name)]
    if differ:
        told = ", ".join(
            f"{name}: {there.get(name, 'none')} there, {wanted.get(name, 'none')} here" for name in differ[:5]
        )
        more = f", and {len(differ) - 5} more" if len(differ) > 5 else ""
        raise ConfigurationError(
            f"Training cannot begin from {start}, a learner of the method {began.config.algorithm!r}: its arrays have "
            f"other shapes ({told}{more}). Give the method, the sizes and a family like those that it was trained with."
        )
    return began


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


def resume(
    path: str | os.PathLike[str],
    console: Console | None = None,
    *,
    meta_updates: int | None = None,
    threads: int | None = None,
    callbacks: Sequence[Callback] = (),
    trust: bool = False,
    elsewhere: Elsewhere | None = None,
) -> Run:
    """Continue a run from its last checkpoint to its end, as if it had not been interrupted.

    Args:
        path: The run folder.
        console: Where progress is shown; by default nowhere.
        meta_updates: Another length for the run, which its configuration keeps. What depends on the length, like a step
            size that falls towards the end, follows the new one from here on.
        threads: Threads that step the physics this time, in place of the configuration's. No result depends on it.
        callbacks: As for `train`.
        trust: As for `load_run`.
        elsewhere: As for `train`; a run may go on elsewhere than it began.

    Raises:
        ConfigurationError: The run has more meta-updates already.
        RunFolderError: The folder is not a run's, or its checkpoint does not fit its configuration.
        UntrustedError: As for `load_run`.
        UnavailableError: As for `train`.
    """
    folder = opened(path, trust)
    config = stored_config(folder, with_family=True)
    family = stored_family(config)
    if meta_updates is not None:
        config = _lengthened(folder, config, meta_updates)
    if threads is not None:
        config = override(config, threads=threads)
    if console is not None:
        console.print(f"run folder: {folder.path}", markup=False)
        if folder.versions_differ():
            console.print("some packages are of other versions than the run began with: the last bits may differ")
    learner = building.build_learner(config, family)
    return _continue(folder, config, family, learner, folder.read_task_sets(), console, callbacks, elsewhere)


def _lengthened(folder: RunFolder, config: Config, meta_updates: int) -> Config:
    """Return a run's configuration with another length, and store it."""
    longer = override(config, meta_updates=meta_updates)
    check_storable(longer)
    with folder.locked():
        checkpoints = Checkpoints(folder.checkpoints, config.schedule.keep_checkpoints)
        try:
            done = checkpoints.latest() or 0
        finally:
            checkpoints.close()
        if meta_updates < done:
            raise ConfigurationError(
                f"meta_updates = {meta_updates} is not possible: {folder.path} has {done} already; give that or more."
            )
        folder.lengthen(meta_updates)
    return longer


def _continue(
    folder: RunFolder,
    config: Config,
    family: Family,
    learner: Learner,
    task_sets: dict[str, TaskSet],
    console: Console | None,
    watching: Sequence[Callback] = (),
    elsewhere: Elsewhere | None = None,
) -> Run:
    """Train a run from its last checkpoint, or from the start if there is none."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(_saying_how_to_continue(folder.path))
        stack.enter_context(folder.locked())
        checkpoints = Checkpoints(folder.checkpoints, config.schedule.keep_checkpoints)
        stack.callback(checkpoints.close)
        latest = checkpoints.latest()
        if latest is None:
            # The folder may have been made on another machine.
            folder.write_versions()
            state = _begun(folder, learner, initial_state(learner.method, config.seed))
        else:
            state = checkpoints.restore(state_like(learner.method), latest)
        # Before records are dropped, for this may end here.
        _require_records_until(folder, latest)
        scored = latest is not None and checkpoints.has_score(latest)
        evaluated = _rewind_records(folder, latest, rows_of_an_evaluation(config) if scored else None)
        identity = {"family": config.family, "algorithm": config.algorithm, "seed": config.seed}
        finished = evaluated and latest == config.schedule.meta_updates
        # Before anything is recorded, for this may end here too.
        executor = None if elsewhere is None or finished else stack.enter_context(elsewhere(learner, family))
        callbacks: list[Callback] = []
        # Every one of them is closed, even if another cannot be made or closed: on a full disk, for instance.
        for callback in _callbacks(folder, config, state, console, finished):
            stack.callback(callback.close)
            callbacks.append(callback)
        for callback in watching:
            stack.callback(callback.close)
            callback.on_start(folder.path, config, state.meta_update)
            callbacks.append(callback)
        threads = config.schedule.threads
        evaluated_sets = _first(task_sets, config.schedule.evaluation_tasks)
        if latest is None:
            _record_references(callbacks, identity, family, evaluated_sets, threads)
        evaluator = Evaluator(learner, family, evaluated_sets, config.seed, threads, executor)
        training = Training(
            learner, family, task_sets["train"], evaluator, config.schedule, config.seed, identity, executor
        )
        state = train_loop(training, state, checkpoints, callbacks, evaluated)
    return Run(folder, config, family, task_sets, learner, state)


def _begun(folder: RunFolder, learner: Learner, state: TrainingState) -> TrainingState:
    """Return the state that training begins from: a fresh one, or one with the parameters that it was given."""
    if not folder.start.is_file():
        return state
    parameters = load(folder.start).parameters
    return state._replace(method=learner.method.begun_from(state.method, parameters))


def _require_records_until(folder: RunFolder, latest: int | None) -> None:
    """Refuse a checkpoint that the records know nothing of: it is not this run's, or they are not."""
    trained = max((r["meta_update"] for r in folder.read_records() if r["kind"] == "train"), default=0)
    if (latest or 0) > trained:
        raise RunFolderError(
            f"The last checkpoint in {folder.checkpoints} is that of meta-update {latest}, and {folder.records} ends "
            f"at {trained}: one of them is not this run's. Put back the one that is."
        )


@contextlib.contextmanager
def _saying_how_to_continue(path: Path) -> Iterator[None]:
    """Add to what stops the training how it goes on."""
    try:
        yield
    except TespError:
        raise
    except BaseException as error:
        error.add_note(f"`tesp resume {shlex.quote(str(path))}` continues the run from its last checkpoint.")
        raise


def _callbacks(folder, config, state, console, finished) -> Iterator[Callback]:
    """Make what watches the training, the records first, so that nothing behind them can lose them."""
    total = config.schedule.meta_updates
    yield WriteRecords(folder)
    if config.log.wandb != "off" and not finished:
        yield WriteWandb(folder, as_dict(config), config.log, total, console)
    if config.log.tensorboard:
        from tesp.training.tensorboard_callback import WriteTensorBoard  # Slow to import.

        yield WriteTensorBoard(folder, as_dict(config), state.meta_update)
    if console is not None:
        yield ShowProgress(console, config.schedule, state.meta_update, folder.path.name)


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
