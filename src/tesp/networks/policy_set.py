"""A set of policies with a shared trunk, mixed by weights that the embedding gives."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from tesp.networks.policy import ConditionalPolicy, Linear, ModulatedPolicy, Policy, gaussian


class PolicySet(ConditionalPolicy):
    """J policies that share all but their last layers, as one.

    x: the last hidden layer for s and h,   w = softmax(h V + c),   (μ, log σ) = Σ_j w_j (x W_j + b_j)

    Attributes:
        trunk: The hidden layers; its last layer has the outputs of all J policies, one behind the other.
        weights: V and c.
        policies: J.
    """

    trunk: Policy | ModulatedPolicy
    weights: Linear
    policies: int = eqx.field(static=True)

    @classmethod
    def create(
        cls, key: PRNGKeyArray, trunk: Policy | ModulatedPolicy, embedding_size: int, policies: int
    ) -> "PolicySet":
        """Draw V with columns of norm 1; c is zero.

        Args:
            key: Randomness.
            trunk: A policy for actions with J times as many entries, each of whose outputs is drawn by itself.
            embedding_size: Entries of h.
            policies: J.
        """
        return cls(trunk, Linear.create(key, embedding_size, policies), policies)

    def condition(self, embedding):
        """Return what the embedding contributes to the trunk, and w."""
        return self.trunk.condition(embedding), jax.nn.softmax(self.weights(embedding))

    def respond(self, observation, conditioned):
        """Mix the outputs of the policies."""
        of_trunk, weights = conditioned
        outputs = self.trunk.outputs(observation, of_trunk)
        outputs = outputs.reshape(*outputs.shape[:-1], self.policies, outputs.shape[-1] // self.policies)
        return gaussian(jnp.sum(weights[:, None] * outputs, axis=-2), self.trunk.least_std)
