"""The policy: a diagonal Gaussian over actions from an observation and a task embedding."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tesp.networks.initialisers import unit_columns


class Linear(eqx.Module):
    """y = x W + b with W of shape (inputs, outputs), for any leading axes."""

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    @classmethod
    def create(cls, key: PRNGKeyArray, inputs: int, outputs: int, norm: float = 1.0) -> "Linear":
        """Draw the weights into each output unit with Euclidean norm ``norm``; the bias is zero."""
        return cls(unit_columns(key, inputs, outputs, norm), jnp.zeros(outputs))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        """Apply the layer to the last axis."""
        return x @ self.weight + self.bias


class Policy(eqx.Module):
    """π(a | s, h): an MLP on [s, h] with tanh units whose last layer gives mean and log standard deviation.

    The output layer starts with weights of norm 0.01, so a fresh policy is close to N(0, 1) everywhere.
    """

    hidden: tuple[Linear, ...]
    output: Linear

    @classmethod
    def create(
        cls,
        key: PRNGKeyArray,
        observation_size: int,
        embedding_size: int,
        action_size: int,
        units: tuple[int, ...],
    ) -> "Policy":
        """Draw a policy with hidden layers of the given numbers of units."""
        sizes = (observation_size + embedding_size, *units)
        keys = jax.random.split(key, len(units) + 1)
        hidden = tuple(
            Linear.create(k, inputs, outputs) for k, inputs, outputs in zip(keys, sizes, sizes[1:], strict=False)
        )
        return cls(hidden, Linear.create(keys[-1], sizes[-1], 2 * action_size, norm=0.01))

    def __call__(
        self, observation: Float[Array, "*batch observation"], embedding: Float[Array, " embedding"]
    ) -> tuple[Float[Array, "*batch action"], Float[Array, "*batch action"]]:
        """Return mean and log standard deviation of the action for every observation of one task."""
        # The embedding is the same for all observations of a task, so its share of the first layer is
        # computed once instead of being concatenated to every row.
        first, *others = self.hidden
        split = observation.shape[-1]
        x = jnp.tanh(observation @ first.weight[:split] + (embedding @ first.weight[split:] + first.bias))
        for layer in others:
            x = jnp.tanh(layer(x))
        mean, log_std = jnp.split(self.output(x), 2, axis=-1)
        return mean, log_std
