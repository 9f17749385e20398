"""The task encoder g: from episodes to a task embedding."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tesp.networks.gru import GRU
from tesp.networks.policy import Linear
from tesp.types import Episodes


class TaskEncoder(eqx.Module):
    """g(τ): a GRU over (s_t, a_t, r_t), its last valid state, and a linear layer to R^d.

    The linear layer starts with weights of norm 0.01, so a fresh encoder gives embeddings close to zero.

    Source: section 4.1 and figure 2 of the paper.
    """

    gru: GRU
    output: Linear

    @classmethod
    def create(
        cls, key: PRNGKeyArray, observation_size: int, action_size: int, units: int, embedding_size: int
    ) -> "TaskEncoder":
        """Draw an encoder with ``units`` GRU units and embeddings of length ``embedding_size``."""
        gru_key, output_key = jax.random.split(key)
        return cls(
            GRU.create(gru_key, observation_size + action_size + 1, units),
            Linear.create(output_key, units, embedding_size, norm=0.01),
        )

    def __call__(self, episodes: Episodes) -> Float[Array, " embedding"]:
        """Task embedding h = mean over the episodes of g(τ) (equation 5), leaving out those without a valid step."""
        inputs = jnp.concatenate([episodes.observation, episodes.action, episodes.reward[..., None]], axis=-1)
        valid = jnp.asarray(episodes.valid)
        codes = self.output(self.gru.last_state(inputs, valid))
        exists = jnp.any(valid, axis=1)
        mean = jnp.mean(jnp.where(exists[:, None], codes, 0.0), axis=0)
        # Where all exist the factor is 1, which changes no bit.
        return mean * (len(exists) / jnp.maximum(jnp.sum(exists), 1).astype(mean.dtype))
