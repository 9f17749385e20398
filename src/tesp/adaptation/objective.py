"""The two losses of one task, as functions of what the fast-updates and the meta-update change."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from tesp.adaptation.chunks import pack, sum_over_chunks
from tesp.estimators.losses import clipped_surrogate_loss, likelihood_ratio_loss, masked_mean, policy_gradient_loss
from tesp.types import Episodes, PyTree


class Batch(NamedTuple):
    """Episodes of one task and round with their advantages.

    Attributes:
        episodes: τ, (episode, step, …).
        advantages: Â_t, (episode, step), zero in the padding.
    """

    episodes: Episodes
    advantages: Float[Array, "*batch episode step"]


class Steps(NamedTuple):
    """The steps of a batch, without their order in episodes: all that the losses look at.

    Attributes:
        observation: s_t.
        action: a_t.
        behaviour: The distribution that a_t was drawn from.
        advantages: Â_t.
        exists: Which rows exist; the others are 0.
        weight: Share of each chunk in the existing rows of the batch; the shares sum to 1.
    """

    observation: Float[Array, "*batch chunk row observation"]
    action: Float[Array, "*batch chunk row action"]
    behaviour: PyTree
    advantages: Float[Array, "*batch chunk row"]
    exists: Bool[Array, "*batch chunk row"]
    weight: Float[Array, "*batch chunk"]


def steps_of(batch: Batch | Steps) -> Steps:
    """Pack the valid steps of one task's batch into chunks, unless they are packed already.

    Whatever stood in the padding, even NaN, reaches neither a loss nor its gradient (where 0 · NaN is NaN).
    """
    if isinstance(batch, Steps):
        return batch
    episodes = batch.episodes
    valid = jnp.asarray(episodes.valid)
    packed, exists = pack((episodes.observation, episodes.action, episodes.behaviour, batch.advantages), valid)

    def clear(x):
        return jnp.where(exists.reshape(exists.shape + (1,) * (x.ndim - 2)), x, 0.0)

    observation, action, behaviour, advantages = jax.tree.map(clear, packed)
    count = jnp.sum(exists, axis=1).astype(batch.advantages.dtype)
    weight = count / jnp.maximum(jnp.sum(count), 1.0)
    return Steps(observation, action, behaviour, advantages, exists, weight)


class SurrogateTerms(NamedTuple):
    """What the meta-update measures on one batch.

    Attributes:
        policy_loss: Clipped surrogate loss.
        kl: Mean over valid steps of KL(behaviour ‖ policy).
    """

    policy_loss: Float[Array, "*batch"]
    kl: Float[Array, "*batch"]


def vanilla_loss(policy: PyTree, embedding: Float[Array, " embedding"], batch: Batch | Steps) -> Float[Array, ""]:
    """L(τ): the policy gradient loss of one task, the objective of the fast-update (equation 9)."""
    return _mean(_vanilla, policy, embedding, batch)


def _mean(of_chunk: Callable, policy: PyTree, embedding: Float[Array, " embedding"], batch: Batch | Steps):
    """Mean over the valid steps of one task, from means over chunks with their weights."""
    steps = steps_of(batch)
    return sum_over_chunks(of_chunk, (policy, embedding), steps, steps.exists)[0]


def _vanilla(parameters, chunk: Steps):
    policy, embedding = parameters
    log_p = policy(chunk.observation, embedding).log_probability(chunk.action)
    return chunk.weight * policy_gradient_loss(log_p, chunk.advantages, chunk.exists), ()


def ratio_loss(policy: PyTree, embedding: Float[Array, " embedding"], batch: Batch | Steps) -> Float[Array, ""]:
    """L_LR(τ): the policy gradient loss of one task by the ratio to the policy that sampled the batch."""
    return _mean(_by_ratio, policy, embedding, batch)


def _by_ratio(parameters, chunk: Steps):
    policy, embedding = parameters
    log_p = policy(chunk.observation, embedding).log_probability(chunk.action)
    behaviour = chunk.behaviour.log_probability(chunk.action)
    return chunk.weight * likelihood_ratio_loss(log_p, behaviour, chunk.advantages, chunk.exists), ()


#: Objectives of the fast-update, by the name that configurations give them.
INNER_LOSSES = {"log_probability": vanilla_loss, "likelihood_ratio": ratio_loss}


def mean_kl(policy: PyTree, embedding: Float[Array, " embedding"], batch: Batch | Steps) -> Float[Array, ""]:
    """Mean over valid steps of KL(behaviour ‖ policy) of one task, to be differentiated."""
    return _mean(_kl, policy, embedding, batch)


def _kl(parameters, chunk: Steps):
    policy, embedding = parameters
    divergence = chunk.behaviour.kl_divergence(policy(chunk.observation, embedding))
    return chunk.weight * masked_mean(divergence, chunk.exists), ()


def surrogate_terms(
    policy: PyTree, embedding: Float[Array, " embedding"], batch: Batch | Steps, clip: float
) -> SurrogateTerms:
    """PPO's clipped loss of one task and the KL divergence from the policy that sampled the batch."""
    steps = steps_of(batch)

    def surrogate(parameters, chunk: Steps):
        policy, embedding = parameters
        distribution = policy(chunk.observation, embedding)
        log_p = distribution.log_probability(chunk.action)
        behaviour = chunk.behaviour.log_probability(chunk.action)
        loss = clipped_surrogate_loss(log_p, behaviour, chunk.advantages, chunk.exists, clip)
        kl = masked_mean(chunk.behaviour.kl_divergence(distribution), chunk.exists)
        return chunk.weight * loss, chunk.weight * kl

    return SurrogateTerms(*sum_over_chunks(surrogate, (policy, embedding), steps, steps.exists))
