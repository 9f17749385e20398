import jax
import numpy as np
import pytest
import scipy.stats

from tesp import distributions

pytestmark = pytest.mark.usefixtures("float64")

kl_divergence = jax.jit(distributions.kl_divergence)
log_probability = jax.jit(distributions.log_probability)


def gaussians(seed=0, shape=(5, 3)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), 0.5 * rng.normal(size=shape), rng.normal(size=shape), 0.5 * rng.normal(size=shape)


def test_log_probability_is_the_joint_density():
    mean, log_std, action, _ = gaussians()
    expected = [
        scipy.stats.multivariate_normal(m, np.diag(np.exp(2 * s))).logpdf(a)
        for m, s, a in zip(mean, log_std, action, strict=True)
    ]
    np.testing.assert_allclose(log_probability(mean, log_std, action), expected, rtol=1e-12)


def test_log_probability_sums_over_dimensions():
    """Independent entries: two equal dimensions have twice the log density of one."""
    mean, log_std, action, _ = gaussians(shape=(4, 1))
    one = log_probability(mean, log_std, action)
    two = log_probability(*(np.repeat(x, 2, axis=-1) for x in (mean, log_std, action)))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-12)


def test_kl_of_known_pairs():
    """Shift by m at unit width: m²/2. Width σ against 1: (σ² − 1)/2 − log σ. Dimensions add up."""
    zero = np.zeros((1, 2))
    np.testing.assert_allclose(kl_divergence(np.array([[3.0, 4.0]]), zero, zero, zero), 12.5, rtol=1e-12)
    wide = np.array([[np.log(2.0), 0.0]])
    np.testing.assert_allclose(kl_divergence(zero, wide, zero, zero), 1.5 - np.log(2), rtol=1e-12)
    np.testing.assert_allclose(kl_divergence(zero, zero, zero, wide), np.log(2) - 0.375, rtol=1e-12)


def test_kl_is_the_expected_log_ratio():
    """KL(p ‖ q) = E_p[log p − log q], by Monte Carlo to within five standard errors."""
    mean, log_std, other_mean, other_log_std = (x[0] for x in gaussians(1))
    noise = np.random.default_rng(2).normal(size=(100_000, 3))
    action = mean + np.exp(log_std) * noise
    p, q = (mean + 0 * action, log_std + 0 * action), (other_mean + 0 * action, other_log_std + 0 * action)
    ratio = np.asarray(log_probability(*p, action) - log_probability(*q, action))
    exact = kl_divergence(mean, log_std, other_mean, other_log_std)
    error = ratio.std() / np.sqrt(ratio.size)
    assert abs(ratio.mean() - exact) < 5 * error
    reverse = kl_divergence(other_mean, other_log_std, mean, log_std)
    assert abs(exact - reverse) > 20 * error, "the comparison must be able to tell the direction"


def test_kl_to_itself_is_zero():
    mean, log_std, _, _ = gaussians(3)
    np.testing.assert_array_equal(kl_divergence(mean, log_std, mean, log_std), 0)
