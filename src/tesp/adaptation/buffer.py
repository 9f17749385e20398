"""The episode buffer of one task: the best M episodes it has experienced."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tesp.types import Episodes


def episode_returns(episodes: Episodes) -> Float[Array, " episode"]:
    """R(τ) = Σ_t r_t over the valid steps."""
    return jnp.sum(jnp.where(episodes.valid, episodes.reward, 0.0), axis=-1)


def best(episodes: Episodes, size: int) -> Episodes:
    """S_M: the ``size`` episodes with the highest return, best first (equation 4).

    Among equal returns the episode that stands first is preferred. Unused episodes, those without a valid step, come
    last: their return of 0 would beat every negative one.

    Args:
        episodes: Episodes of one task, (episode, step, …), at least ``size`` of them.
        size: M, the number of episodes to keep.
    """
    rank = jnp.where(jnp.any(episodes.valid, axis=-1), -episode_returns(episodes), jnp.inf)
    order = jnp.argsort(rank, stable=True)[:size]
    return jax.tree.map(lambda x: x[order], episodes)


def update(buffer: Episodes | None, episodes: Episodes, size: int | None) -> Episodes:
    """B^k = S_M(B^{k−1} ∪ τ^k) of one task (equation 3).

    Args:
        buffer: B^{k−1}, or None for the empty buffer.
        episodes: τ^k.
        size: M, or None to keep every episode.
    """
    if buffer is not None:
        episodes = jax.tree.map(lambda old, new: jnp.concatenate([old, new]), buffer, episodes)
    return episodes if size is None else best(episodes, size)
