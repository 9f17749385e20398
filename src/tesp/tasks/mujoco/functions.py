"""A family's functions of the state as one transition: results are checked, what is not given has a default."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from tesp.errors import ConfigurationError
from tesp.tasks.goals.goals import Goals
from tesp.tasks.mujoco.state import State
from tesp.tasks.simulation import Transition

StateFunction = Callable[[State], np.ndarray]
RewardFunction = Callable[[State, np.ndarray], np.ndarray]


class Outcome(NamedTuple):
    """What a control step was worth, and whether the task ends the episode; the entries are those of `Transition`."""

    reward: Float[np.ndarray, " simulation"]
    distance_reward: Float[np.ndarray, " simulation"]
    distance: Float[np.ndarray, " simulation"]
    success: Bool[np.ndarray, " simulation"]
    terminated: Bool[np.ndarray, " simulation"]


#: (state after the step, positions in the plane, clipped action) → what the step was worth.
Rating = Callable[[State, np.ndarray, np.ndarray], Outcome]


@dataclass(frozen=True)
class OwnRating:
    """What a step is worth by functions of the user's own; `MJCFFamily` says what each returns."""

    reward: RewardFunction
    terminated: StateFunction | None
    success: StateFunction | None
    task_reward: RewardFunction | None
    distance: StateFunction | None

    def __call__(self, state: State, position: np.ndarray, action: np.ndarray) -> Outcome:
        """Ask the functions; those that are None have their default."""
        rows = (len(state.qpos),)
        reward = _checked("reward", self.reward(state, action), rows)
        judged, distance, never = reward, np.full(rows, np.nan), np.zeros(rows, bool)
        if self.task_reward is not None:
            judged = _checked("task_reward", self.task_reward(state, action), rows)
        if self.distance is not None:
            distance = _checked("distance", self.distance(state), rows)
        return Outcome(
            reward,
            judged,
            distance,
            success=never if self.success is None else _checked_bool("success", self.success(state), rows),
            terminated=never if self.terminated is None else _checked_bool("terminated", self.terminated(state), rows),
        )


@dataclass(frozen=True)
class GoalRating:
    """What a step towards a goal in the plane is worth; reaching it ends the episode."""

    goals: Goals

    def __call__(self, state: State, position: np.ndarray, action: np.ndarray) -> Outcome:
        """Compare the position with the goal, which is the task."""
        reward, distance, success = self.goals.approach(position, state.task, action)
        return Outcome(reward, -distance, distance, success, terminated=success)


@dataclass(frozen=True)
class Functions:
    """What a family sees in a state.

    Attributes:
        observe: state → observation (n, entries).
        rate: What a step was worth.
        position: state → (n, 2) in metres; None: NaN.
        healthy: state → (n,); None: where the state is finite.
        falling_ends: Whether a state that is not healthy ends the episode.
    """

    observe: StateFunction
    rate: Rating
    position: StateFunction | None
    healthy: StateFunction | None
    falling_ends: bool

    def observation(self, state: State) -> Float[np.ndarray, "simulation observation"]:
        """Return the observation, or raise a ConfigurationError if it is no matrix."""
        return _checked("observe", self.observe(state), (len(state.qpos), -1))

    def place(self, state: State) -> Float[np.ndarray, "simulation 2"]:
        """Return the position in the plane, NaN if the family has none."""
        shape = (len(state.qpos), 2)
        return np.full(shape, np.nan) if self.position is None else _checked("position", self.position(state), shape)

    def health(self, state: State) -> Bool[np.ndarray, " simulation"]:
        """Tell which states are healthy."""
        if self.healthy is not None:
            return _checked_bool("healthy", self.healthy(state), (len(state.qpos),))
        return np.all(np.isfinite(np.concatenate([state.qpos, state.qvel], axis=1)), axis=1)

    def transition(self, state: State, action: Float[np.ndarray, "simulation action"]) -> Transition:
        """Return what a step did, from the state after it and the clipped action."""
        position, healthy = self.place(state), self.health(state)
        outcome = self.rate(state, position, action)
        return Transition(
            observation=self.observation(state),
            reward=outcome.reward,
            distance_reward=outcome.distance_reward,
            distance=outcome.distance,
            position=position,
            terminated=outcome.terminated | ~healthy if self.falling_ends else outcome.terminated,
            success=outcome.success,
            healthy=healthy,
        )


def _checked(name: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.array(given, np.float64)
    if values.ndim != len(shape) or any(size not in (-1, got) for size, got in zip(shape, values.shape, strict=True)):
        raise ConfigurationError(_wrong_shape(name, values.shape, shape))
    return values


def _checked_bool(name: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.array(given)
    if values.dtype != bool:
        raise ConfigurationError(f"{name} returned entries of kind {values.dtype}; return true or false for every row.")
    if values.shape != shape:
        raise ConfigurationError(_wrong_shape(name, values.shape, shape))
    return values


def _wrong_shape(name: str, got: tuple[int, ...], shape: tuple[int, ...]) -> str:
    wanted = str(shape).replace("-1", "entries of an observation")
    return f"{name} returned an array of shape {got} for {shape[0]} simulations; it must be {wanted}."
