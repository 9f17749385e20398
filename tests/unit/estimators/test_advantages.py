import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

from helpers.data import random_episodes, with_garbage
from tesp.errors import ConfigurationError
from tesp.estimators import advantages as module
from tesp.estimators.settings import EstimationSettings

advantages = eqx.filter_jit(module.advantages)


def estimate(episodes, **settings):
    """As the learner calls it: episodes in float32, arithmetic in float64."""
    with jax.enable_x64(True):
        return np.asarray(advantages(episodes, EstimationSettings(**settings)))


def by_hand(episodes, discount, gae_lambda):
    """Returns, ridge regression and GAE, episode by episode, in NumPy."""
    lengths = np.asarray(episodes.valid).sum(axis=1)
    rewards = [np.asarray(r, float)[:n] for r, n in zip(episodes.reward, lengths, strict=True)]
    phi = []
    for s, n in zip(episodes.observation, lengths, strict=True):
        s, t = np.clip(np.asarray(s, float)[:n], -10, 10), np.arange(n)[:, None] / 100
        phi.append(np.concatenate([s, s**2, t, t**2, t**3, np.ones((n, 1))], axis=1))
    returns = [[sum(discount**u * x for u, x in enumerate(r[t:])) for t in range(len(r))] for r in rewards]
    every, wanted = np.concatenate(phi), np.concatenate(returns)
    w = np.linalg.solve(every.T @ every + 1e-5 * np.eye(every.shape[1]), every.T @ wanted)
    result = np.zeros(episodes.reward.shape)
    for i, (r, f) in enumerate(zip(rewards, phi, strict=True)):
        value, following = np.append(f @ w, 0.0), 0.0
        for t in reversed(range(len(r))):
            following = r[t] + discount * value[t + 1] - value[t] + discount * gae_lambda * following
            result[i, t] = following
    return result


@pytest.mark.parametrize(("discount", "gae_lambda"), [(0.99, 0.97), (0.9, 0.0), (1.0, 1.0)])
def test_by_hand(discount, gae_lambda):
    episodes = random_episodes(0, 6, steps=9)
    actual = estimate(episodes, discount=discount, gae_lambda=gae_lambda)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, by_hand(episodes, discount, gae_lambda), rtol=1e-5, atol=1e-6)


def test_needs_double_precision():
    """The features of an arm's angle are collinear; float64 keeps the advantages right all the same."""
    angle = np.linspace(0, 3, 8 * 50).reshape(8, 50)
    episodes = random_episodes(0, 8, steps=50, observation=2, lengths=50)
    observation = np.stack([np.cos(angle), np.sin(angle)], axis=-1).astype(np.float32)
    episodes = dataclasses.replace(episodes, observation=observation)
    np.testing.assert_allclose(estimate(episodes), by_hand(episodes, 0.99, 0.97), atol=2e-4)


def test_a_predictable_reward_leaves_no_advantage():
    """G_t is linear in the features, so V = G and Â = 0."""
    episodes = random_episodes(1, 8, steps=5, lengths=5)
    constant = dataclasses.replace(episodes, reward=np.ones((8, 5), np.float32))
    np.testing.assert_allclose(estimate(constant, discount=1.0, gae_lambda=1.0), 0.0, atol=1e-2)
    assert np.abs(estimate(episodes)).max() > 0.5


def test_normalised_per_task():
    """Mean 0 and standard deviation 1 over the valid steps, an affine function of the raw advantages."""
    episodes = random_episodes(2, 6, steps=9)
    valid = np.asarray(episodes.valid)
    scaled = dataclasses.replace(episodes, reward=7 * episodes.reward)
    raw, normal = estimate(scaled), estimate(scaled, normalise_advantages="task")
    assert abs(np.std(raw[valid]) - 1) > 0.5
    np.testing.assert_allclose(np.mean(normal[valid]), 0, atol=1e-6)
    np.testing.assert_allclose(np.std(normal[valid]), 1, rtol=1e-5)
    np.testing.assert_allclose(
        normal[valid], (raw[valid] - np.mean(raw[valid])) / np.std(raw[valid]), rtol=1e-4, atol=1e-5
    )
    assert not np.any(normal[~valid])


@pytest.mark.parametrize("normalise", ["none", "task"])
@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_padding_changes_nothing(normalise, garbage):
    episodes = random_episodes(3, 5, steps=6)
    clean = estimate(episodes, normalise_advantages=normalise)
    spoiled = estimate(with_garbage(episodes, garbage), normalise_advantages=normalise)
    np.testing.assert_array_equal(spoiled, clean)
    assert not np.any(clean[~np.asarray(episodes.valid)])


def test_episodes_may_be_numpy_arrays():
    episodes = random_episodes(3, 5, steps=6)
    plain = jax.tree.map(np.asarray, episodes)
    with jax.enable_x64(True):
        # Closed over, because arguments of a compiled function arrive as JAX's own arrays.
        actual = jax.jit(lambda: module.advantages(plain, EstimationSettings()))()
    np.testing.assert_allclose(actual, estimate(episodes), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["discount", "gae_lambda"])
@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_impossible_settings(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} = {value}"):
        EstimationSettings(**{name: value})
