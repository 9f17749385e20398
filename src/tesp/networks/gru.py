"""A gated recurrent unit over padded sequences, whose cost follows the valid steps."""

from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

#: Steps are computed in segments of about this many; a segment that no episode reaches is skipped.
SEGMENT = 20


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

        Padded steps leave the state as it is, and their inputs get no gradient. Segments of steps that no episode
        reaches cost nothing, whatever the length of the arrays, so nothing is compiled anew for other lengths.
        """
        return _last_state(self._weights, in_segments(jnp.where(valid[..., None], inputs, 0.0)), in_segments(valid))

    def states(
        self,
        start: Float[Array, "episode units"],
        inputs: Float[Array, "episode step inputs"],
        valid: Bool[Array, "episode step"],
    ) -> Float[Array, "episode step units"]:
        """Hidden state after every step of every episode, the first of which begins with ``start``.

        Padded steps repeat the state before them, and their inputs get no gradient; segments cost as in `last_state`.
        """
        steps = valid.shape[1]
        exists = in_segments(valid)
        states = _states(self._weights, start, in_segments(jnp.where(valid[..., None], inputs, 0.0)), exists)
        return jnp.moveaxis(states.reshape(-1, *states.shape[2:])[:steps], 0, 1)

    def step(
        self, state: Float[Array, "*batch units"], inputs: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch units"]:
        """Hidden state after one step, for whoever acts in between."""
        projected = tuple(jnp.split(inputs @ self.input_weight + self.bias, 3, axis=-1))
        return _step(self.recurrent_weight, self.candidate_bias, state, projected)[0]

    @property
    def _weights(self):
        return self.input_weight, self.recurrent_weight, self.bias, self.candidate_bias


def in_segments(x: Array) -> Array:
    """From (episode, step, …) to (segment, step within it, episode, …); what is missing at the end is not valid."""
    steps = x.shape[1]
    segments = max(-(-steps // SEGMENT), 1)
    length = -(-steps // segments)
    x = jnp.pad(jnp.moveaxis(x, 1, 0), [(0, segments * length - steps)] + [(0, 0)] * (x.ndim - 1))
    return x.reshape(segments, length, *x.shape[1:])


@jax.custom_vjp
def _last_state(weights, inputs, exists):
    """State after the last step that exists; ``inputs`` and ``exists`` as `in_segments` gives them.

    The derivative is written out by hand. What a step of the backward recursion multiplies with is computed for all
    steps of a segment at once beforehand, so that the recursion is one product per gate and little else; and the
    gradient of the recurrent weights is one large product per segment instead of one small product a step.
    """
    return _last_forward(weights, inputs, exists)[0]


def _last_forward(weights, inputs, exists):
    start = jnp.zeros((inputs.shape[2], weights[1].shape[0]), inputs.dtype)
    last, gates = _forward(weights, start, inputs, exists)
    return last, (weights, inputs, exists, gates)


def _last_backward(stored, last_gradient):
    _, of_weights, of_inputs = _backward(stored, None, last_gradient)
    return of_weights, of_inputs, None


_last_state.defvjp(_last_forward, _last_backward)


@jax.custom_vjp
def _states(weights, start, inputs, exists):
    """States after all steps, (segment, step, episode, units); the derivative as of `_last_state`.

    Here gradients arrive at every step.
    """
    return _states_forward(weights, start, inputs, exists)[0]


def _states_forward(weights, start, inputs, exists):
    last, gates = _forward(weights, start, inputs, exists)
    before = gates.previous.reshape(-1, *start.shape)
    states = jnp.concatenate([before[1:], last[None]]).reshape(gates.previous.shape)
    return states, (weights, inputs, exists, gates)


def _states_backward(stored, gradients):
    of_start, of_weights, of_inputs = _backward(stored, gradients, jnp.zeros_like(gradients[0, 0]))
    return of_weights, of_start, of_inputs, None


_states.defvjp(_states_forward, _states_backward)


def _forward(weights, start, inputs, exists) -> tuple[Array, "_Gates"]:
    def segment(state, xs):
        return jax.lax.cond(jnp.any(xs[1]), partial(_advance, weights), _stand, state, *xs)

    return jax.lax.scan(segment, start, (inputs, exists))


class _Gates(NamedTuple):
    """What the backward pass needs of every step: the state before it, r, z, n and h U_n + c."""

    previous: Array
    reset: Array
    update: Array
    candidate: Array
    inner: Array


def _advance(weights, state, inputs, exists) -> tuple[Array, _Gates]:
    """Go through one segment: from the state (episode, units) and inputs (step, episode, inputs) to the next state.

    Returns also the gates, (step, episode, units) each.
    """
    input_weight, recurrent_weight, bias, candidate_bias = weights

    def step(state, xs):
        projected, valid = xs
        following, gates = _step(recurrent_weight, candidate_bias, state, projected)
        return jnp.where(valid[:, None], following, state), gates

    # One large product for all steps instead of one small product a step.
    projected = tuple(jnp.split(inputs @ input_weight + bias, 3, axis=-1))
    return jax.lax.scan(step, state, (projected, exists))


def _step(recurrent_weight, candidate_bias, state, projected) -> tuple[Array, _Gates]:
    """Go on by one step; ``projected`` is x W + b, gate by gate."""
    x_reset, x_update, x_candidate = projected
    # The barrier makes the compiler cut the product into its parts before it works on them: a loop that reads
    # the parts where they lie side by side is not vectorised, which costs more than the product itself.
    split = tuple(jnp.split(state @ recurrent_weight, 3, axis=-1))
    h_reset, h_update, h_candidate = jax.lax.optimization_barrier(split)
    reset, update = _sigmoid(x_reset + h_reset), _sigmoid(x_update + h_update)
    inner = h_candidate + candidate_bias
    candidate = jnp.tanh(x_candidate + reset * inner)
    return candidate + update * (state - candidate), _Gates(state, reset, update, candidate, inner)


def _stand(state, _inputs, exists) -> tuple[Array, _Gates]:
    """Leave out a segment: the state stays what it is at every step, and the gates mean nothing."""
    nothing = jnp.zeros((*exists.shape, state.shape[-1]), state.dtype)
    return state, _Gates(jnp.broadcast_to(state, nothing.shape), *[nothing] * 4)


def _sigmoid(x):
    # The hyperbolic tangent has a fast polynomial where the logistic function has an exponential and a quotient.
    return 0.5 + 0.5 * jnp.tanh(0.5 * x)


def _backward(stored, arriving, last_gradient):
    """Go back through all segments: gradients of the state before the first, of the weights and of the inputs.

    ``arriving`` are gradients of the states after all steps, or None; ``last_gradient`` is one of the last state alone.
    """
    weights, inputs, exists, gates = stored

    def segment(carry, xs):
        def retreat(carry, *xs):
            gradient, so_far = carry
            gradient, of_weights, of_inputs = _retreat(weights, gradient, *xs)
            return (gradient, jax.tree.map(jnp.add, so_far, of_weights)), of_inputs

        def stand(carry, inputs, _exists, _gates, arriving):
            gradient, so_far = carry
            if arriving is not None:
                gradient = gradient + jnp.sum(arriving, axis=0)
            return (gradient, so_far), jnp.zeros_like(inputs)

        return jax.lax.cond(jnp.any(xs[1]), retreat, stand, carry, *xs)

    start = (last_gradient, jax.tree.map(jnp.zeros_like, weights))
    xs = (inputs, exists, gates, arriving)
    (of_start, of_weights), of_inputs = jax.lax.scan(segment, start, xs, reverse=True)
    return of_start, of_weights, of_inputs


def _retreat(weights, gradient, inputs, exists, gates: _Gates, arriving=None):
    """Go back through one segment: gradients of the state before it, of the weights and of the inputs."""
    input_weight, recurrent_weight, _, _ = weights
    valid, units = exists[..., None], gradient.shape[-1]
    # ∂h′/∂(argument of each gate), which is diagonal; a padded step hands the state on, and so its gradient.
    to_candidate = jnp.where(valid, (1.0 - gates.update) * (1.0 - gates.candidate**2), 0.0)
    to_update = jnp.where(valid, (gates.previous - gates.candidate) * gates.update * (1.0 - gates.update), 0.0)
    to_reset = to_candidate * gates.inner * gates.reset * (1.0 - gates.reset)
    to_recurrent = (to_reset, to_update, to_candidate * gates.reset)
    to_state = jnp.where(valid, gates.update, 1.0)
    transposed = [weight.T for weight in jnp.split(recurrent_weight, 3, axis=-1)]

    def step(gradient, xs):
        to_state, to_recurrent, arriving = xs
        gradient = gradient if arriving is None else gradient + arriving
        through = [(gradient * to_gate) @ weight for to_gate, weight in zip(to_recurrent, transposed, strict=True)]
        return gradient * to_state + (through[0] + through[1] + through[2]), gradient

    first, gradients = jax.lax.scan(step, gradient, (to_state, to_recurrent, arriving), reverse=True)
    of_recurrent = jnp.concatenate([gradients * to_gate for to_gate in to_recurrent], axis=-1)
    of_projected = jnp.concatenate([of_recurrent[..., : 2 * units], gradients * to_candidate], axis=-1)
    of_weights = (
        _over_steps(inputs, of_projected),
        _over_steps(gates.previous, of_recurrent),
        jnp.sum(of_projected, axis=(0, 1)),
        jnp.sum(of_recurrent[..., 2 * units :], axis=(0, 1)),
    )
    return first, of_weights, of_projected @ input_weight.T


def _over_steps(left, right):
    """Sum over steps and episodes of the outer products of their rows, as one product."""
    return left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])
