"""TESP: an adapted task encoder and a shared policy."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from tesp.algorithms.base import Algorithm
from tesp.networks.policy import Policy
from tesp.networks.task_encoder import TaskEncoder
from tesp.types import Parameters


class TESP(Algorithm):
    """Fast-updates change the task encoder; the policy is shared and conditioned on the embedding.

    ======================  ==========================================
    adapted                 the task encoder, θ_TE
    rates                   learned, one per parameter of the encoder
    policy conditioned on   h = mean over the buffer of g(τ; θ_TE)
    warm-up round           yes, with h = 0
    ======================  ==========================================

    Source: algorithm 1 of the paper.
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

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw θ_TE and θ_policy; α starts at ``initial_rate`` everywhere."""
        encoder_key, policy_key = jax.random.split(key)
        encoder = TaskEncoder.create(
            encoder_key, self.observation_size, self.action_size, self.encoder_units, self.embedding_size
        )
        policy = Policy.create(
            policy_key, self.observation_size, self.embedding_size, self.action_size, self.policy_units
        )
        rates = jax.tree.map(lambda leaf: jnp.full_like(leaf, self.initial_rate), encoder)
        return Parameters(encoder, rates, policy)

    def policy(self, adapted, shared):
        """Return the shared policy."""
        return shared

    def embedding(self, adapted, buffer, task):
        """Return the mean embedding of the buffered episodes (equation 5)."""
        return adapted(buffer)
