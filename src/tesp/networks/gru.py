"""A gated recurrent unit over padded sequences."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray


class GRU(eqx.Module):
    """One GRU layer; gates in the order reset, update, candidate.

    r = σ(x W_r + h U_r + b_r),  z = σ(x W_z + h U_z + b_z),
    n = tanh(x W_n + b_n + r ∘ (h U_n + c)),  h′ = (1 − z) ∘ n + z ∘ h

    Source: Cho et al. 2014, in the form in which the reset gate acts after the recurrent product, so that one
    product with U = [U_r U_z U_n] serves all three gates.
    """

    input_weight: Float[Array, "inputs gates"]
    recurrent_weight: Float[Array, "units gates"]
    bias: Float[Array, " gates"]
    candidate_bias: Float[Array, " units"]

    @classmethod
    def create(cls, key: PRNGKeyArray, inputs: int, units: int) -> "GRU":
        """Draw Glorot-uniform input weights and orthogonal recurrent ones; biases are zero."""
        input_key, recurrent_key = jax.random.split(key)
        orthogonal = jax.nn.initializers.orthogonal()
        recurrent = [orthogonal(k, (units, units)) for k in jax.random.split(recurrent_key, 3)]
        return cls(
            jax.nn.initializers.glorot_uniform()(input_key, (inputs, 3 * units)),
            jnp.concatenate(recurrent, axis=1),
            jnp.zeros(3 * units),
            jnp.zeros(units),
        )

    def last_state(
        self, inputs: Float[Array, "episode step inputs"], valid: Bool[Array, "episode step"]
    ) -> Float[Array, "episode units"]:
        """Hidden state after the last valid step of every episode, starting from zero.

        Padded steps leave the state as it is, and their inputs get no gradient.
        """
        # One large product for all steps instead of one small product a step.
        projected = jnp.where(valid[..., None], inputs, 0.0) @ self.input_weight + self.bias
        return _recur(jnp.swapaxes(projected, 0, 1), valid.T, self.recurrent_weight, self.candidate_bias)


class _Gates(NamedTuple):
    """What the backward pass needs of every step: (step, episode, units) each."""

    previous: Array
    reset: Array
    update: Array
    candidate: Array
    recurrent_candidate: Array


def _advance(state, x, exists, recurrent_weight, candidate_bias) -> tuple[Array, _Gates]:
    """One step of all episodes: next state and the gates that led there."""
    x_reset, x_update, x_candidate = jnp.split(x, 3, axis=-1)
    h_reset, h_update, h_candidate = jnp.split(state @ recurrent_weight, 3, axis=-1)
    recurrent_candidate = h_candidate + candidate_bias
    reset = jax.nn.sigmoid(x_reset + h_reset)
    update = jax.nn.sigmoid(x_update + h_update)
    candidate = jnp.tanh(x_candidate + reset * recurrent_candidate)
    following = jnp.where(exists[:, None], candidate + update * (state - candidate), state)
    return following, _Gates(state, reset, update, candidate, recurrent_candidate)


@jax.custom_vjp
def _recur(projected, valid, recurrent_weight, candidate_bias):
    """Last valid state; all arguments have the step axis first.

    The derivative is written out by hand, because automatic differentiation of the scan would add one small
    product to the gradient of the recurrent weights at every step; with the gates stored, all of these are one
    large product after the backward recursion.
    """
    return _recur_forward(projected, valid, recurrent_weight, candidate_bias)[0]


def _recur_forward(projected, valid, recurrent_weight, candidate_bias):
    def step(state, xs):
        x, exists = xs
        return _advance(state, x, exists, recurrent_weight, candidate_bias)

    start = jnp.zeros((projected.shape[1], recurrent_weight.shape[0]), projected.dtype)
    last, gates = jax.lax.scan(step, start, (projected, valid))
    return last, (gates, valid, recurrent_weight)


def _recur_backward(stored, last_gradient):
    gates, valid, recurrent_weight = stored

    def step(state_gradient, xs):
        gate, exists = xs
        through = jnp.where(exists[:, None], state_gradient, 0.0)
        candidate = through * (1.0 - gate.update) * (1.0 - gate.candidate**2)
        update = through * (gate.previous - gate.candidate) * gate.update * (1.0 - gate.update)
        reset = candidate * gate.recurrent_candidate * gate.reset * (1.0 - gate.reset)
        recurrent = jnp.concatenate([reset, update, candidate * gate.reset], axis=-1)
        # A padded step handed the state on unchanged, so it hands the gradient back unchanged.
        passed = jnp.where(exists[:, None], through * gate.update, state_gradient)
        return passed + recurrent @ recurrent_weight.T, (candidate, recurrent)

    _, (candidate, recurrent) = jax.lax.scan(step, last_gradient, (gates, valid), reverse=True)
    units = candidate.shape[-1]
    projected = jnp.concatenate([recurrent[..., : 2 * units], candidate], axis=-1)
    weight = gates.previous.reshape(-1, units).T @ recurrent.reshape(-1, 3 * units)
    return projected, None, weight, jnp.sum(recurrent[..., 2 * units :], axis=(0, 1))


_recur.defvjp(_recur_forward, _recur_backward)
