"""What an agent sees, what it does, and for how long."""

from dataclasses import dataclass
from typing import Any

import numpy as np


def nested_tuple(value: Any) -> Any:
    """Return nested lists as nested tuples."""
    return tuple(nested_tuple(x) for x in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Interface:
    """What an agent sees, what it does, and for how long: all that it knows of an environment beforehand.

    Attributes:
        observation_shape: Shape of an observation.
        action_low: Least values of an action in the environment's units, nested as the action is.
        action_high: Greatest values, likewise. Policies act in [−1, 1], which is scaled linearly to these.
        task_size: Number of parameters of a task.
        horizon: H, control steps after which an episode is cut off.
    """

    observation_shape: tuple[int, ...]
    action_low: Any
    action_high: Any
    task_size: int
    horizon: int

    @property
    def observation_size(self) -> int:
        """Number of entries of an observation."""
        return int(np.prod(self.observation_shape, dtype=int))

    @property
    def action_size(self) -> int:
        """Number of entries of an action."""
        return int(np.size(self.action_low))
