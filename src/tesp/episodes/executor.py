"""Where the tasks of an adaptation are worked on: in this process, or wherever another executor has them."""

import abc
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, PRNGKeyArray

from tesp.episodes.rollout import Adaptation, Learner
from tesp.errors import TespError
from tesp.methods.base import Metrics
from tesp.tasks.family import Family
from tesp.tasks.simulation import EnvironmentPool, Simulation
from tesp.types import PyTree


class UnavailableError(TespError):
    """What an executor needs is not there, so that nothing has begun."""


class Disturbance(NamedTuple):
    """Noise on the dynamics of all tasks.

    Attributes:
        sigma: σ of N(0, σ²), which is added to the state after every control step; 0 for none.
        seed: Numbers that determine it.
    """

    sigma: float
    seed: tuple[int, ...]


class Executor(abc.ABC):
    """Adapts to many tasks and learns from them. Where and beside which others a task is adapted to changes no bit."""

    @abc.abstractmethod
    def adapt(
        self,
        parameters: PyTree,
        tasks: Float[np.ndarray, "task parameter"],
        key: PRNGKeyArray,
        task_ids: Int[np.ndarray, " task"] | None = None,
        *,
        keep_rounds: bool = True,
        disturbance: Disturbance | None = None,
    ) -> Adaptation:
        """Run the rounds of the method's plan on a number of tasks; see `tesp.episodes.rollout.Learner.adapt`.

        Args:
            parameters: What acting and inferring depend on.
            tasks: The tasks.
            key: Randomness of this adaptation.
            task_ids: What identifies each task in the randomness; its index by default.
            keep_rounds: Whether `meta_update` is to learn from it.
            disturbance: Noise on the dynamics, if any.
        """

    @abc.abstractmethod
    def meta_update(self, state: PyTree, adaptation: Adaptation, done: int, total: int) -> tuple[PyTree, Metrics]:
        """Train on what the tasks of the last adaptation experienced; see `tesp.methods.base.Method.meta_update`."""

    def spent(self) -> dict[str, Any]:
        """Return columns for the record of a meta-update that say what was spent elsewhere since the last call."""
        return {}


#: Gives an executor for a learner and its family, as long as it is needed. It raises `UnavailableError`.
Elsewhere = Callable[[Learner, Family], AbstractContextManager[Executor]]


class LocalExecutor(Executor):
    """Works on all tasks in this process.

    Args:
        learner: The compiled method.
        horizon: H.
        simulate: Makes simulations for a number of episodes. They are kept: resetting costs less than making them.
        episodes: N, the episodes of a round; by default those of training.
    """

    def __init__(
        self,
        learner: Learner,
        horizon: int,
        simulate: Callable[[int], Simulation | EnvironmentPool],
        episodes: int | None = None,
    ):
        self._learner, self._horizon, self._simulate = learner, horizon, simulate
        self._episodes = learner.sampling.episodes_per_round if episodes is None else episodes
        self._simulations: dict[int, Simulation | EnvironmentPool] = {}
        self._disturbed = False

    def simulation(self, tasks: int, first: int = 0, disturbance: Disturbance | None = None):
        """Return the simulations for the rounds of a number of tasks.

        Args:
            tasks: How many.
            first: How many tasks come before them, where they are some of several.
            disturbance: Noise on the dynamics.
        """
        episodes = self._episodes
        if tasks * episodes not in self._simulations:
            self._simulations[tasks * episodes] = self._simulate(tasks * episodes)
        simulation = self._simulations[tasks * episodes]
        # A simulation without noise need not know what noise is, nor one of all tasks what comes before them.
        if (disturbance is not None and disturbance.sigma) or self._disturbed:
            given = disturbance or Disturbance(0.0, (0,))
            simulation.disturb(*given, **({"first": first * episodes} if first else {}))
            self._disturbed = True
        return simulation

    def adapt(self, parameters, tasks, key, task_ids=None, *, keep_rounds=True, disturbance=None):
        """Adapt to them together."""
        simulation = self.simulation(len(tasks), disturbance=disturbance)
        return self._learner.adapt(
            parameters, simulation, tasks, self._horizon, key, task_ids, keep_rounds, episodes=self._episodes
        )

    def meta_update(self, state, adaptation, done, total):
        """Let the method learn from what is kept here."""
        return self._learner.meta_update(state, adaptation, done, total)
