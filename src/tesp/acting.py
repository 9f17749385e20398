"""Acting with the policies of many tasks at once, on as many rows as still run."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from tesp.types import PyTree

#: Rows are padded to the whole round or to a half, a quarter, … of it, but to no less than this many.
LEAST_ROWS = 16


class Actor:
    """The policies of all tasks of a round, compiled for a few numbers of rows.

    Args:
        own_policies: Whether every task has a policy of its own (``policy`` with leading axis ``task``) or all share
            one.
        policy: The policy, a `ConditionalPolicy`.
        embedding: What each task's policy is conditioned on.
        episodes: The rows of every task, as many as a round may have episodes; row i belongs to task i // episodes.
    """

    def __init__(self, own_policies: bool, policy: PyTree, embedding: Float[Array, "task embedding"], episodes: int):
        self._policy, self._tasks, self._episodes = policy, len(embedding), episodes
        self._conditioned = condition_tasks(own_policies, policy, embedding)
        self._act = self._act_apart if own_policies else self._act_alike

    def __call__(
        self,
        rows: Int[np.ndarray, " row"],
        observation: Float[np.ndarray, "row observation"],
        noise: Float[np.ndarray, "row action"],
    ) -> tuple[Float[np.ndarray, "row action"], Float[np.ndarray, "row action"], Float[np.ndarray, "row action"]]:
        """Return a = μ + exp(log σ) ∘ noise, μ and log σ for the given rows, which stand task by task."""
        action, mean, log_std = np.split(self._act(rows, observation, noise), 3, axis=-1)
        return action, mean, log_std

    def _act_alike(self, rows, observation, noise):
        size = _padded(len(rows), self._tasks * self._episodes)
        task = _filled((rows // self._episodes).astype(np.int32), size)
        done = _act_shared(self._policy, self._conditioned, task, _filled(observation, size), _filled(noise, size))
        return np.asarray(done)[: len(rows)]

    def _act_apart(self, rows, observation, noise):
        task = rows // self._episodes
        # Which of its task's rows each row is, counted from 0 among those given.
        place = np.arange(len(rows)) - np.searchsorted(task, task)
        size = _padded(int(place.max()) + 1, self._episodes, 1)

        def grid(x):
            full = np.zeros((self._tasks, size, x.shape[-1]), np.float32)
            full[task, place] = x
            return full

        done = _act_each(self._policy, self._conditioned, grid(observation), grid(noise))
        return np.asarray(done)[task, place]


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


@partial(jax.jit, static_argnums=(0,))
def condition_tasks(own_policies: bool, policy: PyTree, embedding: Float[Array, "task embedding"]) -> PyTree:
    """Return what the embedding of every task contributes to its policy, with leading axis ``task``.

    Args:
        own_policies: Whether ``policy`` has a leading axis ``task``; otherwise all tasks share one.
        policy: The policy, a `ConditionalPolicy`.
        embedding: What each task's policy is conditioned on.
    """
    return jax.vmap(lambda own, h: own.condition(h), in_axes=(0 if own_policies else None, 0))(policy, embedding)


def act_once(
    policy: PyTree,
    conditioned: PyTree,
    observation: Float[Array, "*batch observation"],
    noise: Float[Array, "*batch action"],
) -> tuple[Float[Array, "*batch action"], Float[Array, "*batch action"], Float[Array, "*batch action"]]:
    """Return a = μ + exp(log σ) ∘ noise, μ and log σ of one policy under what `condition_tasks` gave for one task."""
    mean, log_std = policy.respond(observation, conditioned)
    return mean + jnp.exp(log_std) * noise, mean, log_std


def _sampled(*arguments):
    return jnp.concatenate(act_once(*arguments), axis=-1)


@jax.jit
def _act_shared(policy, conditioned, task, observation, noise):
    own = jax.tree.map(lambda x: x[task], conditioned)
    return jax.vmap(partial(_sampled, policy))(own, observation, noise)


@jax.jit
def _act_each(policy, conditioned, observation, noise):
    return jax.vmap(_sampled)(policy, conditioned, observation, noise)
