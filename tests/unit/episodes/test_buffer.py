import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.data import random_episodes, with_garbage
from helpers.trees import assert_identical, task_slice
from tesp.adaptation import buffer
from tesp.types import Episodes

first = jax.jit(partial(buffer.update, None), static_argnames="size")
update = jax.jit(buffer.update, static_argnames="size")
episode_returns = jax.jit(buffer.episode_returns)


def with_returns(*returns) -> Episodes:
    """One-step episodes with the given returns, marked by their place in the observation."""
    count = len(returns)
    wide = jnp.zeros((count, 1, 1))
    flat, flag = jnp.asarray(returns, jnp.float32).reshape(count, 1), jnp.ones((count, 1), bool)
    mark = jnp.arange(float(count)).reshape(count, 1, 1)
    return Episodes(mark, wide, flat, flat, (wide, wide), flag, flag, flag)


def marks(episodes):
    return np.asarray(episodes.observation)[:, 0, 0].astype(int).tolist()


def by_brute_force(rounds, size):
    """Take the best of what is left, one after the other, the earlier one if two are equal."""
    kept = []
    for episodes in rounds:
        returns = np.asarray(episode_returns(episodes))
        kept = kept + [(float(r), task_slice(episodes, i)) for i, r in enumerate(returns)]
        chosen = []
        for _ in range(min(size, len(kept))):
            best = max(range(len(kept)), key=lambda i: (kept[i][0], -i))
            chosen.append(kept.pop(best))
        kept = chosen
    return jax.tree.map(lambda *x: np.stack(x), *(episode for _, episode in kept))


def test_return_is_the_undiscounted_sum_of_the_reward():
    episodes = random_episodes(0, 5, steps=4)
    lengths = np.asarray(episodes.valid).sum(axis=1)
    expected = [sum(np.asarray(r)[:n].tolist()) for r, n in zip(episodes.reward, lengths, strict=True)]
    np.testing.assert_allclose(episode_returns(with_garbage(episodes, np.nan)), expected, rtol=1e-5)


def test_best_first():
    assert marks(first(with_returns(1.0, 5.0, -2.0, 3.0), size=3)) == [1, 3, 0]


def test_the_earlier_of_equal_returns_stays():
    assert marks(first(with_returns(1.0, 2.0, 1.0, 1.0), size=3)) == [1, 0, 2]


def test_an_older_episode_beats_an_equal_new_one():
    old, new = with_returns(3.0, 1.0), with_returns(3.0, 3.0)
    new = Episodes(**{**vars(new), "observation": new.observation + 10})
    assert marks(update(old, new, size=2)) == [0, 10]


def test_keep_all():
    """Every experienced episode, in the order of experience."""
    old, new = with_returns(1.0, 2.0), with_returns(3.0, 0.0)
    new = Episodes(**{**vars(new), "observation": new.observation + 10})
    assert marks(first(old, size=None)) == [0, 1]
    assert marks(update(old, new, size=None)) == [0, 1, 10, 11]


@given(seed=st.integers(0, 2**16), equal=st.booleans())
def test_rounds_by_brute_force(seed, equal):
    rounds = [random_episodes(seed + k, 5, steps=3) for k in range(3)]
    if equal:  # rounded rewards make ties common
        rounds = [Episodes(**{**vars(r), "reward": jnp.round(r.reward)}) for r in rounds]
    kept = first(rounds[0], size=4)
    for episodes in rounds[1:]:
        kept = update(kept, episodes, size=4)
    assert_identical(kept, by_brute_force(rounds, 4))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_padding_changes_nothing(garbage):
    old, new = random_episodes(0, 4, steps=3), random_episodes(1, 4, steps=3)
    clean = update(old, new, size=3)
    spoiled = update(with_garbage(old, garbage), with_garbage(new, garbage), size=3)
    valid = np.asarray(clean.valid)
    np.testing.assert_array_equal(spoiled.valid, valid)
    np.testing.assert_array_equal(np.asarray(spoiled.observation)[valid], np.asarray(clean.observation)[valid])


def test_unused_episodes_come_last():
    """An episode without steps returns 0, which is better than any that exists."""
    episodes = with_returns(-3.0, 0.0, -1.0, 0.0, -2.0)
    used = jnp.array([[True], [False], [True], [False], [True]])
    episodes = dataclasses.replace(episodes, valid=used)
    assert marks(first(episodes, size=3)) == [2, 4, 0]
    assert marks(first(episodes, size=4)) == [2, 4, 0, 1]
    assert marks(update(first(episodes, size=4), with_returns(-9.0), size=4))[:3] == [2, 4, 0]
    kept = update(first(episodes, size=4), with_returns(-9.0), size=4)
    assert np.asarray(kept.reward)[:, 0].tolist() == [-1, -2, -3, -9]
