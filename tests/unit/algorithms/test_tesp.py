import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.data import random_episodes, tiny_tesp
from helpers.trees import assert_identical
from tesp.methods.gradient.tesp import TESP

ALGORITHM = tiny_tesp(initial_rate=0.03)
INIT = jax.jit(ALGORITHM.init)


@pytest.fixture(scope="module")
def algorithm():
    return ALGORITHM


@pytest.fixture(scope="module")
def parameters():
    return INIT(jax.random.key(0))


def test_rates(parameters):
    """One rate for every parameter of the encoder, at the initial value."""
    assert jax.tree.structure(parameters.rates) == jax.tree.structure(parameters.adapted)
    for rate, leaf in zip(jax.tree.leaves(parameters.rates), jax.tree.leaves(parameters.adapted), strict=True):
        np.testing.assert_array_equal(rate, np.full(leaf.shape, 0.03, np.float32))


def test_shares_the_policy_and_adapts_the_encoder(algorithm, parameters):
    assert algorithm.policy(parameters.adapted, parameters.shared) is parameters.shared
    buffer = random_episodes(0, 3)
    embedding = jax.jit(algorithm.embedding)(parameters.adapted, buffer, jnp.zeros(2))
    assert embedding.shape == (algorithm.embedding_size,)
    np.testing.assert_allclose(embedding, jax.jit(lambda e, b: e(b))(parameters.adapted, buffer), rtol=1e-6)


def test_does_not_look_at_the_task(algorithm, parameters):
    buffer, embed = random_episodes(0, 3), jax.jit(algorithm.embedding)
    goals = [embed(parameters.adapted, buffer, jnp.full(2, goal)) for goal in (0.0, 1.0)]
    assert_identical(goals[0], goals[1])


def test_every_key_draws_its_own_parameters(parameters):
    again = INIT(jax.random.key(0))
    other = INIT(jax.random.key(1))
    assert_identical(again, parameters)
    assert not np.allclose(other.adapted.gru.input_weight, parameters.adapted.gru.input_weight)
    assert not np.allclose(other.shared.hidden[0].weight, parameters.shared.hidden[0].weight)


def test_encoder_and_policy_are_drawn_independently():
    """Two layers of the same shape, from the last key of each network."""
    parameters = jax.jit(TESP(3, 2, 4, (4,), 4, 0.03).init)(jax.random.key(0))
    assert parameters.adapted.output.weight.shape == parameters.shared.output.weight.shape
    assert not np.allclose(parameters.adapted.output.weight, parameters.shared.output.weight, atol=1e-4)


def test_the_row_of_the_table(algorithm):
    assert algorithm.warm_up
    assert algorithm.learned_rates
    assert not algorithm.keep_all
    assert not algorithm.adapts_policy
