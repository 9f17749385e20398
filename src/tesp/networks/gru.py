"""A gated recurrent unit over padded sequences."""

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
        units = self.recurrent_weight.shape[0]
        # One large product for all steps instead of one small product a step.
        projected = jnp.where(valid[..., None], inputs, 0.0) @ self.input_weight + self.bias

        def step(state, xs):
            x, exists = xs
            recurrent = state @ self.recurrent_weight
            reset = jax.nn.sigmoid(x[:, :units] + recurrent[:, :units])
            update = jax.nn.sigmoid(x[:, units : 2 * units] + recurrent[:, units : 2 * units])
            candidate = jnp.tanh(
                x[:, 2 * units :] + reset * (recurrent[:, 2 * units :] + self.candidate_bias)
            )
            following = candidate + update * (state - candidate)
            return jnp.where(exists[:, None], following, state), None

        start = jnp.zeros((inputs.shape[0], units), projected.dtype)
        state, _ = jax.lax.scan(step, start, (jnp.swapaxes(projected, 0, 1), valid.T))
        return state
