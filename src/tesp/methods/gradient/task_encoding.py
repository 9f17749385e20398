"""What TESP and its set of policies have in common: an adapted task encoder."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from tesp.methods.gradient.algorithm import Algorithm, rates_like
from tesp.networks.policy import ConditionalPolicy
from tesp.networks.task_encoder import TaskEncoder
from tesp.types import Parameters, PyTree


class TaskEncoding(Algorithm):
    """Fast-updates change the task encoder, on whose embedding the policy is conditioned.

    What is left open is the policy.
    """

    observation_size: int = eqx.field(static=True)
    action_size: int = eqx.field(static=True)
    embedding_size: int = eqx.field(static=True)
    policy_units: tuple[int, ...] = eqx.field(static=True)
    encoder_units: int = eqx.field(static=True)
    initial_rate: float = eqx.field(static=True)
    warm_up: bool = eqx.field(static=True, default=True)
    keep_all: bool = eqx.field(static=True, default=False)
    learned_rates: bool = eqx.field(static=True, default=True)
    adapts_policy: bool = eqx.field(static=True, default=False)
    conditioning: str = eqx.field(static=True, default="concatenate")
    least_std: float = eqx.field(static=True, default=0.0)

    @abc.abstractmethod
    def draw_policy(self, key: PRNGKeyArray) -> ConditionalPolicy:
        """Draw a policy that is conditioned on an embedding."""

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw θ_TE and θ_policy; α starts at ``initial_rate`` everywhere, and is one scalar if it is not learned."""
        encoder_key, policy_key = jax.random.split(key)
        encoder = TaskEncoder.create(
            encoder_key, self.observation_size, self.action_size, self.encoder_units, self.embedding_size
        )
        policy = self.draw_policy(policy_key)
        adapted, shared = ((encoder, policy), ()) if self.adapts_policy else (encoder, policy)
        rates = rates_like(adapted, self.initial_rate) if self.learned_rates else jnp.full((), self.initial_rate, float)
        return Parameters(adapted, rates, shared)

    def policy(self, adapted, shared):
        """Return the shared policy, or the task's own where it is adapted too."""
        return adapted[1] if self.adapts_policy else shared

    def encoder(self, adapted: PyTree) -> TaskEncoder:
        """Return the task encoder, with which nothing else is adapted unless the policy is too."""
        return adapted[0] if self.adapts_policy else adapted

    def embedding(self, adapted, buffer, task):
        """Return the mean embedding of the buffered episodes (equation 5)."""
        assert buffer is not None
        return self.encoder(adapted)(buffer)
