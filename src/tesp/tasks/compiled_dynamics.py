"""Simulations as pure functions, so that a whole round of sampling can be compiled with the policy inside."""

import abc
from typing import Any, NamedTuple

from jaxtyping import Array, Bool, Float


class CompiledTransition(NamedTuple):
    """What one control step did to one simulation; the fields are those of `Transition`."""

    observation: Float[Array, " observation"]
    reward: Float[Array, ""]
    distance_reward: Float[Array, ""]
    distance: Float[Array, ""]
    position: Float[Array, "2"]
    terminated: Bool[Array, ""]
    success: Bool[Array, ""]
    healthy: Bool[Array, ""]


class CompiledDynamics(abc.ABC):
    """The dynamics of one simulation, without a state of its own; what simulates many adds the axis with ``jax.vmap``.

    Hashable, so that a compiled function belongs to it: equal dynamics compute the same. Traced in double
    precision, under ``jax.enable_x64``.
    """

    @abc.abstractmethod
    def start(self, task: Float[Array, " parameter"]) -> tuple[Any, Float[Array, " observation"], Float[Array, "2"]]:
        """Return the state at the start (any pytree of arrays), the first observation and the position in metres."""

    @abc.abstractmethod
    def step(
        self, state: Any, task: Float[Array, " parameter"], action: Float[Array, " action"]
    ) -> tuple[Any, CompiledTransition]:
        """Advance by one control step; the action is clipped to [−1, 1] here."""
