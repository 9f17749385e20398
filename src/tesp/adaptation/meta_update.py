"""The meta-update: PPO on the adapted policies, over θ_TE, α and θ_policy together."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from tesp.adaptation.chunks import sum_over_chunks
from tesp.adaptation.contributions import Contributions
from tesp.adaptation.fast_update import Condition, Context, bounded_rates, descend, fast_update
from tesp.adaptation.objective import Batch, SurrogateTerms, mean_kl, steps_of, surrogate_terms
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.adaptation.task_axis import gather, map_over_tasks
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


class MetaUpdated(NamedTuple):
    """Result of one meta-update.

    Attributes:
        parameters: The parameters that were kept.
        optimiser_state: Adam's state that belongs to them.
        epoch_kept: Number of epochs whose steps they contain; 0 if no other candidate was admissible and better, in
            which case parameters and optimiser state are the ones from before.
        epochs_run: Number of steps that were taken.
        terms: Terms per candidate (entry e: after e steps) and task, (steps + 1, task); NaN where not computed.
        gradient_norms: Global norm of the meta-gradient per step, for (adapted, rates, shared).
        kl: What was compared with the bound, per candidate: the mean over tasks and rounds, weighted like the losses.
    """

    parameters: Parameters
    optimiser_state: optax.OptState
    epoch_kept: Int[Array, ""]
    epochs_run: Int[Array, ""]
    terms: TaskTerms
    gradient_norms: Float[np.ndarray, "epoch 3"]
    kl: Float[np.ndarray, " candidate"]


class _Loop(NamedTuple):
    epoch: Int[Array, ""]
    stop: Bool[Array, ""]
    current: tuple[Parameters, optax.OptState]
    kept: tuple[Parameters, optax.OptState]
    kept_loss: Float[Array, ""]
    epoch_kept: Int[Array, ""]
    terms: TaskTerms
    gradient_norms: Float[Array, "epoch 3"]
    kl: Float[Array, " candidate"]


def optimiser() -> optax.GradientTransformation:
    """Adam without its step size, which `meta_update` takes as an argument because it may decay."""
    return optax.scale_by_adam()


def meta_update(
    contributions: Contributions,
    parameters: Parameters,
    optimiser_state: optax.OptState,
    step_size: Float[Array, ""],
    total_weight: Float[Array | np.ndarray | np.floating, ""],
    fast: FastUpdateSettings,
    meta: MetaUpdateSettings,
) -> MetaUpdated:
    """Run the PPO epochs of one meta-update and keep the best parameters.

    Every epoch asks the tasks for the gradients of their objectives, each with θ^{K+1} and h^{K+1} recomputed from the
    current θ_TE and α, and takes one full-batch Adam step. Among the parameters after 0, 1, … steps, those with the
    lowest policy loss whose mean KL divergence to the sampling policy is below ``kl_bound`` are kept, with the
    optimiser state that belongs to them. Loss and divergence are those of the last round, or with a loss on every round
    the means over rounds with the weights of the objective.

    Args:
        contributions: Asks the tasks, wherever their experience lies. Given (parameters, T), they
            answer ``gradient`` with that of `gradient_of_task`, to be summed, and their terms, ``terms`` with the
            latter alone.
        parameters: Current parameters.
        optimiser_state: State of `optimiser`.
        step_size: Step size of Adam at this meta-update.
        total_weight: 1 + Σ_k w_k over the early rounds.
        fast: Settings of the fast-updates.
        meta: Settings of the meta-update.
    """
    # On the first device, wherever they come from: compiled programs are found by where their arguments lie, too.
    parameters, optimiser_state = gather((parameters, optimiser_state))
    loop = _start(parameters, optimiser_state, contributions.count, meta.steps)
    count = np.float32(contributions.count)
    for _ in range(meta.steps):
        gradient, terms = contributions.ask("gradient", (loop.current[0], count))
        loop = _step(loop, gradient, TaskTerms(*terms), step_size, total_weight, fast, meta)
        # Where nothing stops, nothing is waited for: epochs are handed to the devices ahead of time.
        if meta.stop_at_kl_bound and bool(loop.stop):
            break
    # The last candidate has been made but not judged: one forward pass without gradients.
    _, terms = contributions.ask("terms", (loop.current[0], count))
    loop = _judge(loop, TaskTerms(*terms), total_weight, meta)
    kept, state = loop.kept
    run = int(loop.epoch)
    terms, kl = jax.tree.map(lambda table: _known(table, run + 1), (loop.terms, loop.kl))
    return MetaUpdated(kept, state, loop.epoch_kept, loop.epoch, terms, _known(loop.gradient_norms, run), kl)


def _known(table: Float[Array, "row *column"], rows: int) -> Float[np.ndarray, "row *column"]:
    """Return a table with NaN in the rows that were not computed."""
    found = np.array(table)
    found[rows:] = np.nan
    return found


@partial(jax.jit, static_argnums=(5, 6))
def _step(
    loop: _Loop,
    gradient: Float[Array, " entry"],
    terms: TaskTerms,
    step_size: Float[Array, ""],
    total_weight: Float[Array | np.ndarray | np.floating, ""],
    fast: FastUpdateSettings,
    meta: MetaUpdateSettings,
) -> _Loop:
    """Judge the current parameters, then move them along the gradient that the tasks found at them."""
    loop = _judge(loop, terms, total_weight, meta)
    gradient = ravel_pytree(loop.current[0])[1](gradient)
    # Adam raises a float to its integer count, which strict promotion, if the caller set it, forbids.
    with jax.numpy_dtype_promotion("standard"):
        updates, state = optimiser().update(gradient, loop.current[1])
    moved = _moved(loop.current[0], updates, step_size, fast, meta)
    norms = jnp.stack([_norm(part) for part in gradient])
    # Whoever is to stop at the bound takes no further step from beyond it.
    going = ~loop.stop
    following = jax.tree.map(lambda new, old: jnp.where(going, new, old), (moved, state), loop.current)
    return loop._replace(
        epoch=loop.epoch + jnp.where(going, 1, 0),
        current=following,
        gradient_norms=loop.gradient_norms.at[loop.epoch].set(norms),
    )


def _moved(
    parameters: Parameters, updates: PyTree, step_size, fast: FastUpdateSettings, meta: MetaUpdateSettings
) -> Parameters:
    """Take one step, the rates with a step size of their own."""
    steps = Parameters(step_size, step_size * meta.rates_step, step_size)
    parts = zip(parameters, updates, steps, strict=True)
    moved = Parameters(*(jax.tree.map(lambda p, u, s=s: p - s * u, part, own) for part, own, s in parts))
    return moved._replace(rates=bounded_rates(moved.rates, fast.rate_bound)) if meta.project_rates else moved


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


@partial(jax.jit, static_argnums=(2, 3))
def _start(parameters, state, tasks, steps) -> _Loop:
    dtype = jnp.result_type(*jax.tree.leaves(parameters))
    # Not NaN, which JAX may have been told to stop at; rows that are never computed are marked in the end.
    unknown = jnp.zeros((steps + 1, tasks), dtype)
    zero = jnp.zeros((), jnp.int32)
    return _Loop(
        epoch=zero,
        stop=jnp.zeros((), bool),
        current=(parameters, state),
        kept=(parameters, state),
        kept_loss=jnp.full((), jnp.inf, dtype),
        epoch_kept=zero,
        terms=TaskTerms(*[unknown] * len(TaskTerms._fields)),
        gradient_norms=jnp.zeros((steps, 3), dtype),
        kl=jnp.zeros(steps + 1, dtype),
    )


@partial(jax.jit, static_argnums=3)
def _judge(loop: _Loop, terms: TaskTerms, total_weight, meta: MetaUpdateSettings) -> _Loop:
    """Note the terms of the current parameters, and keep them if they are the best admissible ones."""
    loss = jnp.mean(terms.policy_loss + terms.early_loss) / total_weight
    kl = jnp.mean(terms.kl + terms.early_kl) / total_weight
    # Comparisons with NaN are false, so parameters with a non-finite loss are never kept.
    better = (kl < meta.kl_bound) & (loss < loop.kept_loss)
    kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), loop.current, loop.kept)
    return loop._replace(
        kept=kept,
        kept_loss=jnp.where(better, loss, loop.kept_loss),
        epoch_kept=jnp.where(better, loop.epoch, loop.epoch_kept),
        stop=jnp.asarray(meta.stop_at_kl_bound) & (kl >= meta.kl_bound),
        terms=jax.tree.map(lambda table, row: table.at[loop.epoch].set(row), loop.terms, terms),
        kl=loop.kl.at[loop.epoch].set(kl),
    )


def _norm(tree: PyTree) -> Float[Array, ""]:
    return jnp.sqrt(sum((jnp.sum(x**2) for x in jax.tree.leaves(tree)), start=jnp.zeros(())))
