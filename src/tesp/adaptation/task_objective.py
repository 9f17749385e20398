"""What one task contributes to a meta-update: its experience, its objective, and the gradient of it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from tesp.adaptation.chunks import sum_over_chunks
from tesp.adaptation.fast_update import Condition, Context, bounded_rates, descend, fast_update
from tesp.adaptation.objective import Batch, SurrogateTerms, mean_kl, steps_of, surrogate_terms
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.adaptation.task_axis import map_over_tasks
from tesp.types import Parameters, PyTree

#: (θ_TE, h^{K+1}) → what is added to the loss of a task with the weight η.
Penalty = Callable[[PyTree, Float[Array, " embedding"]], Float[Array, ""]]


def mean_square(_start: PyTree, embedding: Float[Array, " embedding"]) -> Float[Array, ""]:
    """Mean over the d entries of (h^{K+1})²; of no entries 0, for algorithms whose policy is conditioned on nothing."""
    return jnp.sum(embedding**2) / max(embedding.shape[-1], 1)


class Past(NamedTuple):
    """One round of one task, as the meta-update looks back on it.

    Attributes:
        context: What the round's embedding was computed from; None for the warm-up round.
        embedding: The embedding that the round was sampled with.
        batch: The round's episodes; within the meta-update the `Steps` that they are packed into.
    """

    context: Context | None
    embedding: Float[Array, "*batch embedding"]
    batch: Batch


class Experience(NamedTuple):
    """All that the meta-update needs from one task.

    Attributes:
        last: Round K+1: B^K and τ^{K+1}.
        gradient_sum: Σ_k g_k over the fast-updates; a tree like the adapted parameters.
        history: Rounds 1…K, for second order; empty for first order.
        early: The warm-up round, if there is one, and rounds 1…K, for ``early_loss_weight`` > 0; otherwise empty.
        early_sums: Σ_{j<k} g_j for every round k = 1…K of ``early``, for first order; otherwise empty.
        early_weights: w_k of the rounds ``early``, the same for all tasks; see `early_weights`.
    """

    last: Past
    gradient_sum: PyTree
    history: tuple[Past, ...] = ()
    early: tuple[Past, ...] = ()
    early_sums: tuple[PyTree, ...] = ()
    early_weights: Float[Array, "*batch round"] | None = None


class TaskTerms(NamedTuple):
    """What one task contributes to the objective.

    Attributes:
        policy_loss: Clipped surrogate loss on τ^{K+1}.
        kl: Mean KL divergence from the sampling policy on τ^{K+1}.
        penalty: Mean square of the entries of h^{K+1}, or the algorithm's own penalty, before multiplication with η.
        early_loss: Σ_k w_k · clipped surrogate loss on τ^k over the early rounds; 0 without them.
        early_kl: Likewise of the mean KL divergences.
    """

    policy_loss: Float[Array, "*batch"]
    kl: Float[Array, "*batch"]
    penalty: Float[Array, "*batch"]
    early_loss: Float[Array, "*batch"]
    early_kl: Float[Array, "*batch"]


def early_weights(settings: MetaUpdateSettings, rounds: int, progress: float) -> Float[np.ndarray, " round"]:
    """w_k of the rounds before the last, first to last: w · (share left) · ratio^(rounds from the end − 1).

    Args:
        settings: Weight w, ratio, and the share of w that is left at the end.
        rounds: How many rounds there are before the last.
        progress: Share of the run's meta-updates that are done.
    """
    left = 1.0 + (settings.early_loss_final - 1.0) * progress
    distance = np.arange(rounds - 1, -1, -1)
    return (settings.early_loss_weight * left * settings.early_loss_ratio**distance).astype(np.float32)


def pack_experience(experience: Experience, tasks_at_once: int) -> Experience:
    """Pack the episodes of all rounds and tasks into steps, once for all epochs."""
    rounds = (experience.last, experience.history, experience.early)
    batches = jax.tree.map(lambda past: past.batch, rounds, is_leaf=_is_past)
    packed = map_over_tasks(lambda _, own: jax.tree.map(steps_of, own, is_leaf=_is_batch), None, batches, tasks_at_once)
    last, history, early = jax.tree.map(
        lambda past, steps: past._replace(batch=steps), rounds, packed, is_leaf=_is_past
    )
    return experience._replace(last=last, history=history, early=early)


def _is_past(tree: PyTree) -> bool:
    return isinstance(tree, Past)


def _is_batch(tree: PyTree) -> bool:
    return isinstance(tree, Batch)


def readapt(
    condition: Condition, parameters: Parameters, experience: Experience, settings: FastUpdateSettings
) -> PyTree:
    """θ^{K+1} of one task as a differentiable function of the current θ_TE and α.

    First order holds every inner gradient constant, θ^{K+1} = θ_TE − α ∘ Σ_k g_k, so that
    ∂θ^{K+1}/∂θ_TE = 1 and ∂θ^{K+1}/∂α = −Σ_k g_k. Second order repeats the fast-updates on the stored
    episodes and differentiates through them.
    """
    if not settings.second_order:
        rates = bounded_rates(parameters.rates, settings.rate_bound)
        return descend(parameters.adapted, rates, jax.lax.stop_gradient(experience.gradient_sum))
    return _stages(condition, parameters, experience.history, settings)[-1]


def _stages(condition: Condition, parameters: Parameters, history, settings: FastUpdateSettings) -> list[PyTree]:
    """θ^1 … θ^{K+1} of one task, by repeating its fast-updates on the stored episodes."""
    stages = [parameters.adapted]
    for past in history:
        assert past.context is not None
        updated = fast_update(
            condition, stages[-1], parameters.rates, parameters.shared, past.context, past.batch, settings
        )
        stages.append(updated.adapted)
    return stages


def task_objective(
    condition: Condition,
    parameters: Parameters,
    experience: Experience,
    fast: FastUpdateSettings,
    meta: MetaUpdateSettings,
    penalty_of: Penalty = mean_square,
) -> tuple[Float[Array, ""], TaskTerms]:
    """One task's share of the meta-objective (equation 10), and its terms.

    L_PPO(τ^{K+1}; θ^{K+1}, h^{K+1}) + η · mean_j (h_j^{K+1})² [+ Σ_k w_k L_PPO(τ^k; θ^k, h^k) over the early rounds]
    [+ v · mean over k = 1 … K of KL(π^k ‖ π(θ^k, h^k)), π^k the policy that sampled round k]

    Sources: of the sum over rounds the multi-step loss of Antoniou, Edwards and Storkey (2019), of the divergence
    Rothfuss et al. (2019).
    """
    # θ^1 … θ^{K+1} in second order, where the fast-updates are repeated; the early rounds need all of them.
    stages = _stages(condition, parameters, experience.history, fast) if fast.second_order else []
    adapted = stages[-1] if stages else readapt(condition, parameters, experience, fast)
    context = experience.last.context
    assert context is not None
    policy, embedding = condition(adapted, parameters.shared, context)
    terms = surrogate_terms(policy, embedding, experience.last.batch, meta.clip)
    penalty = penalty_of(parameters.adapted, embedding)
    loss = terms.policy_loss + meta.embedding_penalty * penalty
    early = SurrogateTerms(jnp.zeros_like(loss), jnp.zeros_like(loss))
    if experience.early:
        early = _early_terms(condition, parameters, experience, stages, fast, meta.clip)
        loss = loss + early.policy_loss
    if meta.inner_kl_penalty and experience.history:
        loss = loss + meta.inner_kl_penalty * _inner_kl(condition, parameters.shared, stages, experience.history)
    return loss, TaskTerms(terms.policy_loss, terms.kl, penalty, *early)


def _inner_kl(condition: Condition, shared: PyTree, stages: list[PyTree], history: tuple[Past, ...]):
    """Mean over rounds 1 … K of the divergence from the policy that sampled the round to that of the present θ^k."""
    divergences = [
        mean_kl(*condition(adapted, shared, past.context), past.batch)
        for adapted, past in zip(stages, history, strict=False)
    ]
    return sum(divergences) / len(divergences)


def _early_terms(condition, parameters, experience, stages, fast, clip) -> SurrogateTerms:
    """Σ_k w_k · (clipped loss, KL divergence) of the rounds before the last, each at its own θ^k and h^k.

    ``stages`` are θ^1 … θ^{K+1} in second order; in first order, where they are empty, θ^k = θ_TE − α ∘ Σ_{j<k} g_j.
    """
    first, *others = experience.early
    weights = experience.early_weights
    assert weights is not None
    start = (parameters.adapted, bounded_rates(parameters.rates, fast.rate_bound), parameters.shared)
    total = SurrogateTerms(jnp.zeros((), weights.dtype), jnp.zeros((), weights.dtype))
    if first.context is None:
        policy, embedding = condition(parameters.adapted, parameters.shared, None)
        warm_up = surrogate_terms(policy, embedding, first.batch, clip)
        total, weights = jax.tree.map(lambda x: weights[0] * x, warm_up), weights[1:]
    else:
        others = list(experience.early)
    if not others:
        return total
    if stages:
        terms = []
        for adapted, past in zip(stages, others, strict=False):
            policy, embedding = condition(adapted, parameters.shared, past.context)
            terms.append(surrogate_terms(policy, embedding, past.batch, clip))
        return jax.tree.map(lambda so_far, *own: so_far + jnp.dot(weights, jnp.stack(own)), total, *terms)

    def one_round(start, own):
        adapted, rates, shared = start
        gradient_sum, context, steps, weight = own
        policy, embedding = condition(descend(adapted, rates, gradient_sum), shared, context)
        terms = surrogate_terms(policy, embedding, steps, clip)
        return weight * terms.policy_loss, weight * terms.kl

    rounds = [
        (gradient_sum, past.context, steps_of(past.batch))
        for gradient_sum, past in zip(experience.early_sums, others, strict=True)
    ]
    if len({tuple(x.shape for x in jax.tree.leaves(own)) for own in rounds}) > 1:
        # Buffers that grow, or a first round with more episodes: nothing to stack.
        added = [one_round(start, (*own, weight)) for own, weight in zip(rounds, weights, strict=True)]
        return jax.tree.map(lambda so_far, *own: so_far + sum(own), total, *(SurrogateTerms(*x) for x in added))
    # Round by round, so that no activation outlives its round, and compiled once for all of them.
    stacked = (*jax.tree.map(lambda *x: jnp.stack(x), *rounds), weights)
    added = sum_over_chunks(one_round, start, stacked, weights[:, None] > 0)
    return SurrogateTerms(*jax.tree.map(jnp.add, tuple(total), added))


def gradient_of_task(
    condition: Condition,
    parameters: Parameters,
    experience: Experience,
    count: Float[Array, ""],
    learned_rates: bool,
    fast: FastUpdateSettings,
    meta: MetaUpdateSettings,
    penalty_of: Penalty = mean_square,
) -> tuple[Float[Array, " entry"], TaskTerms]:
    """Gradient of one task's share of the mean objective, 1/T · ∂L_i/∂(θ_TE, α, θ_policy), in one array; and its terms.

    Args:
        condition: The algorithm's conditioning of one task.
        parameters: Where it is taken.
        experience: What the task experienced.
        count: T, the tasks of the meta-update.
        learned_rates: Whether α is trained.
        fast: Settings of the fast-updates.
        meta: Settings of the meta-update.
        penalty_of: What η weighs.
    """

    def share(parameters):
        if not learned_rates:
            parameters = parameters._replace(rates=jax.lax.stop_gradient(parameters.rates))
        if not fast.learned_start:
            parameters = parameters._replace(adapted=jax.lax.stop_gradient(parameters.adapted))
        loss, terms = task_objective(condition, parameters, experience, fast, meta, penalty_of)
        return loss / count, terms

    gradient, terms = jax.grad(share, has_aux=True)(parameters)
    return ravel_pytree(gradient)[0], terms
