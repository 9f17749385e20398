"""Acting in the episodes of many tasks at once, on as many rows as still run."""

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from tesp.acting import Agent, Seen, act_as
from tesp.types import PyTree

#: Rows are padded to the whole round or to a half, a quarter, … of it, but to no less than this many.
LEAST_ROWS = 16


class Actor:
    """The agents of all tasks of a round, compiled for a few numbers of rows.

    Attributes:
        remembers: Whether the agents have memory.
        memory: What they remember, with leading axis ``row``.

    Args:
        agent: The agents, with a leading axis ``task`` in what is their own.
        tasks: Number of tasks.
        episodes: The rows of every task, as many as a round may have episodes; row i belongs to task i // episodes.
        keys: Keys of the episodes, which agents with memory begin with.

    Raises:
        ValueError: Agents with memory are given no keys.
    """

    def __init__(self, agent: Agent, tasks: int, episodes: int, keys: Key[Array, "task episode"] | None = None):
        self._agent, self._own = agent.of(None), agent.own
        self._tasks, self._episodes = tasks, episodes
        self._act = self._act_apart if agent.by_task else self._act_alike
        self.remembers = agent.remembers
        if agent.remembers and keys is None:
            raise ValueError(f"keys is None, but a {type(agent).__name__} has memory; give a key for every episode.")
        self.memory = jax.tree.map(np.array, start(agent, keys)) if agent.remembers else ()

    def __call__(
        self, rows: Int[np.ndarray, " row"], seen: Seen, noise: Float[np.ndarray, "row action"]
    ) -> tuple[Float[np.ndarray, "row action"], PyTree]:
        """Return the actions of the given rows, which stand task by task, and the distributions that they are from."""
        # Taking trees apart costs as much as a small policy does, so it is left out where nothing is in them.
        now = jax.tree.map(lambda x: x[rows], self.memory) if self.remembers else ()
        action, behaviour, memory = self._act(rows, (now, seen, noise))
        if not self.remembers:
            return action, behaviour
        for kept, new in zip(jax.tree.leaves(self.memory), jax.tree.leaves(memory), strict=True):
            kept[rows] = new
        return action, behaviour

    def _act_alike(self, rows, told):
        size = _padded(len(rows), self._tasks * self._episodes)
        task = _filled((rows // self._episodes).astype(np.int32), size)
        if size == len(rows):
            return jax.tree.map(np.asarray, _act_shared(self._agent, self._own, task, *told))
        done = _act_shared(self._agent, self._own, task, *jax.tree.map(lambda x: _filled(x, size), told))
        return jax.tree.map(lambda x: np.asarray(x)[: len(rows)], done)

    def _act_apart(self, rows, told):
        task = rows // self._episodes
        # Which of its task's rows each row is, counted from 0 among those given.
        place = np.arange(len(rows)) - np.searchsorted(task, task)
        size = _padded(int(place.max()) + 1, self._episodes, 1)

        def grid(x):
            full = np.zeros((self._tasks, size, *x.shape[1:]), x.dtype)
            full[task, place] = x
            return full

        done = _act_each(self._agent, self._own, *jax.tree.map(grid, told))
        return jax.tree.map(lambda x: np.asarray(x)[task, place], done)


def _padded(rows: int, most: int, least: int = LEAST_ROWS) -> int:
    """Least of most, most/2, most/4, … (rounded up) that holds ``rows``, but not below ``least``."""
    size = most
    while (size + 1) // 2 >= max(rows, least) and size > 1:
        size = (size + 1) // 2
    return size


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
def _act_shared(agent, own, task, memory, seen, noise):
    mine = jax.tree.map(lambda x: x[task], own)
    return tuple(jax.vmap(act_as, in_axes=(None, 0, 0, 0, 0))(agent, mine, memory, seen, noise))


@jax.jit
def _act_each(agent, own, memory, seen, noise):
    rows = jax.vmap(act_as, in_axes=(None, None, 0, 0, 0))
    return tuple(jax.vmap(rows, in_axes=(None, 0, 0, 0, 0))(agent, own, memory, seen, noise))
