"""The policy whose weights are made of an embedding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.trees import random_like
from tesp.networks.hypernetwork import HyperPolicy
from tesp.networks.policy import Policy

OBSERVATION, EMBEDDING, ACTION, UNITS = 3, 4, 2, (5, 6)


@pytest.fixture
def policy(float64):  # noqa: ARG001
    return random_like(HyperPolicy.create(jax.random.key(0), OBSERVATION, EMBEDDING, ACTION, UNITS), 1, 0.3)


def drawn(*shape):
    return jnp.asarray(np.random.default_rng(2).normal(size=shape))


def test_acts_as_the_plain_policy_of_its_weights(policy):
    embedding, observation = drawn(EMBEDDING), drawn(7, OBSERVATION)
    weights = np.asarray(policy.condition(embedding))
    plain = Policy.create(jax.random.key(0), OBSERVATION, 0, ACTION, UNITS)
    leaves = []
    for layer in (*plain.hidden, plain.output):
        for leaf in (layer.weight, layer.bias):
            leaves.append(jnp.asarray(weights[: leaf.size].reshape(leaf.shape)))
            weights = weights[leaf.size :]
    assert not weights.size
    plain = jax.tree.unflatten(jax.tree.structure(plain), leaves)
    expected = plain(observation, jnp.zeros(0))
    for ours, theirs in zip(policy(observation, embedding), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_every_observation_may_have_an_embedding_of_its_own(policy):
    embedding, observation = drawn(2, 5, EMBEDDING), drawn(2, 5, OBSERVATION)
    together = policy(observation, embedding)
    for place in np.ndindex(2, 5):
        alone = policy(observation[place], embedding[place])
        for many, one in zip(together, alone, strict=True):
            np.testing.assert_allclose(many[place], one, rtol=1e-12)


def test_a_fresh_one_hardly_looks_at_its_embedding():
    key = jax.random.key(3)
    fresh = HyperPolicy.create(key, OBSERVATION, EMBEDDING, ACTION, UNITS)
    observation = jnp.ones(OBSERVATION)
    one, other = (fresh(observation, x * jnp.ones(EMBEDDING)) for x in (-1.0, 1.0))
    assert 0 < np.abs(one.mean - other.mean).max() < 0.05
    assert np.linalg.norm(fresh.weight, axis=0) == pytest.approx(0.01)
    wide = HyperPolicy.create(key, OBSERVATION, EMBEDDING, ACTION, UNITS, least_std=0.5)
    assert np.all(wide(observation, jnp.zeros(EMBEDDING)).log_std >= np.log(0.5) - 1e-6)
