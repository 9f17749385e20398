"""Simulations as pure functions, so that a whole round of sampling can be compiled with the policy inside.

The arrays are JAX's; that is not said in the annotations, for whoever only describes a family need not import it.
"""

import abc
from typing import Any, NamedTuple

from jaxtyping import Bool, Float


class CompiledTransition(NamedTuple):
    """What one control step did to one simulation; the fields are those of `Transition`."""

    observation: Float[Any, " observation"]
    reward: Float[Any, ""]
    distance_reward: Float[Any, ""]
    distance: Float[Any, ""]
    position: Float[Any, "2"]
    terminated: Bool[Any, ""]
    success: Bool[Any, ""]
    healthy: Bool[Any, ""]


class CompiledDynamics(abc.ABC):
    """The dynamics of one simulation, without a state of its own; what simulates many adds the axis with ``jax.vmap``.

    Hashable, so that a compiled function belongs to it: equal dynamics compute the same. Traced in double
    precision, under ``jax.enable_x64``.
    """

    @abc.abstractmethod
    def start(self, task: Float[Any, " parameter"]) -> tuple[Any, Float[Any, " observation"], Float[Any, "2"]]:
        """Return the state at the start (any pytree of arrays), the first observation and the position in metres."""

    @abc.abstractmethod
    def step(
        self, state: Any, task: Float[Any, " parameter"], action: Float[Any, " action"]
    ) -> tuple[Any, CompiledTransition]:
        """Advance by one control step; the action is clipped to [−1, 1] here."""
