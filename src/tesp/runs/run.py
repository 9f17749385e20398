"""A run on disk with a state of its meta-learner."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console

from tesp.agents.adapting import AdaptedAgent, MetaLearner, Origin
from tesp.agents.given_task import checked_task, warn_if_far
from tesp.config import Config
from tesp.episodes.executor import Executor
from tesp.episodes.rollout import Learner
from tesp.evaluation.protocol import Evaluator, stand_still
from tesp.runs.states import load_state
from tesp.storage.checkpoint import TrainingState
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks.checks import checked_count
from tesp.tasks.family import Family
from tesp.types import PyTree


def adapt_to_task_of(
    family: Family,
    task_sets: Mapping[str, TaskSet],
    learner: MetaLearner,
    task: Sequence[float] | np.ndarray,
    fast_updates: int | None = None,
    episodes: int | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> AdaptedAgent:
    """Adapt a meta-learner to one task of its family, through the family's own simulations.

    Args:
        family: The family.
        task_sets: D, D′ and D″ of it: a task far from all of them is warned about.
        learner: The meta-learner.
        task: As for `Run.adapt`, like everything else.
        fast_updates: K.
        episodes: N.
        seed: Seed of the sampling.
        console: Where progress is shown.
    """
    row = checked_task(family, task)
    warn_if_far(family, row, task_sets, stacklevel=4)
    count = learner.config.sampling.episodes_per_round if episodes is None else episodes
    simulation = family.simulate(checked_count("episodes", count), learner.config.schedule.threads)
    return learner.adapt_to_task(simulation, row, fast_updates, episodes=count, seed=seed, console=console)


@dataclass(frozen=True)
class Run:
    """A run on disk with a state of its meta-learner.

    Attributes:
        folder: Where it lies.
        config: Its configuration.
        family: Its family of tasks.
        task_sets: D, D′ and D″.
        learner: Its method, compiled.
        state: The state that was loaded.
    """

    folder: RunFolder
    config: Config
    family: Family
    task_sets: dict[str, TaskSet]
    learner: Learner
    state: TrainingState

    @property
    def parameters(self) -> PyTree:
        """The meta-learner's parameters."""
        return self.learner.method.parameters(self.state.method, evaluated=True)

    @property
    def meta_learner(self) -> MetaLearner:
        """What was learned, apart from the run: to be adapted to environments, or saved to one file."""
        origin = Origin(self.folder.identity, self.state.meta_update)
        return MetaLearner(self.config, self.family.interface, self.parameters, self.learner, origin)

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
            ConfigurationError: The task has another number of parameters than the family's or is a goal out of the
                body's reach, or a number is not possible.

        Warns:
            TaskWarning: The task lies far from all those that the family draws.
            AdaptationWarning: The return of the last round does not differ significantly from that of the first.
        """
        return adapt_to_task_of(
            self.family, self.task_sets, self.meta_learner, task, fast_updates, episodes, seed, console
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
        return replace(self, state=load_state(self.folder, self.config, self.learner, checkpoint))

    def evaluate(
        self,
        dynamics_noise: float = 0.0,
        on_task_set: Callable[[str], None] | None = None,
        executor: Executor | None = None,
    ) -> list[dict[str, Any]]:
        """Evaluate on D, D′ and D″ after k = 0…K fast-updates; one row per task set and k.

        Args:
            dynamics_noise: σ of the noise N(0, σ²) added to the state after every control step.
            on_task_set: Called with the name of every task set that is done, to show progress.
            executor: What adapts to the tasks, as ``tesp.cluster.hosts.on_hosts(…)`` gives it; by default this process.

        Raises:
            ConfigurationError: σ is negative or not finite, or the family offers no dynamics noise.
        """
        threads = self.config.schedule.threads
        evaluator = Evaluator(self.learner, self.family, self.task_sets, self.config.seed, threads, executor)
        return evaluator.evaluate(self.parameters, self.state.meta_update, dynamics_noise, on_task_set)
