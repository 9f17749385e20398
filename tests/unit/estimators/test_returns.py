import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesp.estimators import returns as module

pytestmark = pytest.mark.usefixtures("float64")

discounted_returns = eqx.filter_jit(module.discounted_returns)
generalised_advantages = eqx.filter_jit(module.generalised_advantages)


def episode(seed=0, steps=7, length=5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=steps), rng.normal(size=steps), np.arange(steps) < length


def returns_by_hand(reward, length, discount):
    returns = np.zeros(len(reward))
    for t in range(length):
        returns[t] = sum(discount ** (u - t) * reward[u] for u in range(t, length))
    return returns


def advantages_by_hand(reward, value, length, discount, gae_lambda):
    """Â_t = Σ_u (γλ)^u δ_{t+u}, with the value 0 after the last step."""
    following = np.append(value[1:length], 0.0)
    delta = reward[:length] + discount * following - value[:length]
    advantages = np.zeros(len(reward))
    for t in range(length):
        advantages[t] = sum((discount * gae_lambda) ** (u - t) * delta[u] for u in range(t, length))
    return advantages


def test_constant_reward_is_a_geometric_series():
    """G_t = (1 − γ^{T−t}) / (1 − γ) for r = 1."""
    returns = discounted_returns(np.ones(6), np.ones(6, bool), 0.9)
    np.testing.assert_allclose(returns, (1 - 0.9 ** np.arange(6, 0, -1)) / 0.1, rtol=1e-12)


@pytest.mark.parametrize("length", [1, 4, 7])
@pytest.mark.parametrize("discount", [0.0, 0.99, 1.0])
def test_returns_by_hand(length, discount):
    reward, _, valid = episode(length=length)
    actual = discounted_returns(reward, valid, discount)
    np.testing.assert_allclose(actual, returns_by_hand(reward, length, discount), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("length", [1, 4, 7])
@pytest.mark.parametrize("gae_lambda", [0.0, 0.97, 1.0])
def test_advantages_by_hand(length, gae_lambda):
    reward, value, valid = episode(length=length)
    actual = generalised_advantages(reward, value, valid, 0.9, gae_lambda)
    expected = advantages_by_hand(reward, value, length, 0.9, gae_lambda)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


def test_lambda_zero_is_the_temporal_difference():
    reward, value, valid = episode(length=5)
    actual = generalised_advantages(reward, value, valid, 0.9, 0.0)
    following = np.array([*value[1:5], 0.0])
    np.testing.assert_allclose(actual[:5], reward[:5] + 0.9 * following - value[:5], rtol=1e-12)


def test_lambda_one_is_return_minus_value():
    reward, value, valid = episode(length=5)
    actual = generalised_advantages(reward, value, valid, 0.9, 1.0)
    expected = np.where(valid, discounted_returns(reward, valid, 0.9) - value, 0.0)
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-14)


@given(
    seed=st.integers(0, 2**16),
    length=st.integers(1, 7),
    garbage=st.sampled_from([np.nan, np.inf, -np.inf, 1e300]),
)
def test_padding_changes_nothing(seed, length, garbage):
    reward, value, valid = episode(seed, length=length)
    junk_reward, junk_value = np.where(valid, reward, garbage), np.where(valid, value, garbage)
    clean = discounted_returns(reward, valid, 0.9), generalised_advantages(reward, value, valid, 0.9, 0.8)
    junk = (
        discounted_returns(junk_reward, valid, 0.9),
        generalised_advantages(junk_reward, junk_value, valid, 0.9, 0.8),
    )
    np.testing.assert_array_equal(junk, clean)
    assert not np.any(np.asarray(junk)[:, length:])


def test_padding_gets_no_gradient():
    reward, value, valid = episode(length=4)
    value = np.where(valid, value, np.nan)

    def first(reward, value):
        return generalised_advantages(reward, value, valid, 0.9, 0.8)[0]

    gradient = jax.grad(first, argnums=(0, 1))(jnp.asarray(reward), jnp.asarray(value))
    np.testing.assert_allclose(gradient[0], [*0.72 ** np.arange(4), 0, 0, 0], rtol=1e-12)
    assert np.isfinite(gradient[1]).all()
    assert not np.any(gradient[1][4:])
