"""The arm in closed form is the arm that MuJoCo simulates."""

import dataclasses
import itertools
import math

import jax
import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesp.errors import ConfigurationError, NonFiniteError
from tesp.tasks.closed_form.arm import ArmEngine
from tesp.tasks.closed_form.blocks import BLOCK
from tesp.tasks.closed_form.planar_arm import _sine_of, _solve_with_stops, control_steps, read_arm
from tesp.tasks.reacher import JOINT_LIMIT, build_arm, reacher2, reacher4

from . import engine

COUNT = 8
EVERY = np.arange(COUNT)
FAR = np.full((COUNT, 2), 9.0)


def exact(family_class):
    """A family whose MuJoCo solves for the stops exactly, not to its default tolerance of 1e-8."""
    family = family_class()
    family.body.model.opt.tolerance = 0
    return family


FAMILIES = {2: (reacher2(), exact(reacher2)), 4: (reacher4(), exact(reacher4))}


def in_closed_form(family, count):
    return dataclasses.replace(family, engine=ArmEngine).simulate(count)


@pytest.fixture(params=FAMILIES)
def links(request):
    return request.param


def held_actions(seed: int, hold: int, size: int, steps: int = 100) -> np.ndarray:
    """Actions over the full range, each held for some steps so that the joints run into their stops."""
    drawn = np.random.default_rng(seed).uniform(-1, 1, (math.ceil(steps / hold), COUNT, size))
    return np.repeat(drawn, hold, axis=0)[:steps]


def past_stops(simulation) -> np.ndarray:
    return (np.abs(simulation.qpos[:, 1:]) > JOINT_LIMIT).sum(axis=1)


@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1), hold=st.integers(5, 30))
@pytest.mark.parametrize("links", FAMILIES)
def test_trajectories_are_those_of_the_engine(links, seed, hold):
    _, family = FAMILIES[links]
    by_engine, closed = family.simulate(COUNT, threads=1), in_closed_form(family, COUNT)
    np.testing.assert_array_equal(closed.reset(FAR), by_engine.reset(FAR))
    stopped = 0
    for action in held_actions(seed, hold, links):
        expected, done = by_engine.step(EVERY, action), closed.step(EVERY, action)
        stopped += past_stops(by_engine).astype(bool).sum()
    assert stopped > 0
    np.testing.assert_allclose(closed.qpos, by_engine.qpos, rtol=0, atol=1e-7)
    for entry in dataclasses.fields(expected):
        name = entry.name
        np.testing.assert_allclose(getattr(done, name), getattr(expected, name), rtol=0, atol=1e-6, err_msg=name)


def test_trajectories_are_those_of_the_engine_at_its_default_tolerance(links):
    family, _ = FAMILIES[links]
    by_engine, closed = family.simulate(COUNT, threads=1), in_closed_form(family, COUNT)
    by_engine.reset(FAR)
    closed.reset(FAR)
    for action in held_actions(1, 10, links):
        by_engine.step(EVERY, action)
        closed.step(EVERY, action)
    np.testing.assert_allclose(closed.qpos, by_engine.qpos, rtol=0, atol=1e-6)


def test_one_step_differs_by_rounding(links):
    _, family = FAMILIES[links]
    by_engine, closed = family.simulate(COUNT, threads=1), in_closed_form(family, COUNT)
    by_engine.reset(FAR)
    closed.reset(FAR)
    several = 0
    for action in np.sign(held_actions(2, 20, links)):
        closed.qpos[:], closed.qvel[:] = by_engine.qpos, by_engine.qvel
        by_engine.step(EVERY, action)
        closed.step(EVERY, action)
        several += (past_stops(by_engine) > 1).sum()
        np.testing.assert_allclose(closed.qpos, by_engine.qpos, rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(closed.qvel, by_engine.qvel, rtol=1e-12, atol=1e-12)
    assert (several > 0) == (links == 4)


@pytest.mark.parametrize("links", [1, 3])
def test_any_number_of_links(links):
    model = build_arm(links, 0.5, 0.7, 60.0)
    data = engine.start(model)
    angles, velocities = np.zeros((1, links)), np.zeros((1, links))
    for action in held_actions(3, 10, links, steps=40)[:, 0]:
        engine.control_step(model, data, action, 60.0)
        with jax.enable_x64(True):
            angles, velocities = control_steps(read_arm(model), angles, velocities, 60.0 * action[None])
    np.testing.assert_allclose(angles[0], data.qpos, rtol=0, atol=1e-7)
    np.testing.assert_allclose(velocities[0], data.qvel, rtol=0, atol=1e-6)
    assert np.abs(data.qpos).max() > 1


def test_energy_is_conserved_without_damping_actuators_and_stops():
    model = build_arm(4, 0.45, 0.65, 50.0)
    model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_ENERGY)
    nothing = (0.0,) * 4
    arm = dataclasses.replace(read_arm(model), damping=nothing, gain=nothing, limits=())
    data = engine.start(model)
    angles, velocities = np.zeros((1, 4)), np.array([[1.0, -0.6, 0.9, -1.2]])
    energies = []
    for _ in range(60):
        data.qpos[:], data.qvel[:] = angles[0], velocities[0]
        mujoco.mj_forward(model, data)
        energies.append(data.energy[1])
        with jax.enable_x64(True):
            angles, velocities = map(np.asarray, control_steps(arm, angles, velocities, np.ones((1, 4))))
    assert energies[0] > 1
    assert np.ptp(angles) > 1
    np.testing.assert_allclose(energies, energies[0], rtol=1e-6)


def test_subsets_take_the_same_trajectories():
    family, _ = FAMILIES[4]
    actions = np.random.default_rng(4).uniform(-1, 1, (10, COUNT, 4))
    together, apart = in_closed_form(family, COUNT), in_closed_form(family, COUNT)
    together.reset(FAR)
    apart.reset(FAR)
    whole = [together.step(EVERY, action) for action in actions]
    taken = np.zeros(COUNT, int)
    generator = np.random.default_rng(5)
    while (taken < 10).any():
        ids = np.flatnonzero((generator.random(COUNT) < 0.6) & (taken < 10))
        still = np.setdiff1d(EVERY, ids)
        before = apart.qpos[still], apart.qvel[still]
        done = apart.step(ids, actions[taken[ids], ids])
        for row, index in enumerate(ids):
            expected = whole[taken[index]]
            np.testing.assert_array_equal(done.observation[row], expected.observation[index])
            assert done.reward[row] == expected.reward[index]
        np.testing.assert_array_equal(apart.qpos[still], before[0])
        np.testing.assert_array_equal(apart.qvel[still], before[1])
        taken[ids] += 1
    np.testing.assert_array_equal(apart.qpos, together.qpos)


def test_many_arms_take_the_trajectories_of_few():
    arm, generator = read_arm(FAMILIES[4][0].body.model), np.random.default_rng(6)
    state = generator.uniform(-2.8, 2.8, (3, 2 * BLOCK + 9, 4)) * np.array([1.0, 3.0, 10.0])[:, None, None]
    with jax.enable_x64(True):
        whole = np.stack(control_steps(arm, *state))
        parts = [np.stack(control_steps(arm, *part)) for part in np.array_split(state, 5, axis=1)]
    np.testing.assert_allclose(whole, np.concatenate(parts, axis=1), rtol=0, atol=1e-11)
    assert np.abs(whole[0] - state[0]).max() > 0.1


@given(x=st.floats(-1e4, 1e4))
def test_sines_are_those_of_the_library(x):
    with jax.enable_x64(True):
        values = [float(_sine_of(np.float64(x), turn)) for turn in (0.0, 0.5)]
    np.testing.assert_allclose(values, [math.sin(x), math.cos(x)], rtol=0, atol=2e-15)


@given(seed=st.integers(0, 2**32 - 1))
def test_stops_push_or_let_go(seed):
    """f ≥ 0, w = A·f + b ≥ 0 and f·w = 0, against all sets of pushing stops."""
    generator = np.random.default_rng(seed)
    factor = generator.normal(size=(3, 3))
    assert_complementary(factor @ factor.T + 0.05 * np.eye(3), generator.normal(size=3))


def test_stops_do_not_go_round_in_circles():
    """Changing all stops that disagree at once would never end here (Curtis, Han and Robinson 2015)."""
    assert_complementary(np.array([[4.0, 5, -5], [5, 9, -5], [-5, -5, 7]]), np.array([2.0, 1.0, -3.0]))


@jax.jit
def solve_with_stops(mass, force, weight, reference):
    true = jax.numpy.array(True)
    stops = [(joint, true, 1.0, reference[joint], weight) for joint in range(3)]
    return jax.numpy.stack(_solve_with_stops([list(row) for row in mass], list(force), stops))


def assert_complementary(matrix: np.ndarray, offset: np.ndarray) -> None:
    """With M = (A − R)⁻¹ and θ̈ = M⁻¹·(force + f), stops at all joints push by f = −(θ̈ − reference)/R."""
    regularisation, reference = 0.01, np.array([0.3, -0.2, 0.5])
    compliance = matrix - regularisation * np.eye(3)
    mass = np.linalg.inv(compliance)
    force = mass @ (offset + reference)
    with jax.enable_x64(True):
        result = np.asarray(solve_with_stops(mass, force, 1 / regularisation, reference))
    push = np.maximum(0.0, reference - result) / regularisation
    np.testing.assert_allclose(mass @ result, force + push, rtol=0, atol=1e-8)
    solutions = []
    for pushing in itertools.product([False, True], repeat=3):
        chosen, candidate = np.array(pushing), np.zeros(3)
        candidate[chosen] = np.linalg.solve(matrix[np.ix_(chosen, chosen)], -offset[chosen])
        if (candidate >= 0).all() and (matrix @ candidate + offset >= -1e-12).all():
            solutions.append(candidate)
    np.testing.assert_allclose(push, solutions[0], rtol=1e-7, atol=1e-9)


def test_divergence_shows_as_nan_and_harms_nobody_else():
    simulation = in_closed_form(FAMILIES[4][0], COUNT)
    simulation.reset(FAR)
    simulation.qpos[1, 1] = np.nan
    done = simulation.step(EVERY, np.ones((COUNT, 4)))
    assert np.isnan(done.reward[1])
    assert np.isfinite(np.delete(done.observation, 1, axis=0)).all()
    assert np.isfinite(simulation.reset(FAR)).all()


def test_the_engine_is_an_option():
    family = reacher2(engine="closed-form")
    assert family.options["engine"] == "closed-form"
    assert reacher2(**family.options) == family
    assert reacher2().options["engine"] == "mujoco"
    assert isinstance(family.simulate(2).engine, ArmEngine)
    with pytest.raises(ConfigurationError, match="engine is 'bullet'"):
        reacher2(engine="bullet")
    for chosen in (family, reacher2()):
        with pytest.raises(ConfigurationError, match="count is 0"):
            chosen.simulate(0)
        with pytest.raises(ConfigurationError, match="threads is -1"):
            chosen.simulate(1, threads=-1)


def test_bad_arguments_are_named():
    simulation = in_closed_form(FAMILIES[2][0], COUNT)
    with pytest.raises(ConfigurationError, match="one finite goal"):
        simulation.reset(np.zeros((COUNT - 1, 2)))
    with pytest.raises(ConfigurationError, match="actions have shape"):
        simulation.step(EVERY, np.zeros((COUNT, 3)))
    with pytest.raises(NonFiniteError, match="simulation 0"):
        simulation.step(EVERY, np.full((COUNT, 2), np.nan))


def test_the_rest_of_the_process_stays_in_single_precision():
    simulation = in_closed_form(FAMILIES[2][0], COUNT)
    assert simulation.step(EVERY, np.ones((COUNT, 2))).observation.dtype == np.float64
    assert jax.numpy.ones(1).dtype == np.float32


def test_pictures_are_those_of_the_engine():
    family, _ = FAMILIES[4]
    pictures = []
    for simulation in (family.simulate(COUNT), in_closed_form(family, COUNT)):
        simulation.reset(np.full((COUNT, 2), 0.5))
        for _ in range(4):
            simulation.step(EVERY, np.ones((COUNT, 4)))
        pictures.append(simulation.render(3).astype(int))
        simulation.close()
        simulation.close()
    assert (np.abs(pictures[0] - pictures[1]) > 8).mean() < 1e-3
