"""Sums over the steps of a task, a chunk of steps at a time, so that activations stay in cache."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float

from tesp.types import PyTree

#: Most steps in a chunk: their activations fit the cache, and products of this many rows are fast.
ROWS = 512


def pack(steps: PyTree, valid: Bool[Array, "episode step"]) -> tuple[PyTree, Bool[Array, "chunk row"]]:
    """Move the valid steps of one task together and cut them into chunks of equal length.

    What is left of the padding stands at the end, where whole chunks of it can be skipped.

    Args:
        steps: Pytree of arrays (episode, step, …).
        valid: Which steps exist.

    Returns:
        The same arrays with axes (chunk, row, …), and which rows exist.
    """
    count = valid.size
    chunks = max(-(-count // ROWS), 1)
    rows = -(-count // chunks)
    # Stable, so that steps stay in the order in which they were taken.
    order = jnp.argsort(~valid.ravel(), stable=True)

    def arrange(x):
        x = x.reshape(count, *x.shape[2:])[order]
        x = jnp.pad(x, [(0, chunks * rows - count)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(chunks, rows, *x.shape[1:])

    return jax.tree.map(arrange, steps), arrange(valid)


def sum_over_chunks(
    function: Callable, parameters: PyTree, chunks: PyTree, exists: Bool[Array, "chunk row"]
) -> tuple[Float[Array, ""], PyTree]:
    """Σ_c function(parameters, chunk c) over the chunks in which a row exists.

    Where it is differentiated, the gradient of each chunk is computed together with its value, and only for those
    parameters that are differentiated; so no activation outlives its chunk and none is computed twice. (A second
    derivative goes back through this and keeps them.)

    Args:
        function: (parameters, chunk) → (value, auxiliary), scalars, 0 for a chunk without rows. It closes over no
            arrays.
        parameters: What may be differentiated; the chunks are constants.
        chunks: Pytree of arrays with leading axis ``chunk``.
        exists: Which rows of the chunks exist; chunks without any cost nothing, except under `jax.vmap`.

    Returns:
        The sums of values and auxiliary values; the latter are constants too.
    """
    leaves, structure = jax.tree.flatten(parameters)

    def of_leaves(leaves, chunk):
        return function(jax.tree.unflatten(structure, leaves), chunk)

    total: Any = _sum(of_leaves, leaves, (chunks, exists))
    return total[0], jax.lax.stop_gradient(total[1])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sum(function, leaves, data):
    return _accumulate(partial(function, leaves), data)


def _accumulate(function, data):
    """Sum a function of the chunk over the chunks that exist."""

    def add(so_far, xs):
        chunk, exists = xs

        def compute(so_far):
            return jax.tree.map(jnp.add, so_far, function(chunk))

        return jax.lax.cond(jnp.any(exists), compute, lambda so_far: so_far, so_far), None

    first = jax.tree.map(lambda x: x[0], data[0])
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, first))
    return jax.lax.scan(add, start, data)[0]


def _forward(function, leaves, data):
    values = [leaf.value for leaf in leaves]
    wanted = [leaf.perturbed for leaf in leaves]
    data = jax.tree.map(lambda leaf: leaf.value, data)

    def of_wanted(differentiated, chunk):
        given = iter(differentiated)
        full = [next(given) if want else value for want, value in zip(wanted, values, strict=True)]
        return function(full, chunk)

    differentiated = [value for want, value in zip(wanted, values, strict=True) if want]
    result, gradient = _accumulate(partial(jax.value_and_grad(of_wanted, has_aux=True), differentiated), data)
    gradient = iter(gradient)
    return result, [next(gradient) if want else None for want in wanted]


def _backward(_function, gradient, cotangent):
    scale = cotangent[0]
    if isinstance(scale, SymbolicZero):
        return [None for _ in gradient], None
    return [None if g is None else scale * g for g in gradient], None


_sum.defvjp(_forward, _backward, symbolic_zeros=True)
