import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.data import lengths_of
from helpers.trees import assert_close, assert_identical, random_like, task_slice
from tesp.networks import gru as module
from tesp.networks.gru import GRU

EPISODES, STEPS, INPUTS, UNITS = 4, 5, 3, 2

last_state, states = jax.jit(GRU.last_state), jax.jit(GRU.states)
create = jax.jit(lambda key: GRU.create(key, INPUTS, UNITS))


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    """Three segments, the last of them longer than the steps that are left."""
    monkeypatch.setattr(module, "SEGMENT", 2)


@pytest.fixture
def gru(float64):  # noqa: ARG001
    """Every weight and bias is different from every other, or a mix-up of gates would go unseen."""
    return random_like(create(jax.random.key(0)), seed=1, scale=0.7)


@pytest.fixture
def sequences(float64):  # noqa: ARG001
    rng = np.random.default_rng(2)
    lengths = lengths_of(rng, EPISODES, STEPS)
    return jnp.asarray(rng.normal(size=(EPISODES, STEPS, INPUTS))), jnp.asarray(np.arange(STEPS) < lengths[:, None])


@pytest.fixture
def start(float64):  # noqa: ARG001
    return jnp.asarray(np.random.default_rng(6).normal(size=(EPISODES, UNITS)))


def equinox_cell(gru):
    """Equinox's cell has the same gates in the same order, and keeps its weights transposed."""
    cell = eqx.nn.GRUCell(INPUTS, UNITS, key=jax.random.key(0))
    weights = gru.input_weight.T, gru.recurrent_weight.T, gru.bias, gru.candidate_bias
    return eqx.tree_at(lambda c: (c.weight_ih, c.weight_hh, c.bias, c.bias_n), cell, weights)


def reference(gru, inputs, valid):
    """A plain scan over one episode at a time, left to automatic differentiation."""
    return reference_states(gru, jnp.zeros((EPISODES, UNITS)), inputs, valid)[:, -1]


def reference_states(gru, start, inputs, valid):
    """Likewise, with the state after every step."""
    cell = equinox_cell(gru)

    def of_one_episode(start, inputs, valid):
        def step(state, x):
            following = jnp.where(x[1], cell(x[0], state), state)
            return following, following

        return jax.lax.scan(step, start, (inputs, valid))[1]

    return jax.vmap(of_one_episode)(start, inputs, valid)


def test_equals_equinox_step_by_step(gru, sequences):
    """Also: the state is the one after the last valid step."""
    inputs, valid = sequences
    cell, actual = jax.jit(equinox_cell(gru).__call__), last_state(gru, inputs, valid)
    for episode, length in enumerate(np.asarray(valid).sum(axis=1)):
        state = np.zeros(UNITS)
        for t in range(length):
            state = cell(np.asarray(inputs)[episode, t], state)
        np.testing.assert_allclose(actual[episode], state, rtol=1e-12, atol=1e-14)


def test_derivative_equals_automatic_differentiation(gru, sequences):
    inputs, valid = sequences
    weight = jnp.asarray(np.random.default_rng(3).normal(size=(EPISODES, UNITS)))

    def scalar(function):
        return jax.jit(jax.grad(lambda g, x: jnp.sum(weight * function(g, x, valid) ** 2), argnums=(0, 1)))

    actual, expected = scalar(GRU.last_state)(gru, inputs), scalar(reference)(gru, inputs)
    assert_close(actual, expected, rtol=1e-12, atol=1e-13)
    assert all(np.all(leaf) for leaf in jax.tree.leaves(expected[0])), "every weight must be put to the test"


def test_second_derivative_equals_automatic_differentiation(gru, sequences):
    """Second-order meta-gradients differentiate the hand-written backward pass."""
    inputs, valid = sequences
    direction = random_like(gru, seed=4)

    def curvature(function):
        def slope(g):
            gradient = jax.grad(lambda g: jnp.sum(function(g, inputs, valid) ** 2))(g)
            return sum(
                jnp.sum(a * b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
            )

        return jax.jit(jax.grad(slope))

    assert_close(curvature(GRU.last_state)(gru), curvature(reference)(gru), rtol=1e-11, atol=1e-12)


def test_derivative_under_vmap(gru, sequences):
    """Tasks are computed together, each with weights of its own."""
    inputs, valid = sequences
    many = jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), gru, random_like(gru, seed=5))

    def gradient(g, x):
        return jax.grad(lambda g: jnp.sum(g.last_state(x, valid) ** 2))(g)

    together = jax.jit(jax.vmap(gradient, in_axes=(0, None)))(many, inputs)
    alone = jax.jit(gradient)
    for task in range(2):
        assert_close(task_slice(together, task), alone(task_slice(many, task), inputs), rtol=1e-12)


class TestTheStatesOfAllSteps:
    def test_are_those_of_a_plain_scan(self, gru, start, sequences):
        inputs, valid = sequences
        actual = states(gru, start, inputs, valid)
        np.testing.assert_allclose(actual, reference_states(gru, start, inputs, valid), rtol=1e-12, atol=1e-14)
        np.testing.assert_array_equal(actual[0, 1:], np.broadcast_to(actual[0, 0], actual[0, 1:].shape))
        from_zero = states(gru, jnp.zeros_like(start), inputs, valid)
        np.testing.assert_array_equal(from_zero[:, -1], last_state(gru, inputs, valid))

    def test_are_made_one_by_one_too(self, gru, start, sequences):
        inputs, _ = sequences
        step, state = jax.jit(GRU.step), start
        for t in range(STEPS):
            state = step(gru, state, inputs[:, t])
        everywhere = states(gru, start, inputs, jnp.ones((EPISODES, STEPS), bool))
        np.testing.assert_allclose(state, everywhere[:, -1], rtol=1e-12, atol=1e-14)

    # In the padding too, where the state before it stands again; and where whole segments are left out.
    @pytest.mark.parametrize("longest", [STEPS, 2])
    def test_have_the_derivative_of_a_plain_scan(self, gru, start, sequences, longest):
        inputs, valid = sequences
        valid = valid & (np.arange(STEPS) < longest)
        weight = jnp.asarray(np.random.default_rng(3).normal(size=(EPISODES, STEPS, UNITS)))

        def scalar(function):
            def total(gru, start, inputs):
                return jnp.sum(weight * function(gru, start, inputs, valid) ** 2)

            return jax.jit(jax.grad(total, argnums=(0, 1, 2)))

        actual, expected = (scalar(f)(gru, start, inputs) for f in (GRU.states, reference_states))
        assert_close(actual, expected, rtol=1e-12, atol=1e-13)
        assert all(np.all(leaf) for leaf in jax.tree.leaves(expected[:2])), "every weight must be put to the test"

    def test_do_not_depend_on_what_stands_in_the_padding(self, gru, start, sequences):
        inputs, valid = sequences

        def total(gru, start, inputs):
            return jnp.sum(gru.states(start, inputs, valid) ** 2)

        slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
        assert_identical(slope(gru, start, jnp.where(valid[..., None], inputs, jnp.nan)), slope(gru, start, inputs))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e300])
def test_padding_changes_nothing(gru, sequences, garbage):
    inputs, valid = sequences
    value_and_gradient = jax.jit(jax.value_and_grad(lambda g, x: jnp.sum(g.last_state(x, valid) ** 2), argnums=(0, 1)))
    clean = value_and_gradient(gru, inputs)
    spoiled = value_and_gradient(gru, jnp.where(valid[..., None], inputs, garbage))
    assert_identical(spoiled, clean)
    assert not np.any(np.asarray(clean[1][1])[~np.asarray(valid)])


@pytest.mark.parametrize(("longest", "segments"), [(0, 0), (1, 1), (2, 1), (4, 2), (5, 3)])
def test_segments_that_no_episode_reaches_are_skipped(gru, sequences, monkeypatch, longest, segments):
    """Forwards and backwards."""
    calls = []

    def counted(name, original):
        def call(*arguments):
            jax.debug.callback(lambda: calls.append(name))
            return original(*arguments)

        monkeypatch.setattr(module, name, call)

    counted("_advance", module._advance)
    counted("_retreat", module._retreat)
    inputs, valid = sequences
    valid = valid & (np.arange(STEPS) < longest)
    valid = valid.at[1].set(np.arange(STEPS) < longest)
    for function in (GRU.last_state, lambda g, *given: g.states(jnp.zeros((EPISODES, UNITS)), *given)):
        calls.clear()
        jax.block_until_ready(jax.jit(jax.grad(lambda g, f=function: jnp.sum(f(g, inputs, valid))))(gru))
        jax.effects_barrier()
        assert sorted(calls) == ["_advance"] * segments + ["_retreat"] * segments


@pytest.mark.parametrize(("steps", "shape"), [(5, (3, 2)), (4, (2, 2)), (1, (1, 1)), (7, (4, 2))])
def test_segments(steps, shape):
    x = jnp.arange(2 * steps).reshape(2, steps)
    cut = module.in_segments(x)
    assert cut.shape == (*shape, 2)
    flat = cut.reshape(-1, 2).T
    np.testing.assert_array_equal(flat[:, :steps], x)
    assert not np.any(flat[:, steps:])


def test_initial_weights():
    gru = create(jax.random.key(0))
    for gate in np.split(np.asarray(gru.recurrent_weight), 3, axis=1):
        np.testing.assert_allclose(gate.T @ gate, np.eye(UNITS), atol=1e-6)
    bound = np.sqrt(6 / (INPUTS + 3 * UNITS))
    assert 0.5 * bound < np.abs(gru.input_weight).max() <= bound
    assert not np.any(gru.bias)
    assert not np.any(gru.candidate_bias)
