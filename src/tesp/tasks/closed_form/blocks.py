"""Vectorising a long computation on few numbers so that a processor's cache holds all of it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap
from jax.experimental.xla_metadata import set_xla_metadata
from jaxtyping import Array

#: Most rows that are computed together on a CPU: few enough that all intermediate results stay in the cache.
BLOCK = 64

Function = Callable[..., tuple[Array, ...]]


def vectorised_in_blocks(function: Function) -> Function:
    """Return the function with a way of its own to be vectorised by `jax.vmap`: on a CPU, block by block.

    Args:
        function: From vectors to a tuple of vectors.
    """
    single = custom_vmap(function)

    @single.def_vmap
    def rows_in_blocks(rows: int, batched: list[bool], *arrays: Array) -> tuple[tuple[Array, ...], tuple[bool, ...]]:
        arrays = tuple(x if b else jnp.broadcast_to(x, (rows, *x.shape)) for x, b in zip(arrays, batched, strict=True))
        # Rows last: each entry of the vectors is then contiguous.
        block = jax.vmap(function, in_axes=-1, out_axes=-1)
        if jax.default_backend() == "cpu":
            results = _block_by_block(block, rows, arrays)
        else:
            results = tuple(x.T for x in block(*(x.T for x in arrays)))
        return results, (True,) * len(results)

    return single


def _block_by_block(function: Function, rows: int, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    blocks = -(-rows // BLOCK)
    # A multiple of the numbers in a vector register.
    size = -(-rows // (8 * blocks)) * 8

    def split(x: Array) -> Array:
        padded = jnp.pad(x, ((0, blocks * size - rows), (0, 0)))
        return padded.reshape(blocks, size, -1).swapaxes(1, 2)

    def join(x: Array) -> Array:
        return x.swapaxes(1, 2).reshape(blocks * size, -1)[:rows]

    results = jax.lax.map(lambda block: _as_one_kernel(function, *block), tuple(map(split, arrays)))
    return tuple(map(join, results))


def _as_one_kernel(function: Function, *arrays: Array) -> tuple[Array, ...]:
    """Ask the CPU's compiler for one kernel of the whole function instead of one for every few of its operations.

    On a block, starting a kernel takes longer than what it computes. A compiler that does not know the request
    gives the same results.
    """
    with set_xla_metadata(inlineable="false", xla_cpu_small_call="true"):
        return jax.jit(partial(_without_request, function))(*arrays)


def _without_request(function: Function, *arrays: Any) -> tuple[Array, ...]:
    with set_xla_metadata(inlineable=None, xla_cpu_small_call=None):
        return function(*arrays)
