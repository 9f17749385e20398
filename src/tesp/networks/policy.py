"""The policy: a diagonal Gaussian over actions from an observation and a task embedding."""

import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tesp.distributions import Gaussian
from tesp.networks.initialisers import unit_columns
from tesp.types import PyTree

#: Norm of the columns of S and T in a fresh `ModulatedPolicy`.
_MODULATION = 0.5


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


class ConditionalPolicy(eqx.Module):
    """π(a | s, h) in two parts: what depends on h alone, computed once per task, and the rest, once per step.

    A policy is called with an observation and an embedding; whoever acts many times under one embedding computes
    `condition` once and calls `respond`.
    """

    @abc.abstractmethod
    def condition(self, embedding: Float[Array, "*each embedding"]) -> PyTree:
        """Return what the embedding contributes: a pytree of arrays. There may be one of each observation."""

    @abc.abstractmethod
    def respond(self, observation: Float[Array, "*batch observation"], conditioned: PyTree) -> Gaussian:
        """Return the distribution of the action under what `condition` gave."""

    def __call__(
        self, observation: Float[Array, "*batch observation"], embedding: Float[Array, "*each embedding"]
    ) -> Gaussian:
        """Return the distribution of the action for every observation, under one embedding or under one of each."""
        return self.respond(observation, self.condition(embedding))


def gaussian(outputs: Float[Array, "*batch twice_action"], least_std: float) -> Gaussian:
    """Return the distribution that a policy's last layer stands for: mean, and log σ = max(output, log of the least σ).

    Args:
        outputs: Outputs of the last layer; the first half is the mean.
        least_std: Least standard deviation; 0 for none.
    """
    mean, log_std = jnp.split(outputs, 2, axis=-1)
    return Gaussian(mean, jnp.maximum(log_std, math.log(least_std)) if least_std else log_std)


class Policy(ConditionalPolicy):
    """π(a | s, h): an MLP on [s, h] with tanh units whose last layer gives mean and log standard deviation.

    The output layer starts with weights of norm 0.01, so a fresh policy is close to N(0, 1) everywhere.
    """

    hidden: tuple[Linear, ...]
    output: Linear
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
    ) -> "Policy":
        """Draw a policy with hidden layers of the given numbers of units."""
        sizes = (observation_size + embedding_size, *units)
        keys = jax.random.split(key, len(units) + 1)
        hidden = tuple(
            Linear.create(k, inputs, outputs) for k, inputs, outputs in zip(keys, sizes, sizes[1:], strict=False)
        )
        return cls(hidden, Linear.create(keys[-1], sizes[-1], 2 * action_size, norm=0.01), least_std)

    def condition(self, embedding):
        """Return the embedding's share of the first layer, instead of concatenating it to every observation."""
        first, size = self.hidden[0], embedding.shape[-1]
        return embedding @ first.weight[first.weight.shape[0] - size :] + first.bias

    def respond(self, observation, conditioned):
        """Apply the layers."""
        return gaussian(self.outputs(observation, conditioned), self.least_std)

    def outputs(self, observation, conditioned):
        """Return the outputs of the last layer."""
        first, *others = self.hidden
        x = jnp.tanh(observation @ first.weight[: observation.shape[-1]] + conditioned)
        for layer in others:
            x = jnp.tanh(layer(x))
        return self.output(x)


class ModulatedPolicy(ConditionalPolicy):
    """π(a | s, h): an MLP on s in which h scales and shifts what enters every hidden unit.

    x ↦ tanh( (x W + b) ∘ (1 + h S) + h T )

    The last layer gives mean and log standard deviation, as in `Policy`. In a fresh policy the columns of S and T have
    norm 0.5, so that an embedding of norm 1 makes a difference in every layer from the start.

    Source: feature-wise linear modulation, Perez et al. 2018, before the activation.
    """

    hidden: tuple[Linear, ...]
    scale: tuple[Float[Array, "embedding _"], ...]
    shift: tuple[Float[Array, "embedding _"], ...]
    output: Linear
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
    ) -> "ModulatedPolicy":
        """Draw a policy with hidden layers of the given numbers of units."""
        plain_key, scale_key, shift_key = jax.random.split(key, 3)
        plain = Policy.create(plain_key, observation_size, 0, action_size, units)

        def modulation(key):
            keys = jax.random.split(key, len(units))
            return tuple(unit_columns(k, embedding_size, n, _MODULATION) for k, n in zip(keys, units, strict=True))

        return cls(plain.hidden, modulation(scale_key), modulation(shift_key), plain.output, least_std)

    def condition(self, embedding):
        """Return 1 + h S and h T of every hidden layer."""
        return tuple(
            (1.0 + embedding @ scale, embedding @ shift) for scale, shift in zip(self.scale, self.shift, strict=True)
        )

    def respond(self, observation, conditioned):
        """Apply the layers."""
        return gaussian(self.outputs(observation, conditioned), self.least_std)

    def outputs(self, observation, conditioned):
        """Return the outputs of the last layer."""
        x = observation
        for layer, (gain, offset) in zip(self.hidden, conditioned, strict=True):
            x = jnp.tanh(layer(x) * gain + offset)
        return self.output(x)


#: How a shared policy takes the embedding, by the name that configurations give it.
CONDITIONINGS: dict[str, type[Policy] | type[ModulatedPolicy]] = {"concatenate": Policy, "modulate": ModulatedPolicy}
