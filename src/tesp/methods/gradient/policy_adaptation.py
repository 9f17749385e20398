"""What MAML and Meta-SGD have in common: fast-updates change the whole policy."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from tesp.methods.gradient.algorithm import Algorithm
from tesp.networks.policy import Policy


class PolicyAdaptation(Algorithm):
    """Every task has a policy of its own, conditioned on nothing; there is no buffer and no warm-up round.

    What is left open is the rates, and whether they are learned.
    """

    observation_size: int = eqx.field(static=True)
    action_size: int = eqx.field(static=True)
    policy_units: tuple[int, ...] = eqx.field(static=True)
    initial_rate: float = eqx.field(static=True)
    embedding_size: int = eqx.field(static=True, default=0, init=False)
    warm_up: bool = eqx.field(static=True, default=False)
    keep_all: bool = eqx.field(static=True, default=False)
    adapts_policy: bool = eqx.field(static=True, default=True)
    least_std: float = eqx.field(static=True, default=0.0)

    def draw_policy(self, key: PRNGKeyArray) -> Policy:
        """Draw a policy that reads nothing but the observation."""
        return Policy.create(key, self.observation_size, 0, self.action_size, self.policy_units, self.least_std)

    def policy(self, adapted, shared):
        """Return the task's own policy."""
        return adapted

    def embedding(self, adapted, buffer, task):
        """Return a vector without entries."""
        return jnp.zeros(0, task.dtype)
