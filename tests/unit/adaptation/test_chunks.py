"""Sums over chunks of steps: the same values and derivatives as over all steps at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tesp.adaptation import chunks
from tesp.adaptation.chunks import pack, sum_over_chunks


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(chunks, "ROWS", 8)


def problem(lengths=(7, 0, 3, 7)):
    valid = np.arange(7) < np.array(lengths)[:, None]
    x = np.random.default_rng(0).normal(size=(len(lengths), 7, 3)).astype(np.float32)
    return jnp.asarray(np.where(valid[..., None], x, np.nan)), jnp.asarray(valid)


class TestPack:
    def test_keeps_the_valid_steps_in_their_order(self):
        x, valid = problem()
        packed, exists = pack({"x": x}, valid)
        assert exists.shape == (4, 7)
        assert packed["x"].shape == (4, 7, 3)
        flat = np.ravel(exists)
        assert flat.tolist() == [True] * 17 + [False] * 11
        np.testing.assert_array_equal(np.reshape(packed["x"], (-1, 3))[flat], np.asarray(x)[np.asarray(valid)])

    @pytest.mark.parametrize(("lengths", "shape"), [((7,), (1, 7)), ((1, 2), (2, 7)), ((7, 7, 7, 7, 7), (5, 7))])
    def test_shapes(self, lengths, shape):
        x, valid = problem(lengths)
        assert pack(x, valid)[1].shape == shape


def value(parameters, chunk):
    """A sum over rows that is not linear in the parameters, and an auxiliary value."""
    w, b = parameters
    x, exists = chunk
    y = jnp.tanh(jnp.where(exists[:, None], x, 0.0) @ w + b)
    return jnp.sum(jnp.where(exists, y**2, 0.0)), jnp.sum(jnp.where(exists, y, 0.0))


def parameters():
    return jnp.array([0.3, -0.5, 0.8]), jnp.array(0.2)


def by_chunks(p):
    packed, exists = pack(*problem())
    return sum_over_chunks(value, p, (packed, exists), exists)


def at_once(p):
    x, valid = problem()
    return value(p, (x.reshape(-1, 3), valid.ravel()))


def test_value_and_gradient():
    (actual, auxiliary), gradient = jax.jit(jax.value_and_grad(by_chunks, has_aux=True))(parameters())
    (expected, other), expected_gradient = jax.value_and_grad(at_once, has_aux=True)(parameters())
    np.testing.assert_allclose((actual, auxiliary), (expected, other), rtol=1e-6)
    for one, two in zip(gradient, expected_gradient, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)
    np.testing.assert_allclose(by_chunks(parameters()), (expected, other), rtol=1e-6)


def test_second_derivative():
    def curvature(function):
        def slope(w):
            return jnp.sum(jax.grad(lambda w: function((w, parameters()[1]))[0])(w) ** 2)

        return jax.grad(slope)(parameters()[0])

    np.testing.assert_allclose(curvature(by_chunks), curvature(at_once), rtol=1e-4)


def test_under_vmap():
    several = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), parameters())
    actual = jax.vmap(jax.grad(lambda p: by_chunks(p)[0]))(several)
    expected = jax.vmap(jax.grad(lambda p: at_once(p)[0]))(several)
    for one, two in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_only_what_is_differentiated_is_computed():
    """Of two parameters with one differentiated, the other's gradient must not be computed along."""
    packed, exists = pack(*problem())
    w, b = parameters()
    text = str(jax.make_jaxpr(jax.grad(lambda b: sum_over_chunks(value, (w, b), (packed, exists), exists)[0]))(b))
    both = str(jax.make_jaxpr(jax.grad(lambda p: sum_over_chunks(value, p, (packed, exists), exists)[0]))((w, b)))
    assert text.count("dot_general") < both.count("dot_general")


def test_no_gradient_comes_from_the_auxiliary_value():
    gradient = jax.grad(lambda p: by_chunks(p)[1])(parameters())
    assert all(not np.any(g) for g in gradient)


def test_chunks_without_rows_are_skipped():
    calls = []

    def counted(parameters, chunk):
        jax.debug.callback(lambda: calls.append(None))
        return value(parameters, chunk)

    packed, exists = pack(*problem())
    jax.block_until_ready(jax.jit(lambda p: sum_over_chunks(counted, p, (packed, exists), exists))(parameters()))
    jax.effects_barrier()
    assert len(exists) == 4
    assert len(calls) == 3
