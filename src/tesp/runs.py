"""Runs: start, continue and load them. What the command line and a program of your own have in common."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from tesp.adapt import checked_task
from tesp.agents import AdaptedAgent, MetaLearner
from tesp.building import build_family, build_learner
from tesp.config import Config, check_storable, to_json
from tesp.errors import ConfigurationError, RunFolderError
from tesp.evaluation.protocol import Evaluator, stand_still
from tesp.interaction import Learner
from tesp.stored import stored_config
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks import family_files
from tesp.tasks.checks import checked_count
from tesp.tasks.family import Family
from tesp.tasks.simulation import Simulation
from tesp.training.callbacks import Callback, ShowProgress, WriteRecords
from tesp.training.checkpoint import Checkpoints, TrainingState, initial_state, state_like
from tesp.training.loop import Training
from tesp.training.loop import train as train_loop
from tesp.training.run_folder import RunFolder, versions
from tesp.training.wandb_callback import WandbError, WriteWandb, require_wandb
from tesp.types import Parameters


@dataclass(frozen=True)
class Run:
    """A run on disk with a state of its meta-learner.

    Attributes:
        folder: Where it lies.
        config: Its configuration.
        family: Its family of tasks.
        task_sets: D, D′ and D″.
        learner: Its algorithm, compiled.
        state: The state that was loaded.
    """

    folder: RunFolder
    config: Config
    family: Family
    task_sets: dict[str, TaskSet]
    learner: Learner
    state: TrainingState

    @property
    def parameters(self) -> Parameters:
        """The meta-learner's parameters."""
        return self.state.evaluated

    @property
    def meta_learner(self) -> MetaLearner:
        """What was learned, apart from the run: to be adapted to environments, or saved to one file."""
        return MetaLearner(self.config, self.family.interface, self.parameters, self.learner)

    def adapt(
        self,
        task: Sequence[float] | np.ndarray,
        fast_updates: int | None = None,
        *,
        episodes: int | None = None,
        seed: int = 0,
        console: Console | None = None,
    ) -> AdaptedAgent:
        """Adapt to one task of the run's family, through the family's own simulations.

        Args:
            task: The task's parameters; for goals (x, y) in metres.
            fast_updates: K; by default as in training.
            episodes: N, episodes of every round; by default as in training.
            seed: Seed of the sampling.
            console: Where progress is shown; by default nowhere.

        Raises:
            ConfigurationError: The task has another number of parameters than the family's, or a number is not
                possible.

        Warns:
            AdaptationWarning: The return of the last round does not differ significantly from that of the first.
        """
        row = checked_task(self.family, task)
        count = self.config.sampling.episodes_per_round if episodes is None else episodes
        simulation = self.family.simulate(checked_count("episodes", count), self.config.schedule.threads)
        return self.meta_learner.adapt_to_task(
            simulation, row, fast_updates, episodes=count, seed=seed, console=console
        )

    def stand_still(self, dynamics_noise: float = 0.0) -> list[dict[str, Any]]:
        """Return the returns of an agent that never acts on D, D′ and D″; one row per task set.

        Args:
            dynamics_noise: As for `evaluate`.
        """
        threads = self.config.schedule.threads
        return [
            {"task_set": name, **stand_still(self.family, self.task_sets[name], threads, dynamics_noise)}
            for name in TASK_SETS
        ]

    def at(self, checkpoint: str | int) -> "Run":
        """Return the run with another of its checkpoints, without compiling anything anew.

        Raises:
            RunFolderError: There is no such checkpoint, or it is damaged.
        """
        return replace(self, state=_load_state(self.folder, self.config, self.learner, checkpoint))

    def evaluate(
        self, dynamics_noise: float = 0.0, on_task_set: Callable[[str], None] | None = None
    ) -> list[dict[str, Any]]:
        """Evaluate on D, D′ and D″ after k = 0…K fast-updates; one row per task set and k.

        Args:
            dynamics_noise: σ of the noise N(0, σ²) added to the state after every control step.
            on_task_set: Called with the name of every task set that is done, to show progress.

        Raises:
            ConfigurationError: σ is negative or not finite, or the family offers no dynamics noise.
        """
        threads = self.config.schedule.threads
        evaluator = Evaluator(self.learner, self.family, self.task_sets, self.config.seed, threads)
        return evaluator.evaluate(self.state.evaluated, self.state.meta_update, dynamics_noise, on_task_set)


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
    family = build_family(config)
    task_sets = family.sample_task_sets(config.seed)
    check_task_count(config, task_sets)
    check_storable(config)
    learner = build_learner(config, family)
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
    config = stored_config(folder)
    family = _stored_family(folder, config)
    if console is not None and folder.read_versions() != versions():
        console.print("other versions of some packages than the run began with: results may differ in the last bits")
    return _continue(folder, config, family, build_learner(config, family), folder.read_task_sets(), console)


def is_finished(path: str | os.PathLike[str]) -> bool:
    """Tell whether a run was trained and evaluated to its end.

    Raises:
        RunFolderError: The folder is not a run's, or is damaged.
    """
    folder = RunFolder.open(path)
    config = stored_config(folder)
    if not folder.checkpoints.is_dir():
        return False
    checkpoints = Checkpoints(folder.checkpoints, config.schedule.keep_checkpoints, read_only=True)
    end = config.schedule.meta_updates
    try:
        trained = checkpoints.latest() == end and checkpoints.has_score(end)
    finally:
        checkpoints.close()
    return trained and _evaluations_at(folder, end) == _rows_of_an_evaluation(config)


def _rows_of_an_evaluation(config: Config) -> int:
    return len(TASK_SETS) * (config.fast.fast_updates + 1)


def _evaluations_at(folder: RunFolder, meta_update: int | None) -> int:
    return sum(r["kind"] == "evaluation" and r["meta_update"] == meta_update for r in folder.read_records())


def load_run(path: str | os.PathLike[str], checkpoint: str | int = "best") -> Run:
    """Load a trained run.

    Args:
        path: The run folder.
        checkpoint: ``"best"`` (highest return on D′), ``"latest"``, or a number of meta-updates.

    Raises:
        RunFolderError: The folder is not a run's, or has no such checkpoint.
    """
    folder = RunFolder.open(path)
    config = stored_config(folder)
    family = _stored_family(folder, config)
    learner = build_learner(config, family)
    state = _load_state(folder, config, learner, checkpoint)
    return Run(folder, config, family, folder.read_task_sets(), learner, state)


def load(path: str | os.PathLike[str], checkpoint: str | int = "best") -> MetaLearner:
    """Load a trained meta-learner, to adapt it to an environment of your own.

    Args:
        path: The folder of a run, or a file that ``tesp export`` or `MetaLearner.save` wrote.
        checkpoint: Which checkpoint of a run: ``"best"`` (highest return on D′), ``"latest"``, or a number of
            meta-updates. A file holds one.

    Raises:
        RunFolderError: It is neither, is damaged, or has no such checkpoint.
    """
    if Path(path).is_file():
        return MetaLearner.load(path)
    folder = RunFolder.open(path)
    config = stored_config(folder)
    # The family itself is not needed, so that a learner can be used where its family does not exist.
    interface = folder.read_interface() or build_family(config).interface
    learner = build_learner(config, interface)
    state = _load_state(folder, config, learner, checkpoint)
    return MetaLearner(config, interface, state.evaluated, learner)


def _load_state(folder: RunFolder, config: Config, learner: Learner, which: str | int) -> TrainingState:
    checkpoints = Checkpoints(folder.checkpoints, config.schedule.keep_checkpoints, read_only=True)
    try:
        like = state_like(learner.algorithm, learner.meta)
        return checkpoints.restore(like, _checkpoint_number(checkpoints, which, folder))
    finally:
        checkpoints.close()


def checkpoint_numbers(path: str | os.PathLike[str]) -> list[int]:
    """Return the meta-updates of all checkpoints of a run, ascending.

    Raises:
        RunFolderError: The folder is not a run's, or has no checkpoint.
    """
    folder = RunFolder.open(path)
    checkpoints = Checkpoints(folder.checkpoints, stored_config(folder).schedule.keep_checkpoints, read_only=True)
    try:
        _checkpoint_number(checkpoints, "latest", folder)
        return checkpoints.steps()
    finally:
        checkpoints.close()


def _stored_family(folder: RunFolder, config: Config) -> Family:
    """Make the family of a run, and warn if its file is another than the run began with."""
    family_files.check_copy(config.family_reference, folder.path)
    return build_family(config)


def _checkpoint_number(checkpoints: Checkpoints, which: str | int, folder: RunFolder) -> int:
    if which == "best":
        which = number if (number := checkpoints.best()) is not None else "latest"
    if which == "latest":
        number = checkpoints.latest()
        if number is None:
            raise RunFolderError(f"{folder.path} has no checkpoint yet; `tesp resume {folder.path}` starts it again.")
        return number
    try:
        return int(which)
    except ValueError:
        raise ConfigurationError(
            f"There is no checkpoint {which!r}; give best, latest or a number of meta-updates."
        ) from None


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
            state = initial_state(learner.algorithm, learner.meta, config.seed)
        else:
            state = checkpoints.restore(state_like(learner.algorithm, learner.meta), latest)
        scored = latest is not None and checkpoints.has_score(latest)
        evaluated = _rewind_records(folder, latest, _rows_of_an_evaluation(config) if scored else None)
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
        yield WriteWandb(folder, asdict(config), config.log, total, console)
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
    if rows is not None and _evaluations_at(folder, latest) == rows:
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
