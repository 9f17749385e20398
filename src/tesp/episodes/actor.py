"""Acting in the episodes of many tasks at once, on as many rows as still run."""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from tesp.acting import Agent, Seen, act_as
from tesp.types import PyTree

#: Rows that are computed together on a processor, whatever other rows there are: enough for fast products. So the bits
#: of an action do not depend on how many rows run.
TILE = 64
#: Rows are padded to this many, or to twice, four times, … as many: a loop over two tiles at least, which the compiler
#: cannot take apart.
LEAST_ROWS = 2 * TILE


class Actor:
    """The agents of all tasks of a round, compiled for a few numbers of rows.

    Attributes:
        remembers: Whether the agents have memory.
        memory: What they remember, with leading axis ``row``.

    Args:
        agent: The agents, with a leading axis ``task`` in what is their own.
        tasks: Number of tasks.
        episodes: The rows of every task, as many as a round may have episodes; row i belongs to task i // episodes.
        at_once: How many rows of a task run at once at most; by default all of them.
        keys: Keys of the episodes, which agents with memory begin with.

    Raises:
        ValueError: Agents with memory are given no keys.
    """

    def __init__(
        self,
        agent: Agent,
        tasks: int,
        episodes: int,
        at_once: int | None = None,
        keys: Key[Array, "task episode"] | None = None,
    ):
        self._agent, self._own = agent.of(None), agent.own
        self._tasks, self._episodes, self._at_once = tasks, episodes, at_once or episodes
        self._in_tiles = jax.default_backend() == "cpu"
        self._layout: _Layout | None = None
        self.remembers = agent.remembers
        if agent.remembers and keys is None:
            raise ValueError(f"keys is None, but a {type(agent).__name__} has memory; give a key for every episode.")
        self.memory = jax.tree.map(np.array, start(agent, keys)) if agent.remembers else ()

    def __call__(
        self, rows: Int[np.ndarray, " row"], seen: Seen, noise: Float[np.ndarray, "row action"]
    ) -> tuple[Float[np.ndarray, "row action"], PyTree]:
        """Return the actions of the given rows, which stand task by task, and the distributions that they are from."""
        if not self.remembers:
            blocks, _ = self._acted(rows, ((), seen, noise))
            return self._layout_of(((), seen, noise)).split(blocks)
        told = jax.tree.map(lambda x: x[rows], self.memory), seen, noise
        blocks, memory = self._acted(rows, told)
        for kept, new in zip(jax.tree.leaves(self.memory), jax.tree.leaves(memory), strict=True):
            kept[rows] = new
        return self._layout_of(told).split(blocks)

    def _acted(self, rows, told):
        # Chosen here: a bound method as an attribute is a circle, which keeps all policies until it is collected.
        return self._act_apart(rows, told) if self._agent.by_task else self._act_alike(rows, told)

    def _layout_of(self, told: tuple[PyTree, Seen, Any]) -> "_Layout":
        if self._layout is None:
            self._layout = _layout(self._agent, self._own, told)
        return self._layout

    def _act_alike(self, rows, told):
        size = _padded(len(rows))
        task = (rows // self._episodes).astype(np.int32)
        told = jax.tree.map(lambda x: _filled(x, size), (task, *told))
        tiles = np.int32(-(-len(rows) // TILE)) if self._in_tiles else None
        blocks, memory = _act_shared(self._agent, self._own, tiles, told)
        return [np.asarray(x)[: len(rows)] for x in blocks], jax.tree.map(lambda x: np.asarray(x)[: len(rows)], memory)

    def _act_apart(self, rows, told):
        task = rows // self._episodes
        # Which of its task's rows each row is, counted from 0 among those given.
        place = np.arange(len(rows)) - np.searchsorted(task, task)

        def grid(x):
            full = np.zeros((self._tasks, self._at_once, *x.shape[1:]), x.dtype)
            full[task, place] = x
            return full

        blocks, memory = _act_each(self._agent, self._own, *jax.tree.map(grid, told))
        return [np.asarray(x)[task, place] for x in blocks], jax.tree.map(lambda x: np.asarray(x)[task, place], memory)


class _Layout(NamedTuple):
    """How the arrays of an action and its distribution lie in blocks, side by side, one block for each type of number.

    What is fetched from a device costs by the array, not by its size.

    Attributes:
        structure: The tree of the arrays.
        shapes: Their shapes without the axis ``row``.
        places: Of each the block, and its first and last entry there.
    """

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    places: tuple[tuple[int, int, int], ...]

    def split(self, blocks: Sequence[np.ndarray]) -> tuple[Float[np.ndarray, "row action"], PyTree]:
        """Return the action and its distribution, as parts of the blocks."""
        parts = (blocks[block][:, first:last] for block, first, last in self.places)
        leaves = [part.reshape(len(part), *shape) for part, shape in zip(parts, self.shapes, strict=True)]
        return tuple(jax.tree.unflatten(self.structure, leaves))


#: Layouts that were found, by what acts and what it is told.
_LAYOUTS: dict[Any, _Layout] = {}


def _layout(agent: Agent, own: PyTree, told: PyTree) -> _Layout:
    """Return how what agents do is laid out; found once for each kind of agent."""

    def shapes(tree, axes):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[axes:], x.dtype), tree)

    one = shapes(agent, 0), shapes(own, 1), *shapes(told, 1)
    leaves, structure = jax.tree.flatten(one)
    key = structure, tuple((x.shape, np.dtype(x.dtype).str) for x in leaves)
    if key not in _LAYOUTS:
        acted = eqx.filter_eval_shape(act_as, *one)
        leaves, structure = jax.tree.flatten((acted.action, acted.behaviour))
        kinds, ends, places = list(dict.fromkeys(x.dtype for x in leaves)), {}, []
        for leaf in leaves:
            block, size = kinds.index(leaf.dtype), prod(leaf.shape)
            first = ends.get(block, 0)
            ends[block] = first + size
            places.append((block, first, first + size))
        _LAYOUTS[key] = _Layout(structure, tuple(x.shape for x in leaves), tuple(places))
    return _LAYOUTS[key]


def _side_by_side(tree: PyTree, axes: int) -> list[Array]:
    """Return the arrays of a tree in blocks, as `_Layout` says.

    Args:
        tree: Arrays.
        axes: How many of their axes are not of one row.
    """
    kinds: dict[Any, list[Array]] = {}
    for leaf in jax.tree.leaves(tree):
        kinds.setdefault(leaf.dtype, []).append(leaf.reshape(*leaf.shape[:axes], prod(leaf.shape[axes:])))
    return [jnp.concatenate(parts, axis=-1) for parts in kinds.values()]


def _padded(rows: int) -> int:
    """Least of `LEAST_ROWS`, twice, four times, … as many that holds ``rows``."""
    return LEAST_ROWS * 2 ** max(-(-rows // LEAST_ROWS) - 1, 0).bit_length()


def _filled(x: np.ndarray, size: int) -> np.ndarray:
    """Append zeros up to ``size`` rows."""
    if len(x) == size:
        return x
    full = np.zeros((size, *x.shape[1:]), x.dtype)
    full[: len(x)] = x
    return full


@jax.jit
def start(agent: Agent, keys: Key[Array, "task episode"]) -> PyTree:
    """Return what the agents of many tasks remember at the start of their episodes, with leading axis ``row``."""

    def begin(own, key):
        return agent.of(own).start(key)

    memory = jax.vmap(jax.vmap(begin, in_axes=(None, 0)))(agent.own, keys)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), memory)


@jax.jit
def _act_shared(agent, own, tiles, told):
    """Act in the rows of the first ``tiles`` tiles, one after the other; where it is None, in all rows at once."""

    def act(told):
        task, memory, seen, noise = told
        mine = jax.tree.map(lambda x: x[task], own)
        acted = jax.vmap(act_as, in_axes=(None, 0, 0, 0, 0))(agent, mine, memory, seen, noise)
        return _side_by_side((acted.action, acted.behaviour), 1), acted.memory

    if tiles is None:
        return act(told)

    def one_tile(index, acted):
        part = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, index * TILE, TILE), told)
        return jax.tree.map(
            lambda kept, new: jax.lax.dynamic_update_slice_in_dim(kept, new, index * TILE, 0), acted, act(part)
        )

    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(act, told))
    return jax.lax.fori_loop(0, tiles, one_tile, start)


@jax.jit
def _act_each(agent, own, memory, seen, noise):
    rows = jax.vmap(act_as, in_axes=(None, None, 0, 0, 0))
    acted = jax.vmap(rows, in_axes=(None, 0, 0, 0, 0))(agent, own, memory, seen, noise)
    return _side_by_side((acted.action, acted.behaviour), 2), acted.memory
