import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import reference
from helpers.data import condition_of, random_batch, random_context, tiny_tesp, with_garbage
from helpers.trees import assert_close, assert_identical, random_like
from tesp.adaptation.fast_update import bounded_rates, descend, fast_update, inner_gradient
from tesp.adaptation.objective import vanilla_loss
from tesp.adaptation.settings import FastUpdateSettings
from tesp.errors import ConfigurationError

ALGORITHM = tiny_tesp()
CONDITION = condition_of(ALGORITHM)


@pytest.fixture(scope="module")
def problem():
    """(adapted, rates, shared, context, batch) of one task in float32, far from the small initial weights."""
    start = jax.jit(ALGORITHM.init)(jax.random.key(0))
    adapted, shared = random_like(start.adapted, 1, 0.7), random_like(start.shared, 2, 0.7)
    rates = random_like(start.adapted, 3, 0.08)  # some beyond the bound of 0.1
    return adapted, rates, shared, random_context(4, 3), random_batch(5, 4)


@pytest.fixture(scope="module")
def update():
    return jax.jit(lambda *arguments: fast_update(CONDITION, *arguments, FastUpdateSettings()))


def test_is_a_clipped_rate_times_the_gradient(problem, update):
    """θ^{k+1} = θ^k − clip(α, ±0.1) ∘ g, with g of the second, plain derivation."""
    adapted, rates, shared, context, batch = problem
    actual = update(*problem)
    expected = jax.jit(lambda a: reference.inner_gradient(a, shared, context.buffer, *batch, 60.0))(adapted)
    assert_close(actual.gradient, expected, rtol=1e-4, atol=1e-6)
    assert any(np.any(np.abs(leaf) > 0.1) for leaf in jax.tree.leaves(rates))
    for new, old, rate, g in zip(*map(jax.tree.leaves, (actual.adapted, adapted, rates, expected)), strict=True):
        np.testing.assert_allclose(new, old - np.clip(rate, -0.1, 0.1) * g, rtol=1e-4, atol=1e-6)


def test_gradient_is_clipped_to_a_global_norm(problem, update):
    """One factor for all leaves; the norm reported is the one before clipping."""
    adapted, _, shared, context, batch = problem
    _, free, norm = update(*problem)
    leaves = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(free)])
    np.testing.assert_allclose(np.linalg.norm(leaves), norm, rtol=1e-5)
    assert 0.01 < norm < 60
    settings = FastUpdateSettings(inner_gradient_norm=0.01)
    tight, same_norm = jax.jit(lambda a: inner_gradient(CONDITION, a, shared, context, batch, settings))(adapted)
    np.testing.assert_allclose(same_norm, norm, rtol=1e-6)
    assert_close(tight, jax.tree.map(lambda g: np.asarray(g) * 0.01 / np.asarray(norm), free), rtol=1e-4, atol=1e-8)


def test_no_gradient_without_advantages(problem, update):
    """A zero gradient is a fixed point, not 0/0."""
    *others, batch = problem
    still = update(*others, batch._replace(advantages=jnp.zeros_like(batch.advantages)))
    assert_identical(still.adapted, problem[0])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(still.gradient))


def test_second_order_passes_through_a_zero_gradient(problem):
    """Where there is nothing to learn, θ^{k+1} = θ^k and its derivative is 1, not 0/0."""
    adapted, *others, batch = problem
    nothing = batch._replace(advantages=jnp.zeros_like(batch.advantages))

    def total(adapted):
        updated = fast_update(CONDITION, adapted, *others, nothing, FastUpdateSettings())
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(updated.adapted))

    assert_identical(jax.jit(jax.grad(total))(adapted), jax.tree.map(np.ones_like, adapted))


def test_gradient_comes_through_the_embedding_alone(problem, update):
    """g = (∂h/∂θ)ᵀ ∂L(τ^k)/∂h, where h is of the buffer."""
    adapted, _, shared, context, batch = problem

    def chain_rule(adapted):
        h, backwards = jax.vjp(lambda a: a(context.buffer), adapted)
        return backwards(jax.grad(lambda h: vanilla_loss(shared, h, batch))(h))[0]

    assert_close(update(*problem).gradient, jax.jit(chain_rule)(adapted), rtol=1e-5, atol=1e-7)


def test_the_batch_is_not_encoder_input(problem, update):
    """The rewards of τ^k are seen by an encoder only: the loss works with advantages."""
    *others, batch = problem
    changed = dataclasses.replace(batch.episodes, reward=2 * batch.episodes.reward)
    assert_identical(update(*others, batch._replace(episodes=changed)), update(*problem))


def test_the_buffer_is_encoder_input(problem, update):
    """The rewards of B^{k−1} are."""
    adapted, rates, shared, context, batch = problem
    other = dataclasses.replace(context.buffer, reward=2 * context.buffer.reward)
    changed = update(adapted, rates, shared, context._replace(buffer=other), batch)
    for a, b in zip(*map(jax.tree.leaves, (changed.gradient, update(*problem).gradient)), strict=True):
        assert not np.allclose(a, b, rtol=1e-3)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_padding_changes_nothing(problem, update, garbage):
    """Neither padding of the buffer nor of the batch, advantages included."""
    assert_identical(update(*with_garbage(problem, garbage)), update(*problem))


def test_rates_outside_the_bound_get_no_gradient():
    rates = jnp.array([-0.2, -0.05, 0.0, 0.05, 0.2])
    np.testing.assert_allclose(bounded_rates(rates, 0.1), [-0.1, -0.05, 0.0, 0.05, 0.1])
    slope = jax.grad(lambda r: jnp.sum(bounded_rates(r, 0.1)))(rates)
    np.testing.assert_array_equal(slope, [0, 1, 1, 1, 0])


def test_one_scalar_rate_is_the_same_rate_everywhere(problem):
    adapted = problem[0]
    gradient = random_like(adapted, 7)
    everywhere = jax.tree.map(lambda x: np.full_like(x, 0.05), adapted)
    step = jax.jit(descend)
    assert_close(step(adapted, np.float32(0.05), gradient), step(adapted, everywhere, gradient), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"), [("fast_updates", -1), ("rate_bound", 0.0), ("inner_gradient_norm", float("nan"))]
)
def test_impossible_settings(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} = {value}"):
        FastUpdateSettings(**{name: value})
