"""What a family of tasks is: the interface between the learner and any simulator."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tesp.errors import ConfigurationError
from tesp.tasks.compiled_dynamics import CompiledDynamics
from tesp.types import TaskSet


@dataclass(frozen=True)
class Transition:
    """What one control step did to the simulations that were stepped, row by row.

    Attributes:
        observation: The observation after the step.
        reward: distance reward − 0.001·‖a‖² with the clipped action a.
        distance_reward: −‖x − g‖₂ in metres, x after the step.
        distance: ‖x − g‖₂ in metres.
        position: x after the step, in metres, in the plane.
        terminated: The episode ends here by itself (arrived, or fell where that ends it).
        success: Arrived: the distance is below the family's threshold.
        healthy: The state is finite and the body upright; always true for families that cannot fall.
    """

    observation: Float[np.ndarray, "simulation observation"]
    reward: Float[np.ndarray, " simulation"]
    distance_reward: Float[np.ndarray, " simulation"]
    distance: Float[np.ndarray, " simulation"]
    position: Float[np.ndarray, "simulation 2"]
    terminated: Bool[np.ndarray, " simulation"]
    success: Bool[np.ndarray, " simulation"]
    healthy: Bool[np.ndarray, " simulation"]


class Simulation(abc.ABC):
    """n simulations of one family, each with a task of its own, stepped together."""

    @abc.abstractmethod
    def reset(self, tasks: Float[np.ndarray, "simulation parameter"]) -> Float[np.ndarray, "simulation observation"]:
        """Put every simulation at its start with the given tasks; return the first observations."""

    @abc.abstractmethod
    def step(self, ids: Int[np.ndarray, " stepped"], actions: Float[np.ndarray, "stepped action"]) -> Transition:
        """Advance the simulations ``ids`` by one control step; the others stay as they are.

        Args:
            ids: Indices of the simulations to step, ascending, without repetition.
            actions: One action a row; clipped to [−1, 1] here.
        """

    @property
    @abc.abstractmethod
    def positions(self) -> Float[np.ndarray, "simulation 2"]:
        """Where the bodies (or fingertips) are now, in metres, in the plane."""

    @property
    def compiled(self) -> CompiledDynamics | None:
        """The same dynamics as pure functions, for sampling that is compiled as a whole; None if there are none now."""
        return None

    def disturb(self, sigma: float, seed: Sequence[int]) -> None:
        """Add N(0, σ²) to the state after every control step from now on; 0 ends it. A simulation need not offer it.

        Args:
            sigma: σ, in the units of each entry of the state.
            seed: Numbers that determine the noise, together with the number of resets and steps since.
        """
        raise ConfigurationError(f"{type(self).__name__} has no dynamics noise; leave dynamics_noise at 0.")

    def render(self, index: int) -> np.ndarray:
        """Return an RGB image (height, width, 3) of one simulation with its goal marked."""
        raise NotImplementedError


class Family(abc.ABC):
    """A family of tasks: one body and one reward, many goals.

    Attributes:
        name: The name in the registry.
        observation_size: Number of entries of an observation.
        action_size: Number of actuators.
        task_size: Number of parameters of a task (2: the goal's x and y in metres).
        horizon: Control steps after which an episode is truncated.
    """

    name: str
    observation_size: int
    action_size: int
    task_size: int
    horizon: int

    @property
    @abc.abstractmethod
    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Configuration values that suit this family, by preset name (``paper``, ``quick``)."""

    @property
    @abc.abstractmethod
    def options(self) -> dict[str, Any]:
        """JSON-able options that make this family again, by name."""

    @abc.abstractmethod
    def sample_task_sets(self, seed: int) -> dict[str, TaskSet]:
        """Draw D, D′ and D″ (keys ``train``, ``in_distribution``, ``out_of_distribution``)."""

    @abc.abstractmethod
    def simulate(self, count: int, threads: int = 0) -> Simulation:
        """Make ``count`` simulations, stepped on ``threads`` threads (0: all cores)."""
