import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import reference
from helpers.data import ACTION, EMBEDDING, OBSERVATION, random_episodes, with_garbage
from helpers.trees import assert_close, assert_identical, random_like, task_slice
from tesp.networks.task_encoder import TaskEncoder

embed = jax.jit(TaskEncoder.__call__)
weights = np.array([1.0, -2.0], np.float32)
embed_gradient = jax.jit(jax.grad(lambda encoder, episodes: weights @ encoder(episodes)))


@pytest.fixture(scope="module")
def fresh():
    create = jax.jit(lambda key: TaskEncoder.create(key, OBSERVATION, ACTION, 3, EMBEDDING))
    return create(jax.random.key(0))


@pytest.fixture(scope="module")
def encoder(fresh):
    return random_like(fresh, seed=1, scale=0.7)


@pytest.fixture(scope="module")
def episodes():
    return random_episodes(0, 5, steps=4)


def test_equals_the_equations(encoder, episodes):
    """h = (1/M) Σ_τ (W · GRU(s, a, r) + b), each episode up to its own last step."""
    lengths = np.asarray(episodes.valid).sum(axis=1)

    def one_by_one(encoder):
        alone = [jax.tree.map(lambda x, i=i, n=n: x[i : i + 1, :n], episodes) for i, n in enumerate(lengths)]
        return jnp.mean(jnp.stack([reference.encode(encoder, episode) for episode in alone]), axis=0)

    np.testing.assert_allclose(embed(encoder, episodes), jax.jit(one_by_one)(encoder), rtol=1e-5, atol=1e-6)


def test_gradient_equals_that_of_the_equations(encoder, episodes):
    expected = jax.jit(jax.grad(lambda e: weights @ reference.encode(e, episodes)))(encoder)
    actual = embed_gradient(encoder, episodes)
    assert_close(actual, expected, rtol=1e-4, atol=1e-6)
    assert all(np.all(leaf) for leaf in jax.tree.leaves(actual))


def test_order_of_the_episodes_does_not_matter(encoder, episodes):
    shuffled = task_slice(episodes, np.array([3, 1, 4, 0, 2]))
    np.testing.assert_allclose(embed(encoder, shuffled), embed(encoder, episodes), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("part", ["observation", "action", "reward"])
def test_sees_states_actions_and_rewards(encoder, episodes, part):
    changed = dataclasses.replace(episodes, **{part: jnp.asarray(2 * np.asarray(getattr(episodes, part)))})
    assert np.all(np.abs(np.subtract(embed(encoder, changed), embed(encoder, episodes))) > 1e-3)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_padding_changes_nothing(encoder, episodes, garbage):
    spoiled = with_garbage(episodes, garbage)
    assert_identical(embed(encoder, spoiled), embed(encoder, episodes))
    assert_identical(embed_gradient(encoder, spoiled), embed_gradient(encoder, episodes))


def test_fresh_embedding_is_small_but_can_learn(fresh, episodes):
    np.testing.assert_allclose(np.linalg.norm(fresh.output.weight, axis=0), 0.01, rtol=1e-6)
    assert not np.any(fresh.output.bias)
    assert 0 < np.abs(embed(fresh, episodes)).max() < 0.02
    assert all(np.any(leaf) for leaf in jax.tree.leaves(embed_gradient(fresh, episodes)))


def test_unused_episodes_are_left_out(encoder, episodes):
    """Whatever stands in them, and however many there are; they get no gradient either."""
    count = len(episodes.valid)
    more = jax.tree.map(lambda x: jnp.concatenate([x, x, x]), episodes)
    used = jnp.arange(3 * count) % 3 == 1
    first = jax.tree.map(lambda x: jnp.repeat(x, 3, axis=0), episodes)
    spread = dataclasses.replace(first, valid=first.valid & used[:, None])
    np.testing.assert_allclose(embed(encoder, spread), embed(encoder, episodes), rtol=1e-5, atol=1e-6)
    assert_close(embed_gradient(encoder, spread), embed_gradient(encoder, episodes), rtol=1e-4, atol=1e-6)
    nothing = dataclasses.replace(more, valid=jnp.zeros_like(more.valid))
    np.testing.assert_array_equal(embed(encoder, nothing), 0.0)
