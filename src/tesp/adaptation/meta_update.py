"""The meta-update: PPO on the adapted policies, over θ_TE, α and θ_policy together."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from tesp.adaptation.contributions import Contributions
from tesp.adaptation.fast_update import bounded_rates
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.adaptation.task_axis import gather
from tesp.adaptation.task_objective import TaskTerms
from tesp.types import Parameters, PyTree


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
    first_of_rates: PyTree


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
    along: Parameters = ravel_pytree(loop.current[0])[1](gradient)
    norms = jnp.stack([_norm(part) for part in along])
    first_of_rates = loop.first_of_rates
    if meta.rates_gradient == "first_epoch":
        is_first = loop.epoch == 0
        first_of_rates = jax.tree.map(lambda new, old: jnp.where(is_first, new, old), along.rates, first_of_rates)
        along = along._replace(rates=first_of_rates)
    # Adam raises a float to its integer count, which strict promotion, if the caller set it, forbids.
    with jax.numpy_dtype_promotion("standard"):
        updates, state = optimiser().update(along, loop.current[1])
    moved = _moved(loop.current[0], updates, step_size, fast, meta)
    # Whoever is to stop at the bound takes no further step from beyond it.
    going = ~loop.stop
    following = jax.tree.map(lambda new, old: jnp.where(going, new, old), (moved, state), loop.current)
    return loop._replace(
        epoch=loop.epoch + jnp.where(going, 1, 0),
        current=following,
        gradient_norms=loop.gradient_norms.at[loop.epoch].set(norms),
        first_of_rates=first_of_rates,
    )


def _moved(
    parameters: Parameters, updates: PyTree, step_size, fast: FastUpdateSettings, meta: MetaUpdateSettings
) -> Parameters:
    """Take one step, the rates with a step size of their own."""
    steps = Parameters(step_size, step_size * meta.rates_step, step_size)
    parts = zip(parameters, updates, steps, strict=True)
    moved = Parameters(*(jax.tree.map(lambda p, u, s=s: p - s * u, part, own) for part, own, s in parts))
    return moved._replace(rates=bounded_rates(moved.rates, fast.rate_bound)) if meta.project_rates else moved


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
        first_of_rates=jax.tree.map(jnp.zeros_like, parameters.rates),
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
