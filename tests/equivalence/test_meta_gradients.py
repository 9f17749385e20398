"""Meta-gradients of one task against central differences, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import reference
from helpers.data import condition_of, random_batch, random_context, tiny_tesp
from helpers.trees import assert_close, random_like
from tesp.adaptation.fast_update import inner_gradient
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.adaptation.task_objective import Experience, Past, readapt, task_objective
from tesp.types import Parameters

ALGORITHM = tiny_tesp(policy_units=(3,), encoder_units=2)
CONDITION = condition_of(ALGORITHM)
META = MetaUpdateSettings(clip=0.15, embedding_penalty=0.3)
SIZES = {"steps": 3}
WIDE = {"rate_bound": 10.0}  # rates large enough for the second order to matter

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def parameters():
    with jax.enable_x64(True):
        start = jax.jit(ALGORITHM.init)(jax.random.key(0))
        rates = random_like(start.adapted, 3, 0.5)
        return Parameters(random_like(start.adapted, 1, 0.5), rates, random_like(start.shared, 2, 0.25))


@pytest.fixture(scope="module")
def rounds():
    """Rounds 1, 2 and 3: two fast-updates and the round of the meta-update."""
    with jax.enable_x64(True):
        return [
            Past(random_context(10 * k, 2, **SIZES), jnp.zeros(2), random_batch(10 * k + 5, 3, **SIZES))
            for k in (1, 2, 3)
        ]


def inner_gradients(parameters, rounds, fast):
    """g_1 … g_K, one after the other."""
    adapted, gradients = parameters.adapted, []
    for past in rounds:
        gradient, _ = inner_gradient(CONDITION, adapted, parameters.shared, past.context, past.batch, fast)
        adapted = reference.descend(adapted, parameters.rates, gradient)
        gradients.append(gradient)
    return gradients


def experience_of(parameters, rounds, fast):
    *past, last = rounds
    gradients = jax.jit(lambda p, r: inner_gradients(p, r, fast))(parameters, past)
    history = tuple(past) if fast.second_order else ()
    total = jax.tree.map(lambda *g: jnp.asarray(np.sum(g, axis=0)), *gradients)
    return gradients, Experience(last, total, history)


def value_and_gradient(parameters, experience, fast):
    """Value and gradient of the objective, and θ^{K+1}."""

    def objective(p):
        return task_objective(CONDITION, p, experience, fast, META)[0], readapt(CONDITION, p, experience, fast)

    assert all(np.all(np.abs(leaf) < fast.rate_bound) for leaf in jax.tree.leaves(parameters.rates))
    return jax.jit(jax.value_and_grad(objective, has_aux=True))(parameters)


def assert_away_from_kinks(parameters, adapted, last):
    """Some steps are clipped and some are not, and none is close to the edge."""

    @jax.jit
    def ratios(adapted):
        return reference.ratios(parameters.shared, reference.encode(adapted, last.context.buffer), last.batch.episodes)

    ratio = np.asarray(ratios(adapted))[np.asarray(last.batch.episodes.valid)]
    assert np.abs(np.abs(ratio - 1) - META.clip).min() > 1e-3
    assert 0 < np.mean(np.abs(ratio - 1) < META.clip) < 1


def test_first_order(parameters, rounds):
    """Equal to the differences of the objective in which the inner gradients are numbers."""
    fast = FastUpdateSettings(**WIDE)
    gradients, experience = experience_of(parameters, rounds, fast)
    (value, adapted), actual = value_and_gradient(parameters, experience, fast)

    def frozen(p):
        return reference.first_order_objective(p, gradients, rounds[-1], META)

    assert_away_from_kinks(parameters, adapted, rounds[-1])
    expected, differences = reference.central_differences(frozen, parameters)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert_close(actual, differences, rtol=1e-6, atol=1e-9)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(actual))


@pytest.mark.parametrize("bound", [60.0, 0.01], ids=["free", "clipped"])
def test_second_order(parameters, rounds, bound):
    """Equal to the differences of the true function, which repeats the fast-updates at every parameter."""
    fast = FastUpdateSettings(second_order=True, inner_gradient_norm=bound, **WIDE)
    gradients, experience = experience_of(parameters, rounds, fast)
    (value, adapted), actual = value_and_gradient(parameters, experience, fast)

    def true(p):
        return reference.second_order_objective(p, rounds[:-1], rounds[-1], fast, META)

    norms = [np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(g))) for g in gradients]
    assert np.isclose(norms, bound).all() == (bound == 0.01), "clipped in the one case only"
    assert_away_from_kinks(parameters, adapted, rounds[-1])
    expected, differences = reference.central_differences(true, parameters)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert_close(actual, differences, rtol=1e-6, atol=1e-9)
    if bound == 60.0:
        plain = FastUpdateSettings(**WIDE)
        assert_orders_differ(differences, value_and_gradient(parameters, experience, plain)[1])


def assert_orders_differ(second, first):
    for name in Parameters._fields:
        both = zip(*(jax.tree.leaves(getattr(g, name)) for g in (second, first)), strict=True)
        assert max(np.abs(np.subtract(a, b)).max() for a, b in both) > 1e-5, name


def test_derivative_of_the_adapted_parameters(parameters, rounds):
    """First order: ∂θ^{K+1}/∂θ = 1, ∂θ^{K+1}/∂α = −Σ_k g_k, zero where a rate is beyond its bound."""
    fast = FastUpdateSettings(rate_bound=0.3)
    _, experience = experience_of(parameters, rounds, FastUpdateSettings(**WIDE))
    direction = random_like(parameters.adapted, 9)

    @jax.jit
    def backwards(p):
        _, pull = jax.vjp(lambda p: readapt(CONDITION, p, experience, fast), p)
        return pull(direction)[0]

    actual = backwards(parameters)
    assert_close(actual.adapted, direction, rtol=1e-12)
    inside = [np.abs(leaf) < 0.3 for leaf in jax.tree.leaves(parameters.rates)]
    assert 0 < np.mean(np.concatenate([np.ravel(x) for x in inside])) < 1
    leaves = map(jax.tree.leaves, (actual.rates, direction, experience.gradient_sum))
    for rate, v, g, free in zip(*leaves, inside, strict=True):
        np.testing.assert_allclose(rate, np.where(free, -v * g, 0.0), rtol=1e-12)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(actual.shared))
