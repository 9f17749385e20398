import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

from tesp.estimators import linear_baseline
from tesp.estimators.linear_baseline import features

fit = eqx.filter_jit(linear_baseline.fit)


def regression(rows=40, columns=5, seed=0):
    rng = np.random.default_rng(seed)
    valid = rng.random(rows) < 0.7
    return rng.normal(size=(rows, columns)), rng.normal(size=rows), valid


def test_features():
    observation = np.array([[[0.5, -20.0], [2.0, 30.0], [-1.0, 10.0]]])
    expected = [
        [0.5, -10.0, 0.25, 100.0, 0.0, 0.0, 0.0, 1.0],
        [2.0, 10.0, 4.0, 100.0, 1e-2, 1e-4, 1e-6, 1.0],
        [-1.0, 10.0, 1.0, 100.0, 2e-2, 4e-4, 8e-6, 1.0],
    ]
    np.testing.assert_allclose(features(jnp.asarray(observation)), [expected], rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_recovers_a_linear_target():
    feature, _, valid = regression(rows=400)
    weights = np.arange(1.0, 6.0)
    np.testing.assert_allclose(fit(feature, feature @ weights, valid), weights, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_is_ridge_regression_on_the_valid_rows():
    feature, target, valid = regression()
    kept, wanted = feature[valid], target[valid]
    expected = np.linalg.solve(kept.T @ kept + 1e-5 * np.eye(5), kept.T @ wanted)
    np.testing.assert_allclose(fit(feature, target, valid), expected, rtol=1e-10)
    unpenalised = np.linalg.lstsq(kept, wanted)[0]
    assert np.abs(expected - unpenalised).max() > 1e-8, "the comparison must be able to see the ridge"


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e300])
def test_padding_changes_nothing(garbage):
    feature, target, valid = regression()
    spoiled = fit(np.where(valid[:, None], feature, garbage), np.where(valid, target, garbage), valid)
    np.testing.assert_array_equal(spoiled, fit(feature, target, valid))


@pytest.mark.usefixtures("float64")
def test_collinear_features():
    """cos² + sin² = 1 is also among the features; the prediction does not suffer."""
    angle = np.linspace(0, 6, 60).reshape(3, 20)
    feature = features(jnp.asarray(np.stack([np.cos(angle), np.sin(angle)], -1))).reshape(60, -1)
    assert np.linalg.matrix_rank(feature) < feature.shape[1]
    target = 3 * np.cos(angle).ravel() - 2 * np.sin(angle).ravel() ** 2 + 5
    weights = fit(feature, target, np.ones(60, bool))
    np.testing.assert_allclose(feature @ weights, target, atol=1e-4)


def test_a_larger_ridge_after_a_singular_one():
    """In float32, 1024 + 1e-5 = 1024 is singular and 1024 + 1e-4 is not: the second try succeeds."""
    feature, target = np.full((1, 2), 32, np.float32), np.full(1, 7, np.float32)
    weights = fit(feature, target, np.ones(1, bool))
    assert np.isfinite(weights).all()
    np.testing.assert_allclose(feature @ weights, target, rtol=1e-3)


def test_at_most_five_tries():
    """1e-5 · 10⁴ = 0.1 is lost beside 2²², the next ridge, 1, would not be."""
    feature, target = np.full((1, 2), 2**11, np.float32), np.full(1, 7, np.float32)
    assert np.float32(2**22 + 0.1) == 2**22
    assert np.float32(2**22 + 1) != 2**22
    assert not np.isfinite(fit(feature, target, np.ones(1, bool))).all()


def test_the_fifth_try_counts():
    """2¹⁹ + 0.1 is the first to differ from 2¹⁹."""
    feature, target = np.full((2, 2), 2**9, np.float32), np.full(2, 7, np.float32)
    gram = np.float32(2**19)
    assert gram + np.float32(0.01) == gram
    assert gram + np.float32(0.1) != gram
    assert np.isfinite(fit(feature, target, np.ones(2, bool))).all()
