"""Losses of one batch of episodes. Means are over valid steps; log-probabilities are sums over dimensions."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def masked_mean(values: Float[Array, "*batch"], valid: Bool[Array, "*batch"]) -> Float[Array, ""]:
    """Mean of the entries where ``valid``; 0 if there are none. Padding gets no gradient, not even NaN."""
    count = jnp.maximum(jnp.sum(valid), 1).astype(values.dtype)
    return jnp.sum(jnp.where(valid, values, 0.0)) / count


def policy_gradient_loss(
    log_probability: Float[Array, "*batch"], advantages: Float[Array, "*batch"], valid: Bool[Array, "*batch"]
) -> Float[Array, ""]:
    """Vanilla policy gradient loss, −mean over valid steps of log π(a_t | s_t) · Â_t.

    Source: Williams 1992; equation 1 of the TESP paper with the advantage in place of the return.
    """
    return -masked_mean(log_probability * advantages, valid)


def likelihood_ratio_loss(
    log_probability: Float[Array, "*batch"],
    behaviour_log_probability: Float[Array, "*batch"],
    advantages: Float[Array, "*batch"],
    valid: Bool[Array, "*batch"],
) -> Float[Array, ""]:
    """Policy gradient loss by the likelihood ratio, −mean over valid steps of ρ_t · Â_t.

    ρ_t = π(a_t | s_t) / π_behaviour(a_t | s_t). Where π is the policy that acted, its gradient is that of
    `policy_gradient_loss`. Its second derivative has besides Â_t ∇² log π the term Â_t ∇ log π ∇ log πᵀ, without which
    it would not be that of the expected advantage of an action.

    Source: Rothfuss et al. 2019, the low-variance curvature estimator.
    """
    return -masked_mean(_ratio(log_probability, behaviour_log_probability, valid) * advantages, valid)


def _ratio(log_probability, behaviour_log_probability, valid):
    # Padding may hold anything; exp of it must not overflow into the gradient of the valid steps.
    return jnp.exp(jnp.where(valid, log_probability - behaviour_log_probability, 0.0))


def clipped_surrogate_loss(
    log_probability: Float[Array, "*batch"],
    behaviour_log_probability: Float[Array, "*batch"],
    advantages: Float[Array, "*batch"],
    valid: Bool[Array, "*batch"],
    clip: float,
) -> Float[Array, ""]:
    """PPO's clipped surrogate, −mean over valid steps of min(ρ_t Â_t, clip(ρ_t, 1−ε, 1+ε) Â_t).

    ρ_t = π(a_t | s_t) / π_behaviour(a_t | s_t), ε = ``clip``.

    Source: Schulman et al. 2017, equation 7.
    """
    ratio = _ratio(log_probability, behaviour_log_probability, valid)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -masked_mean(jnp.minimum(ratio * advantages, clipped * advantages), valid)
