"""Data that travels between the rooms. Axes have names, always in the order ``task episode step feature``."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

#: Any pytree of arrays.
PyTree = Any

#: The names of the three task sets: D, D′ and D″ of the paper.
TASK_SETS = ("train", "in_distribution", "out_of_distribution")


class Episodes(eqx.Module):
    """A batch of episodes, padded to a common number of steps.

    A step exists where ``valid`` is true; the valid steps of an episode come first. What stands in the
    padding must not change any result. There is no flag ``done``: an episode that arrived (or failed) is
    ``terminated`` at its last valid step, one that reached the horizon is ``truncated`` there.

    The arrays are NumPy's on the host, where they are collected, and JAX's everywhere else.

    Attributes:
        observation: s_t, before the action.
        action: a_t as sampled, before clipping to [−1, 1].
        reward: r_t, the family's full reward.
        distance_reward: −‖x − g‖₂ alone, in metres.
        mean: Mean of the Gaussian that the action was drawn from.
        log_std: Its log standard deviation.
        valid: Whether the step exists.
        terminated: Whether the episode ended at this step by itself.
        truncated: Whether the episode was cut off at this step by the horizon.
    """

    observation: Float[Any, "*batch step observation"]
    action: Float[Any, "*batch step action"]
    reward: Float[Any, "*batch step"]
    distance_reward: Float[Any, "*batch step"]
    mean: Float[Any, "*batch step action"]
    log_std: Float[Any, "*batch step action"]
    valid: Bool[Any, "*batch step"]
    terminated: Bool[Any, "*batch step"]
    truncated: Bool[Any, "*batch step"]


class Parameters(NamedTuple):
    """The three pytrees of a meta-learner.

    Attributes:
        adapted: What the fast-updates change, at its meta-learned start (θ_TE for TESP).
        rates: α, one learning rate per entry of ``adapted`` (same tree), or one scalar if it is fixed.
        shared: What all tasks share (θ_policy for TESP).
    """

    adapted: PyTree
    rates: PyTree
    shared: PyTree


@dataclass(frozen=True)
class TaskSet:
    """Named tasks of one family.

    Attributes:
        name: ``train``, ``in_distribution`` or ``out_of_distribution``.
        tasks: One row of task parameters per task; for the five families the goal (x, y) in metres.
    """

    name: str
    tasks: Float[np.ndarray, "task parameter"]


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

    @classmethod
    def from_json(cls, text: str) -> "Interface":
        """Read what ``json.dumps(dataclasses.asdict(…))`` wrote.

        Raises:
            ValueError: It is no JSON.
            TypeError: It has other fields.
        """
        return cls(**{name: nested_tuple(value) for name, value in json.loads(text).items()})

    @property
    def observation_size(self) -> int:
        """Number of entries of an observation."""
        return int(np.prod(self.observation_shape, dtype=int))

    @property
    def action_size(self) -> int:
        """Number of entries of an action."""
        return int(np.size(self.action_low))
