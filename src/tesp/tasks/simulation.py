"""What the learner samples episodes from: simulations that are stepped together, or a pool of environments."""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from tesp.errors import ConfigurationError
from tesp.tasks.compiled_dynamics import CompiledDynamics


@dataclass(frozen=True)
class Transition:
    """What one control step did to the simulations that were stepped, row by row.

    What is said of distances and positions is for families whose tasks are goals in the plane. Any other family gives
    the part of the reward that agents are judged by as the distance reward, and NaN where it has no distance or
    position.

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


class Simulator:
    """Whatever episodes are sampled from: a `Simulation` or an `EnvironmentPool`."""

    @property
    def compiled(self) -> CompiledDynamics | None:
        """The same dynamics as pure functions, for sampling that is compiled as a whole; None if there are none now."""
        return None

    def disturb(self, sigma: float, seed: Sequence[int], first: int = 0) -> None:
        """Add N(0, σ²) to the state after every control step from now on; 0 ends it. A simulator need not offer it.

        Args:
            sigma: σ, in the units of each entry of the state.
            seed: Numbers that determine the noise, together with the number of resets and steps since.
            first: How many simulations of the same noise come before these; only where tasks are on several hosts.
        """
        raise ConfigurationError(f"{type(self).__name__} has no dynamics noise; leave dynamics_noise at 0.")

    def close(self) -> None:
        """Free what is held besides memory, for rendering for instance. Closing twice is allowed."""


class Simulation(Simulator, abc.ABC):
    """n simulations of one family, each with a task of its own, stepped together."""

    @abc.abstractmethod
    def reset(self, tasks: Float[np.ndarray, "simulation parameter"]) -> Float[np.ndarray, "simulation observation"]:
        """Put every simulation at its start with the given tasks; return the first observations."""

    def restart(self, ids: Int[np.ndarray, " restarted"]) -> Float[np.ndarray, "restarted observation"]:
        """Put the simulations ``ids`` at their start again, with their tasks; return their first observations.

        The others stay as they are. Needed only where rounds are measured in steps. Dynamics noise goes on.

        Args:
            ids: Indices of the simulations, ascending, without repetition.

        Raises:
            ConfigurationError: The family's simulations lack this method.
        """
        raise ConfigurationError(
            f"{type(self).__name__} has no method restart(ids), which round_budget = 'steps' needs; give it one, or "
            "set round_budget to 'episodes'."
        )

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

    def render(self, index: int) -> np.ndarray:
        """Return an RGB image (height, width, 3) of one simulation with its goal marked."""
        raise NotImplementedError

    def snapshot(self) -> Any:
        """Return all that a simulation of the same family needs to go on from here, picklable; by default itself."""
        return self

    def restored(self, snapshot: Any) -> "Simulation":
        """Return a simulation, this one or another, that goes on from where a `snapshot` was made."""
        return snapshot


@dataclass(frozen=True)
class PoolTransition(Transition):
    """What one control step did to the environments of a pool, one row a place.

    Attributes:
        truncated: The environment cut the episode off here.
        valid: The place was ready and took the step; other rows mean nothing.
    """

    truncated: Bool[np.ndarray, " simulation"]
    valid: Bool[np.ndarray, " simulation"]


class EnvironmentPool(Simulator, abc.ABC):
    """A few environments, in which any number of episodes run one after the other.

    For environments that cannot be stepped one by one, or are too heavy to make one for every episode of a round.
    A place is *ready* if an episode has begun there and waits for an action.

    Attributes:
        size: Number of places.
        observation: The newest observation of every place, (size, observation).
        ready: Which places are ready, (size,).
        first_position: Where the newest episode of each place began, in metres in the plane, (size, 2); NaN if unknown.
    """

    size: int
    observation: Float[np.ndarray, "place observation"]
    ready: Bool[np.ndarray, " place"]
    first_position: Float[np.ndarray, "place 2"]

    @abc.abstractmethod
    def start(
        self,
        places: Int[np.ndarray, " started"],
        tasks: Float[np.ndarray, "started parameter"],
        seeds: Int[np.ndarray, " started"],
    ) -> None:
        """Ask for a new episode at the given places, whatever happens there now.

        They are ready at once, or after one or more steps where environments begin anew at their own time.

        Args:
            places: Indices of the places, ascending, without repetition.
            tasks: The task of each.
            seeds: What each environment is seeded with, if it can be.
        """

    @abc.abstractmethod
    def start_waiting(self) -> None:
        """Begin all episodes that were asked for at once, whatever happens elsewhere: no place is of use otherwise."""

    @abc.abstractmethod
    def step(self, actions: Float[np.ndarray, "place action"]) -> PoolTransition:
        """Advance every place by one control step; a place whose episode ends is no longer ready.

        Args:
            actions: One action a place, clipped to [−1, 1] here; those of places that are not ready have no meaning.
        """
