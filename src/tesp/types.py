"""Data that travels between the rooms. Axes have names, always in the order ``task episode step feature``."""

from typing import Any, NamedTuple

import equinox as eqx
from jaxtyping import Bool, Float

#: Any pytree of arrays.
PyTree = Any


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
        behaviour: The distribution that the action was drawn from, a pytree of arrays.
        valid: Whether the step exists.
        terminated: Whether the episode ended at this step by itself.
        truncated: Whether the episode was cut off at this step by the horizon.
    """

    observation: Float[Any, "*batch step observation"]
    action: Float[Any, "*batch step action"]
    reward: Float[Any, "*batch step"]
    distance_reward: Float[Any, "*batch step"]
    behaviour: PyTree
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
