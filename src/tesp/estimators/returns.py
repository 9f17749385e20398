"""Discounted returns and generalised advantage estimation of one episode."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def discounted_returns(
    reward: Float[Array, " step"], valid: Bool[Array, " step"], discount: float
) -> Float[Array, " step"]:
    """Discounted return from every step to the end of the episode.

    G_t = r_t + γ G_{t+1},  t = T−1, …, 0,  G_T = 0.

    Args:
        reward: r_t; what stands in the padding is ignored.
        valid: Which steps exist; they come first.
        discount: γ in [0, 1].

    Returns:
        G_t, zero in the padding.
    """
    masked = jnp.where(valid, reward, 0.0)

    def backwards(following, r):
        current = r + discount * following
        return current, current

    _, returns = jax.lax.scan(backwards, jnp.zeros((), reward.dtype), masked, reverse=True)
    return jnp.where(valid, returns, 0.0)


def generalised_advantages(
    reward: Float[Array, " step"],
    value: Float[Array, " step"],
    valid: Bool[Array, " step"],
    discount: float,
    gae_lambda: float,
) -> Float[Array, " step"]:
    """Generalised advantage estimates of one episode.

    δ_t = r_t + γ V_{t+1} − V_t,   Â_t = δ_t + γ λ Â_{t+1},   V_T = Â_T = 0 after the last valid step.

    The value after the last step is 0 for terminated and truncated episodes alike, as in the source of the
    method; λ = 0 gives δ_t and λ = 1 gives G_t − V_t.

    Args:
        reward: r_t.
        value: V(s_t) of the baseline.
        valid: Which steps exist; they come first.
        discount: γ in [0, 1].
        gae_lambda: λ in [0, 1].

    Returns:
        Â_t, zero in the padding.

    Source: Schulman et al. 2016, equation 16.
    """
    masked_value = jnp.where(valid, value, 0.0)
    following_value = jnp.concatenate([masked_value[1:], jnp.zeros((1,), value.dtype)])
    delta = jnp.where(valid, reward + discount * following_value - masked_value, 0.0)

    def backwards(following, d):
        current = d + discount * gae_lambda * following
        return current, current

    _, advantages = jax.lax.scan(backwards, jnp.zeros((), delta.dtype), delta, reverse=True)
    return jnp.where(valid, advantages, 0.0)
