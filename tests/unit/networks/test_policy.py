import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import reference
from helpers.trees import assert_close, random_like
from tesp.networks.initialisers import unit_columns
from tesp.networks.policy import CONDITIONINGS, Linear, ModulatedPolicy, Policy


@pytest.fixture(scope="module")
def fresh():
    return jax.jit(lambda key: Policy.create(key, 5, 3, 2, (7, 6)))(jax.random.key(0))


@pytest.fixture(scope="module")
def policy(fresh):
    """Large, distinct weights and biases."""
    return random_like(fresh, seed=1)


@pytest.fixture(scope="module")
def observation():
    return jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 5)), jnp.float32)


act = jax.jit(Policy.__call__)
EMBEDDING = jnp.array([0.3, -2.0, 1.1])


def test_equals_the_network_on_the_concatenation(policy, observation):
    actual = act(policy, observation, EMBEDDING)
    assert_close(tuple(actual), jax.jit(reference.act)(policy, observation, EMBEDDING), rtol=1e-5, atol=1e-6)


def test_gradient_equals_that_of_the_concatenation(policy, observation):
    """Also with respect to the embedding, which the fast-update hangs on."""

    def loss(function):
        def scalar(p, h):
            mean, log_std = function(p, observation, h)
            return jnp.mean(mean**2) + jnp.mean(jnp.sin(log_std))

        return jax.jit(jax.grad(scalar, argnums=(0, 1)))(policy, EMBEDDING)

    actual, expected = loss(lambda p, s, h: p(s, h)), loss(reference.act)
    assert_close(actual, expected, rtol=1e-4, atol=1e-6)
    assert np.all(np.abs(expected[1]) > 1e-4)


def test_single_observation(policy, observation):
    alone = act(policy, np.asarray(observation)[1, 2], EMBEDDING)
    many = act(policy, observation, EMBEDDING)
    np.testing.assert_allclose(alone, np.asarray(many)[:, 1, 2], rtol=1e-5)


def test_without_embedding(observation):
    def outputs(key):
        return Policy.create(key, 5, 0, 2, (4,))(observation, jnp.zeros(0))

    mean, log_std = jax.jit(outputs)(jax.random.key(0))
    assert mean.shape == log_std.shape == (4, 6, 2)


def test_log_std_depends_on_the_state(policy, observation):
    _, log_std = act(policy, observation, EMBEDDING)
    assert np.all(np.std(log_std, axis=(0, 1)) > 0.1)


def test_initial_norms(fresh):
    """Norm 1 into each hidden unit, 0.01 into each output, no bias: a fresh policy is N(0, 1)."""
    assert [layer.weight.shape for layer in fresh.hidden] == [(8, 7), (7, 6)]
    assert fresh.output.weight.shape == (6, 4)
    for layer in fresh.hidden:
        np.testing.assert_allclose(np.linalg.norm(layer.weight, axis=0), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(fresh.output.weight, axis=0), 0.01, rtol=1e-6)
    assert not any(np.any(layer.bias) for layer in (*fresh.hidden, fresh.output))


def test_layers_are_drawn_independently():
    a, b = jax.jit(lambda key: Policy.create(key, 4, 0, 1, (4, 4)))(jax.random.key(0)).hidden
    assert not np.allclose(a.weight, b.weight)


def test_fresh_policy_is_a_standard_normal(fresh, observation):
    mean, log_std = act(fresh, observation, EMBEDDING)
    assert np.abs(mean).max() < 0.03
    assert np.abs(log_std).max() < 0.03


def test_linear():
    layer = random_like(Linear.create(jax.random.key(0), 3, 2), seed=0)
    x = jnp.arange(6.0).reshape(2, 3)
    expected = np.array(x) @ np.array(layer.weight) + np.array(layer.bias)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-6)


def test_unit_columns():
    weights = unit_columns(jax.random.key(1), 50, 8, norm=0.3)
    np.testing.assert_allclose(np.linalg.norm(weights, axis=0), 0.3, rtol=1e-6)
    assert abs(np.mean(weights)) < 0.01, "drawn around zero"


@pytest.mark.parametrize("kind", CONDITIONINGS.values(), ids=CONDITIONINGS)
def test_what_the_embedding_contributes_is_computed_once(kind, observation):
    """The two parts, one after the other, are the call."""
    policy = random_like(kind.create(jax.random.key(0), 5, 3, 2, (7, 6)), seed=1)
    conditioned = policy.condition(EMBEDDING)
    assert_close(policy.respond(observation, conditioned), policy(observation, EMBEDDING), rtol=1e-6, atol=1e-7)
    other = policy.respond(observation, policy.condition(2 * EMBEDDING))
    assert np.all(np.abs(np.subtract(other, policy(observation, EMBEDDING))).max(axis=(1, 2)) > 0.01)


@pytest.fixture(scope="module")
def drawn():
    return ModulatedPolicy.create(jax.random.key(0), 5, 3, 2, (7, 6))


@pytest.fixture(scope="module")
def modulated(drawn):
    return random_like(drawn, seed=1)


class TestModulatedPolicy:
    def test_equation(self, modulated, observation):
        """x ↦ tanh((x W + b) ∘ (1 + h S) + h T), layer by layer; mean first, then log standard deviation."""
        x, h = np.asarray(observation, float), np.asarray(EMBEDDING, float)
        for layer, s, t in zip(modulated.hidden, modulated.scale, modulated.shift, strict=True):
            w, b, s, t = (np.asarray(value, float) for value in (layer.weight, layer.bias, s, t))
            x = np.tanh((x @ w + b) * (1 + h @ s) + h @ t)
        out = x @ np.asarray(modulated.output.weight, float) + np.asarray(modulated.output.bias, float)
        mean, log_std = modulated(observation, EMBEDDING)
        np.testing.assert_allclose(mean, out[..., :2], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(log_std, out[..., 2:], rtol=1e-4, atol=1e-5)

    def test_without_embedding_it_is_the_plain_network(self, modulated, observation):
        plain = Policy(modulated.hidden, modulated.output)
        expected = plain(observation, jnp.zeros(0))
        assert_close(modulated(observation, jnp.zeros(3)), expected, rtol=1e-5, atol=1e-6)

    def test_initial_norms(self, drawn):
        assert [layer.weight.shape for layer in drawn.hidden] == [(5, 7), (7, 6)]
        for s, t, units in zip(drawn.scale, drawn.shift, (7, 6), strict=True):
            assert s.shape == t.shape == (3, units)
            for modulation in (s, t):
                np.testing.assert_allclose(np.linalg.norm(modulation, axis=0), 0.5, rtol=1e-6)
            assert not np.allclose(s, t)
        np.testing.assert_allclose(np.linalg.norm(drawn.output.weight, axis=0), 0.01, rtol=1e-6)

    def test_an_embedding_reaches_every_parameter(self, modulated, observation):
        @jax.jit
        @jax.grad
        def gradient(p):
            mean, log_std = p(observation, EMBEDDING)
            return jnp.mean(mean**2) + jnp.mean(jnp.sin(log_std))

        assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient(modulated)))


@pytest.mark.parametrize("kind", CONDITIONINGS.values())
def test_the_least_deviation_bounds_and_changes_nothing_else(kind):
    draw = jax.jit(lambda key, least: kind.create(key, 5, 3, 2, (4,), least), static_argnums=1)
    free, bounded = (random_like(draw(jax.random.key(0), least), 1, 1.0) for least in (0.0, 0.5))
    observation = jnp.asarray(np.random.default_rng(0).normal(size=(50, 5)), jnp.float32)
    embedding = jnp.ones(3)
    mean, log_std = jax.jit(lambda p: p(observation, embedding))(free)
    found = jax.jit(lambda p: p(observation, embedding))(bounded)
    assert np.any(log_std < np.log(0.5))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(found.log_std, np.maximum(log_std, np.log(0.5)), rtol=1e-6)
