"""The two losses of one task, as functions of what the fast-updates and the meta-update change."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tesp.estimators.gaussian import kl_divergence, log_probability
from tesp.estimators.losses import clipped_surrogate_loss, masked_mean, policy_gradient_loss
from tesp.types import Episodes, PyTree


class Batch(NamedTuple):
    """Episodes of one task and round with their advantages.

    Attributes:
        episodes: τ, (episode, step, …).
        advantages: Â_t, (episode, step), zero in the padding.
    """

    episodes: Episodes
    advantages: Float[Array, "*batch episode step"]


class SurrogateTerms(NamedTuple):
    """What the meta-update measures on one batch.

    Attributes:
        policy_loss: Clipped surrogate loss.
        kl: Mean over valid steps of KL(behaviour ‖ policy).
    """

    policy_loss: Float[Array, "*batch"]
    kl: Float[Array, "*batch"]


def vanilla_loss(policy: PyTree, embedding: Float[Array, " embedding"], batch: Batch) -> Float[Array, ""]:
    """L(τ): the policy gradient loss of one task, the objective of the fast-update (equation 9)."""
    episodes, advantages = _with_zero_padding(batch)
    mean, log_std = policy(episodes.observation, embedding)
    log_p = log_probability(mean, log_std, episodes.action)
    return policy_gradient_loss(log_p, advantages, episodes.valid)


def surrogate_terms(policy: PyTree, embedding: Float[Array, " embedding"], batch: Batch, clip: float) -> SurrogateTerms:
    """PPO's clipped loss of one task and the KL divergence from the policy that sampled the batch."""
    episodes, advantages = _with_zero_padding(batch)
    action, valid = episodes.action, episodes.valid
    behaviour = episodes.mean, episodes.log_std
    mean, log_std = policy(episodes.observation, embedding)
    loss = clipped_surrogate_loss(
        log_probability(mean, log_std, action), log_probability(*behaviour, action), advantages, valid, clip
    )
    kl = masked_mean(kl_divergence(*behaviour, mean, log_std), valid)
    return SurrogateTerms(loss, jax.lax.stop_gradient(kl))


def _with_zero_padding(batch: Batch) -> Batch:
    """Whatever stood in the padding, even NaN, reaches neither a loss nor its gradient (where 0 · NaN is NaN)."""
    valid = jnp.asarray(batch.episodes.valid)

    def clear(x):
        exists = valid.reshape(valid.shape + (1,) * (x.ndim - valid.ndim))
        return jnp.where(exists, x, jnp.zeros_like(x))

    return jax.tree.map(clear, batch)
