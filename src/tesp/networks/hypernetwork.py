"""A policy whose weights another network makes."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tesp.networks.initialisers import unit_columns
from tesp.networks.policy import ConditionalPolicy, Policy, gaussian


class HyperPolicy(ConditionalPolicy):
    """π(a | s; θ(h)): an MLP on s alone, all of whose weights and biases are an affine function of h.

    θ(h) = θ₀ + h W

    A fresh one is a fresh `Policy` of s with the weights θ₀, whatever h, but for W, whose columns have norm 0.01.

    Source: Beck et al. 2023, *Recurrent Hypernetworks are Surprisingly Strong in Meta-RL*; the start after
    Beck et al. 2022, *Hypernetworks in Meta-Reinforcement Learning*: bias-hyperinit.
    """

    bias: Float[Array, " weights"]
    weight: Float[Array, "embedding weights"]
    sizes: tuple[int, ...] = eqx.field(static=True)
    least_std: float = eqx.field(static=True, default=0.0)

    @classmethod
    def create(
        cls,
        key: PRNGKeyArray,
        observation_size: int,
        embedding_size: int,
        action_size: int,
        units: tuple[int, ...],
        least_std: float = 0.0,
    ) -> "HyperPolicy":
        """Draw a policy with hidden layers of the given numbers of units."""
        plain_key, weight_key = jax.random.split(key)
        plain = Policy.create(plain_key, observation_size, 0, action_size, units)
        layers = [part for layer in (*plain.hidden, plain.output) for part in (layer.weight.ravel(), layer.bias)]
        bias = jnp.concatenate(layers)
        weight = unit_columns(weight_key, embedding_size, len(bias), 0.01)
        return cls(bias, weight, (observation_size, *units, 2 * action_size), least_std)

    def condition(self, embedding):
        """Return θ(h), for any leading axes."""
        return embedding @ self.weight + self.bias

    def respond(self, observation, conditioned):
        """Apply the layers; weights are those of all observations, or those of each of them."""
        x, start = observation, 0
        shapes = list(pairwise(self.sizes))
        for number, (inputs, outputs) in enumerate(shapes):
            middle, end = start + inputs * outputs, start + (inputs + 1) * outputs
            weight = conditioned[..., start:middle].reshape(*conditioned.shape[:-1], inputs, outputs)
            x = jnp.einsum("...i,...io->...o", x, weight) + conditioned[..., middle:end]
            x = jnp.tanh(x) if number < len(shapes) - 1 else x
            start = end
        return gaussian(x, self.least_std)
