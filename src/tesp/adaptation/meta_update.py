"""The meta-update: PPO on the adapted policies, over θ_TE, α and θ_policy together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from tesp.adaptation.fast_update import (
    Condition,
    Context,
    FastUpdateSettings,
    bounded_rates,
    descend,
    fast_update,
)
from tesp.adaptation.objective import Batch, steps_of, surrogate_terms
from tesp.adaptation.task_axis import map_over_tasks, mean_gradient_over_tasks
from tesp.errors import ConfigurationError
from tesp.types import Parameters, PyTree


@dataclass(frozen=True)
class MetaUpdateSettings:
    """How the meta-learner's parameters are trained."""

    learning_rate: float = 3e-4
    """Step size of Adam."""
    learning_rate_decay: Literal["none", "linear", "last_third"] = "none"
    """`linear` lowers the step size to zero over the run; `last_third` keeps it for two thirds of the run and
    lowers it to zero over the rest, so that late meta-updates settle."""
    rates_step: float = 1.0
    """Step size of the rates α, as a multiple of Adam's step size for everything else. Adam moves every entry by
    about its step size whatever the size of the gradient, so rates with hardly any gradient wander to the bound;
    smaller steps keep them near their initial value until the gradients agree."""
    project_rates: bool = False
    """Keep α inside its bound after every step. Otherwise α is only used clipped, and an entry that has passed
    the bound has no gradient any more and stays there."""
    epochs: int = 20
    """Full-batch PPO epochs of one meta-update."""
    clip: float = 0.15
    """ε, the clip range of the probability ratio."""
    kl_bound: float = 0.01
    """Of the epochs' parameters, the ones with the lowest policy loss among those with a mean KL divergence
    to the sampling policy below this bound are kept."""
    stop_at_kl_bound: bool = False
    """End the epochs of a meta-update as soon as the mean KL divergence passes the bound."""
    embedding_penalty: float = 0.01
    """η, weight of the mean square of the task embedding's entries."""
    early_rounds_weight: float = 0.0
    """Weight of a PPO loss on the warm-up round and rounds 1…K (embeddings held constant). Nothing else in the
    objective trains the policy at the embeddings it explores with; without it the episodes in the buffer can
    get worse while the last round improves."""
    tasks_at_once: int = 0
    """Tasks a device computes in one vectorised call (0: one on a CPU, all on an accelerator). Only where it is one
    task can the steps that it has not be skipped."""

    def __post_init__(self):
        for name, allowed in (("epochs", 1), ("tasks_at_once", 0)):
            if getattr(self, name) < allowed:
                raise ConfigurationError(f"{name} = {getattr(self, name)} is not possible; give {allowed} or more.")
        for name in ("learning_rate", "rates_step", "clip", "kl_bound"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(f"{name} = {getattr(self, name)} is not possible; give a positive number.")
        for name in ("embedding_penalty", "early_rounds_weight"):
            if not getattr(self, name) >= 0:
                raise ConfigurationError(f"{name} = {getattr(self, name)} is not possible; give 0 or more.")


class Round(NamedTuple):
    """One round of one task, as the meta-update may look back on it.

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
        early: The warm-up round and rounds 1…K, for ``early_rounds_weight`` > 0; otherwise empty.
    """

    last: Round
    gradient_sum: PyTree
    history: tuple[Round, ...] = ()
    early: tuple[Round, ...] = ()


class TaskTerms(NamedTuple):
    """What one task contributes to the objective.

    Attributes:
        policy_loss: Clipped surrogate loss on τ^{K+1}.
        kl: Mean KL divergence from the sampling policy on τ^{K+1}.
        penalty: Mean square of the entries of h^{K+1}, before multiplication with η.
        early_loss: Sum of the clipped losses of the early rounds, before its weight.
    """

    policy_loss: Float[Array, "*batch"]
    kl: Float[Array, "*batch"]
    penalty: Float[Array, "*batch"]
    early_loss: Float[Array, "*batch"]


def pack_experience(experience: Experience, tasks_at_once: int) -> Experience:
    """Pack the episodes of all rounds and tasks into steps, once for all epochs."""
    rounds = (experience.last, experience.history, experience.early)
    batches = jax.tree.map(lambda past: past.batch, rounds, is_leaf=_is_round)
    packed = map_over_tasks(lambda _, own: jax.tree.map(steps_of, own, is_leaf=_is_batch), None, batches, tasks_at_once)
    last, history, early = jax.tree.map(
        lambda past, steps: past._replace(batch=steps), rounds, packed, is_leaf=_is_round
    )
    return experience._replace(last=last, history=history, early=early)


def _is_round(tree: PyTree) -> bool:
    return isinstance(tree, Round)


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
    adapted = parameters.adapted
    for past in experience.history:
        assert past.context is not None
        adapted = fast_update(
            condition, adapted, parameters.rates, parameters.shared, past.context, past.batch, settings
        ).adapted
    return adapted


def task_objective(
    condition: Condition,
    parameters: Parameters,
    experience: Experience,
    fast: FastUpdateSettings,
    meta: MetaUpdateSettings,
) -> tuple[Float[Array, ""], TaskTerms]:
    """One task's share of the meta-objective (equation 10), and its terms.

    L_PPO(τ^{K+1}) + η · mean_j (h_j^{K+1})² [+ w · Σ over early rounds of L_PPO(τ^k) at constant h^k]
    """
    adapted = readapt(condition, parameters, experience, fast)
    context = experience.last.context
    assert context is not None
    policy, embedding = condition(adapted, parameters.shared, context)
    terms = surrogate_terms(policy, embedding, experience.last.batch, meta.clip)
    # The mean of no entries is 0, for algorithms whose policy is conditioned on nothing.
    penalty = jnp.sum(embedding**2) / max(embedding.shape[-1], 1)
    loss = terms.policy_loss + meta.embedding_penalty * penalty
    early = jnp.zeros_like(loss)
    for past in experience.early:
        early += surrogate_terms(policy, past.embedding, past.batch, meta.clip).policy_loss
    loss = loss + meta.early_rounds_weight * early
    return loss, TaskTerms(terms.policy_loss, terms.kl, penalty, early)


class MetaUpdated(NamedTuple):
    """Result of one meta-update.

    Attributes:
        parameters: The parameters that were kept.
        optimiser_state: Adam's state that belongs to them.
        epoch_kept: Number of epochs whose steps they contain; 0 if every epoch was rejected, in which case
            parameters and optimiser state are the ones from before.
        epochs_run: Number of epochs that were computed.
        terms: Terms per epoch (entry e: after e steps) and task, (epochs + 1, task); NaN where not computed.
        gradient_norms: Global norm of the meta-gradient per epoch, for (adapted, rates, shared).
    """

    parameters: Parameters
    optimiser_state: optax.OptState
    epoch_kept: Int[Array, ""]
    epochs_run: Int[Array, ""]
    terms: TaskTerms
    gradient_norms: Float[Array, "epoch 3"]


class _Loop(NamedTuple):
    epoch: Int[Array, ""]
    stop: Bool[Array, ""]
    current: tuple[Parameters, optax.OptState]
    kept: tuple[Parameters, optax.OptState]
    kept_loss: Float[Array, ""]
    epoch_kept: Int[Array, ""]
    terms: TaskTerms
    gradient_norms: Float[Array, "epoch 3"]


def optimiser() -> optax.GradientTransformation:
    """Adam without its step size, which `meta_update` takes as an argument because it may decay."""
    return optax.scale_by_adam()


def meta_update(
    condition: Condition,
    parameters: Parameters,
    optimiser_state: optax.OptState,
    experience: Experience,
    step_size: Float[Array, ""],
    learned_rates: bool,
    fast: FastUpdateSettings,
    meta: MetaUpdateSettings,
) -> MetaUpdated:
    """Run the PPO epochs of one meta-update in one compiled loop and keep the best parameters.

    Every epoch recomputes θ^{K+1} and h^{K+1} from the current θ_TE and α and takes one full-batch Adam step.
    Among the parameters after 1 … ``epochs`` steps, those with the lowest policy loss whose mean KL divergence
    to the sampling policy is below ``kl_bound`` are kept, with the optimiser state that belongs to them.

    Args:
        condition: The algorithm's conditioning of one task.
        parameters: Current parameters.
        optimiser_state: State of `optimiser`.
        experience: What the tasks experienced, with leading axis ``task``.
        step_size: Step size of Adam at this meta-update.
        learned_rates: Whether α is trained.
        fast: Settings of the fast-updates.
        meta: Settings of the meta-update.
    """
    objective = _objective(condition, learned_rates, fast, meta)
    experience = pack_experience(experience, meta.tasks_at_once)

    def before_stop(loop: _Loop):
        return (loop.epoch < meta.epochs) & ~loop.stop

    def step(loop: _Loop) -> _Loop:
        gradient, terms = mean_gradient_over_tasks(objective, loop.current[0], experience, meta.tasks_at_once)
        loop = _judge(loop, terms, meta)
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
            gradient_norms=loop.gradient_norms.at[loop.epoch].set(jnp.where(going, norms, jnp.nan)),
        )

    start = _start(parameters, optimiser_state, experience, meta.epochs)
    loop = jax.lax.while_loop(before_stop, step, start)
    # The last candidate has been made but not judged: one forward pass without gradients.
    terms = map_over_tasks(
        lambda parameters, data: objective(parameters, data)[1],
        loop.current[0],
        experience,
        meta.tasks_at_once,
    )
    loop = _judge(loop, terms, meta)
    return MetaUpdated(*loop.kept, loop.epoch_kept, loop.epoch, loop.terms, loop.gradient_norms)


def _moved(
    parameters: Parameters, updates: PyTree, step_size, fast: FastUpdateSettings, meta: MetaUpdateSettings
) -> Parameters:
    """Take one step, the rates with a step size of their own."""
    steps = Parameters(step_size, step_size * meta.rates_step, step_size)
    parts = zip(parameters, updates, steps, strict=True)
    moved = Parameters(*(jax.tree.map(lambda p, u, s=s: p - s * u, part, own) for part, own, s in parts))
    return moved._replace(rates=bounded_rates(moved.rates, fast.rate_bound)) if meta.project_rates else moved


def _objective(condition, learned_rates, fast, meta) -> Callable:
    def objective(parameters: Parameters, data: Experience):
        if not learned_rates:
            parameters = parameters._replace(rates=jax.lax.stop_gradient(parameters.rates))
        return task_objective(condition, parameters, data, fast, meta)

    return objective


def _start(parameters, state, experience, epochs) -> _Loop:
    tasks = jax.tree.leaves(experience)[0].shape[0]
    dtype = experience.last.embedding.dtype
    unknown = jnp.full((epochs + 1, tasks), jnp.nan, dtype)
    zero = jnp.zeros((), jnp.int32)
    return _Loop(
        epoch=zero,
        stop=jnp.zeros((), bool),
        current=(parameters, state),
        kept=(parameters, state),
        kept_loss=jnp.full((), jnp.inf, dtype),
        epoch_kept=zero,
        terms=TaskTerms(unknown, unknown, unknown, unknown),
        gradient_norms=jnp.full((epochs, 3), jnp.nan, dtype),
    )


def _judge(loop: _Loop, terms: TaskTerms, meta: MetaUpdateSettings) -> _Loop:
    """Note the terms of the current parameters, and keep them if they are the best admissible ones."""
    loss, kl = jnp.mean(terms.policy_loss), jnp.mean(terms.kl)
    # Comparisons with NaN are false, so parameters with a non-finite loss are never kept.
    better = (loop.epoch > 0) & (kl < meta.kl_bound) & (loss < loop.kept_loss)
    kept = jax.tree.map(lambda new, old: jnp.where(better, new, old), loop.current, loop.kept)
    return loop._replace(
        kept=kept,
        kept_loss=jnp.where(better, loss, loop.kept_loss),
        epoch_kept=jnp.where(better, loop.epoch, loop.epoch_kept),
        stop=jnp.asarray(meta.stop_at_kl_bound) & (kl >= meta.kl_bound),
        terms=jax.tree.map(lambda table, row: table.at[loop.epoch].set(row), loop.terms, terms),
    )


def _norm(tree: PyTree) -> Float[Array, ""]:
    return jnp.sqrt(sum((jnp.sum(x**2) for x in jax.tree.leaves(tree)), start=jnp.zeros(())))
