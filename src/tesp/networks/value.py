"""The value function: what is to come of an observation and what is remembered."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tesp.networks.policy import Linear


class Value(eqx.Module):
    """V(x): an MLP with tanh units and one output, which is zero in a fresh network."""

    hidden: tuple[Linear, ...]
    output: Linear

    @classmethod
    def create(cls, key: PRNGKeyArray, inputs: int, units: tuple[int, ...]) -> "Value":
        """Draw one with hidden layers of the given numbers of units."""
        sizes, keys = (inputs, *units), jax.random.split(key, len(units))
        hidden = [Linear.create(k, a, b) for k, a, b in zip(keys, sizes, sizes[1:], strict=False)]
        return cls(tuple(hidden), Linear(jnp.zeros((sizes[-1], 1)), jnp.zeros(1)))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch"]:
        """Return the value of every row."""
        for layer in self.hidden:
            x = jnp.tanh(layer(x))
        return self.output(x)[..., 0]
