"""The spaces of environments: which of them agents can see and act in."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from jaxtyping import Float

from tesp.errors import ConfigurationError
from tesp.interface import Interface


def check_spaces(
    observation: gymnasium.Space, action: gymnasium.Space, environment: gymnasium.Env | None = None
) -> None:
    """Refuse spaces that no policy of this library can see or act in.

    Args:
        observation: The space of observations.
        action: The space of actions.
        environment: The environment, if it is known: its wrappers say what would help.

    Raises:
        ConfigurationError: One of them is no box, or actions are unbounded or not real numbers.
    """
    if not isinstance(observation, gymnasium.spaces.Box):
        raise ConfigurationError(
            f"The observation space is {observation}; it must be a Box. Flatten others with "
            "gymnasium.wrappers.FlattenObservation."
        )
    if not isinstance(action, gymnasium.spaces.Box) or not np.issubdtype(action.dtype, np.floating):
        raise ConfigurationError(f"The action space is {action}; it must be a Box of real numbers.")
    if not action.is_bounded():
        clips = any(isinstance(wrapper, gymnasium.wrappers.ClipAction) for wrapper in wrappers_of(environment))
        help_ = (
            "Leave ClipAction out: actions are always inside the bounds of what it wraps."
            if clips
            else ("Give it some with gymnasium.wrappers.TransformAction(env, lambda action: action, Box(low, high)).")
        )
        raise ConfigurationError(f"The action space is {action}; its bounds must be finite. {help_}")


def check_same_spaces(vector: VectorEnv, interface: Interface) -> None:
    """Refuse an environment that agents of another one can neither see nor act in.

    Raises:
        ConfigurationError: Observations have another shape, or actions another shape or other bounds.
    """
    observation, action = vector.single_observation_space, vector.single_action_space
    trained = spaces_of(interface)
    fits = isinstance(observation, gymnasium.spaces.Box) and observation.shape == trained[0].shape
    if not fits or not isinstance(action, gymnasium.spaces.Box) or not _same_box(action, trained[1]):
        raise ConfigurationError(
            "The environment's spaces are not those of the training: it has observations "
            f"{observation} and actions {action}; the meta-learner has observations of shape "
            f"{interface.observation_shape} (any bounds) and actions {trained[1]}. Wrap the environment so that they "
            "agree, for instance with gymnasium.wrappers.RescaleAction."
        )


def spaces_of(interface: Interface) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    """Return an unbounded observation space and the action space of what an agent sees and does."""
    low, high = np.array(interface.action_low, np.float32), np.array(interface.action_high, np.float32)
    observation = gymnasium.spaces.Box(-np.inf, np.inf, interface.observation_shape, np.float64)
    return observation, gymnasium.spaces.Box(low, high, dtype=np.float32)


def to_bounds(
    action: Float[np.ndarray, "*batch action"], low: Float[np.ndarray, " action"], high: Float[np.ndarray, " action"]
) -> Float[np.ndarray, "*batch action"]:
    """Scale actions linearly from [−1, 1] to [low, high]."""
    return np.clip(low + (action + 1.0) * 0.5 * (high - low), low, high)


def _same_box(one: gymnasium.spaces.Box, other: gymnasium.spaces.Box) -> bool:
    return one.shape == other.shape and np.allclose(one.low, other.low) and np.allclose(one.high, other.high)


def wrappers_of(environment: Any) -> Iterator[Any]:
    """Yield an environment's wrappers, outermost first, and the environment itself."""
    while environment is not None:
        yield environment
        environment = environment.env if isinstance(environment, gymnasium.Wrapper | VectorWrapper) else None
