import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesp.estimators import losses

pytestmark = pytest.mark.usefixtures("float64")

masked_mean = eqx.filter_jit(losses.masked_mean)
policy_gradient_loss = eqx.filter_jit(losses.policy_gradient_loss)
clipped_surrogate_loss = eqx.filter_jit(losses.clipped_surrogate_loss)


def batch(seed=0, shape=(3, 4)):
    rng = np.random.default_rng(seed)
    valid = rng.random(shape) < 0.6
    valid[0, 0] = True
    return rng.normal(size=shape), rng.normal(size=shape), valid


def surrogate_of_log_ratio(log_ratio, advantage, clip=0.2):
    """Loss and its derivative at a single step."""

    def loss(x):
        return clipped_surrogate_loss(x, jnp.zeros(1), jnp.full(1, advantage), jnp.ones(1, bool), clip)

    value, gradient = jax.value_and_grad(loss)(jnp.full(1, log_ratio))
    return float(value), float(gradient[0])


@given(seed=st.integers(0, 2**16), garbage=st.sampled_from([np.nan, np.inf, -1e300]))
def test_masked_mean(seed, garbage):
    values, _, valid = batch(seed)
    spoiled = np.where(valid, values, garbage)
    value, gradient = jax.value_and_grad(masked_mean)(jnp.asarray(spoiled), valid)
    np.testing.assert_allclose(value, values[valid].mean(), rtol=1e-12)
    np.testing.assert_allclose(gradient, valid / valid.sum(), rtol=1e-12)


def test_masked_mean_of_nothing():
    assert masked_mean(jnp.full(3, np.nan), np.zeros(3, bool)) == 0


def test_policy_gradient_loss():
    """−mean over valid steps, not over all steps and not a sum."""
    log_p, advantages, valid = batch()
    expected = -sum(log_p[i] * advantages[i] for i in zip(*np.nonzero(valid), strict=True)) / valid.sum()
    np.testing.assert_allclose(policy_gradient_loss(log_p, advantages, valid), expected, rtol=1e-12)


def test_surrogate_at_ratio_one_is_a_policy_gradient():
    log_p, advantages, valid = batch()
    vanilla = jax.grad(policy_gradient_loss)(jnp.asarray(log_p), advantages, valid)
    surrogate = jax.grad(clipped_surrogate_loss)(jnp.asarray(log_p), log_p, advantages, valid, 0.2)
    np.testing.assert_allclose(surrogate, vanilla, rtol=1e-12)
    value = clipped_surrogate_loss(log_p, log_p, advantages, valid, 0.2)
    np.testing.assert_allclose(value, -advantages[valid].mean(), rtol=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "used", "moves"),
    [
        (1.5, 2.0, 1.2, False),  # already more probable than allowed, and good: no reason to go on
        (1.5, -2.0, 1.5, True),  # more probable and bad: pulled back with full force
        (0.5, -2.0, 0.8, False),  # already less probable than allowed, and bad: no reason to go on
        (0.5, 2.0, 0.5, True),  # less probable and good: pulled back with full force
        (1.1, 2.0, 1.1, True),
        (0.9, -2.0, 0.9, True),
    ],
)
def test_clipping(ratio, advantage, used, moves):
    value, gradient = surrogate_of_log_ratio(np.log(ratio), advantage)
    np.testing.assert_allclose(value, -used * advantage, rtol=1e-12)
    np.testing.assert_allclose(gradient, -ratio * advantage if moves else 0.0, rtol=1e-12)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e300])
def test_padding_changes_nothing(garbage):
    """Log-probabilities of both policies and advantages may hold anything in the padding."""
    log_p, advantages, valid = batch()
    behaviour = log_p + 0.1 * np.random.default_rng(1).normal(size=log_p.shape)
    spoil = [np.where(valid, x, sign * garbage) for x, sign in ((log_p, 1), (behaviour, -1), (advantages, 1))]
    clean = jax.value_and_grad(clipped_surrogate_loss)(jnp.asarray(log_p), behaviour, advantages, valid, 0.2)
    spoiled = jax.value_and_grad(clipped_surrogate_loss)(jnp.asarray(spoil[0]), *spoil[1:], valid, 0.2)
    np.testing.assert_array_equal(spoiled[0], clean[0])
    np.testing.assert_array_equal(spoiled[1], clean[1])
