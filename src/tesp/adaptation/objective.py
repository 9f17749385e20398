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
    episodes, advantages = batch
    mean, log_std = policy(episodes.observation, embedding)
    log_p = log_probability(mean, log_std, jnp.asarray(episodes.action))
    return policy_gradient_loss(log_p, advantages, jnp.asarray(episodes.valid))


def surrogate_terms(
    policy: PyTree, embedding: Float[Array, " embedding"], batch: Batch, clip: float
) -> SurrogateTerms:
    """PPO's clipped loss of one task and the KL divergence from the policy that sampled the batch."""
    episodes, advantages = batch
    action, valid = jnp.asarray(episodes.action), jnp.asarray(episodes.valid)
    behaviour = jnp.asarray(episodes.mean), jnp.asarray(episodes.log_std)
    mean, log_std = policy(episodes.observation, embedding)
    loss = clipped_surrogate_loss(
        log_probability(mean, log_std, action), log_probability(*behaviour, action), advantages, valid, clip
    )
    kl = masked_mean(kl_divergence(*behaviour, mean, log_std), valid)
    return SurrogateTerms(loss, jax.lax.stop_gradient(kl))
