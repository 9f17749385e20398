"""What a family of tasks is: the interface between the learner and any simulator."""

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float

from tesp.interface import Interface
from tesp.task_sets import TaskSet
from tesp.tasks.environment import FamilyEnvironment
from tesp.tasks.goals.goals import Goals
from tesp.tasks.simulation import EnvironmentPool, Simulation


class Family(abc.ABC):
    """A family of tasks: one body and one reward, many goals.

    Attributes:
        name: The name in the registry.
        observation_size: Number of entries of an observation.
        action_size: Number of actuators.
        task_size: Number of parameters of a task (2: the goal's x and y in metres).
        horizon: Control steps after which an episode is truncated.
        goals: What tasks are where they are goals in the plane; None where they are something else.
        preset_values: What the family changes of the library's presets: values by field name, by preset name. None:
            what the library has for a family of this name, if anything.
    """

    name: str
    observation_size: int
    action_size: int
    task_size: int
    horizon: int
    goals: Goals | None = None
    preset_values: Any = None

    @property
    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """JSON-able options that make this family again, by name."""

    def with_options(self, **options: Any) -> "Family":
        """Return the family with other options, of those that `options` has.

        Raises:
            ConfigurationError: An option is not possible.
        """
        if dataclasses.is_dataclass(self):
            return dataclasses.replace(self, **options)
        return type(self)(**{**self.options, **options})

    @abc.abstractmethod
    def sample_task_sets(self, seed: int) -> dict[str, TaskSet]:
        """Draw D, D′ and D″ (keys ``train``, ``in_distribution``, ``out_of_distribution``)."""

    @abc.abstractmethod
    def simulate(self, count: int, threads: int = 0) -> Simulation | EnvironmentPool:
        """Make ``count`` simulations, stepped on ``threads`` threads (0: all cores), or a pool for as many episodes."""

    @property
    def interface(self) -> Interface:
        """What an agent of this family sees and does; actions in [−1, 1] unless a family says otherwise."""
        ones = (1.0,) * self.action_size
        return Interface((self.observation_size,), tuple(-x for x in ones), ones, self.task_size, self.horizon)

    def draw_task(self, generator: np.random.Generator) -> Float[np.ndarray, " parameter"]:
        """Draw a task like those of D, for an environment that was given none."""
        tasks = self.sample_task_sets(int(generator.integers(2**31)))["train"].tasks
        return np.array(generator.choice(tasks), np.float64)

    def environment(
        self, task: Sequence[float] | np.ndarray | None = None, render_mode: str | None = None
    ) -> gymnasium.Env:
        """Make a Gymnasium environment of one task, truncated at the horizon.

        Args:
            task: The task of every episode; by default each reset draws one like those of D.
            render_mode: None or ``rgb_array``.
        """
        made = FamilyEnvironment(self, render_mode, task=task)
        return gymnasium.wrappers.TimeLimit(made, self.horizon)
