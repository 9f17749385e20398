"""A plain network: layers with tanh units and a linear output."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tesp.networks.policy import Linear


class MLP(eqx.Module):
    """Hidden layers with tanh units and a linear output, which is zero in a fresh network."""

    hidden: tuple[Linear, ...]
    output: Linear

    @classmethod
    def create(cls, key: PRNGKeyArray, inputs: int, outputs: int, units: tuple[int, ...]) -> "MLP":
        """Draw one with hidden layers of the given numbers of units."""
        sizes, keys = (inputs, *units), jax.random.split(key, max(len(units), 1))
        hidden = [Linear.create(k, a, b) for k, a, b in zip(keys, sizes, sizes[1:], strict=False)]
        return cls(tuple(hidden), Linear(jnp.zeros((sizes[-1], outputs)), jnp.zeros(outputs)))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """Apply the layers to the last axis."""
        for layer in self.hidden:
            x = jnp.tanh(layer(x))
        return self.output(x)
