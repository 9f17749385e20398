"""One fast-update of one task: a policy gradient step with per-parameter rates."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tesp.adaptation.objective import INNER_LOSSES, Batch, Steps
from tesp.adaptation.settings import FastUpdateSettings
from tesp.types import Episodes, PyTree


class Context(NamedTuple):
    """What the policy's conditioning of one task is computed from.

    Attributes:
        buffer: The task's best episodes, or None.
        task: The task's parameters, for oracles only.
    """

    buffer: Episodes | None
    task: Float[Array, "*batch parameter"]


#: (adapted, shared, context) → (policy, embedding) of one task. Without a context, as in the warm-up round, the
#: embedding is zero.
Condition = Callable[[PyTree, PyTree, Context | None], tuple[PyTree, Float[Array, " embedding"]]]


def bounded_rates(rates: PyTree, bound: float) -> PyTree:
    """α clipped to ±bound; outside the bound a rate gets no gradient."""
    return jax.tree.map(lambda a: jnp.clip(a, -bound, bound), rates)


def descend(adapted: PyTree, rates: PyTree, gradient: PyTree) -> PyTree:
    """θ − α ∘ g. ``rates`` is a tree like ``adapted``, or one scalar for a fixed rate."""
    if jax.tree.structure(rates) == jax.tree.structure(adapted):
        return jax.tree.map(lambda p, a, g: p - a * g, adapted, rates, gradient)
    return jax.tree.map(lambda p, g: p - rates * g, adapted, gradient)


def inner_gradient(
    condition: Condition,
    adapted: PyTree,
    shared: PyTree,
    context: Context,
    batch: Batch | Steps,
    settings: FastUpdateSettings,
) -> tuple[PyTree, Float[Array, ""]]:
    """Gradient of L(τ^k) for what adapts, clipped to the global norm; and the norm before clipping.

    For a task encoder the gradient comes **through the embedding alone**: the buffer B^{k−1} in ``context``
    is the encoder's input, the batch τ^k is only what the loss is measured on.
    """

    def loss(parameters):
        policy, embedding = condition(parameters, shared, context)
        return INNER_LOSSES[settings.inner_loss](policy, embedding, batch)

    gradient = jax.grad(loss)(adapted)
    squares = sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient))
    # The floor keeps the square root differentiable at a zero gradient, which second order passes through.
    norm = jnp.sqrt(jnp.maximum(squares, 1e-24))
    scale = jnp.minimum(1.0, settings.inner_gradient_norm / norm)
    return jax.tree.map(lambda g: g * scale, gradient), norm


class FastUpdated(NamedTuple):
    """Result of one fast-update of one task.

    Attributes:
        adapted: θ^{k+1}.
        gradient: g_k, as it was used.
        norm: Global norm of the gradient before clipping.
    """

    adapted: PyTree
    gradient: PyTree
    norm: Float[Array, "*batch"]


def fast_update(
    condition: Condition,
    adapted: PyTree,
    rates: PyTree,
    shared: PyTree,
    context: Context,
    batch: Batch | Steps,
    settings: FastUpdateSettings,
) -> FastUpdated:
    """θ^{k+1} = θ^k − α ∘ ∇L(τ^k) for one task (equation 9)."""
    gradient, norm = inner_gradient(condition, adapted, shared, context, batch, settings)
    bounded = bounded_rates(rates, settings.rate_bound)
    return FastUpdated(descend(adapted, bounded, gradient), gradient, norm)
