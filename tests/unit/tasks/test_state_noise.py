import numpy as np
import pytest

from helpers.point import PointSimulation
from tesp.errors import ConfigurationError
from tesp.tasks.ant import ant
from tesp.tasks.point import PointFamily
from tesp.tasks.reacher import reacher2
from tesp.tasks.state_noise import StateNoise
from tesp.tasks.wheeled import wheeled

from . import engine

FAMILIES = {
    "point": PointFamily(),
    "wheeled": wheeled(),
    "reacher2": reacher2(),
    "closed form": reacher2(engine="closed-form"),
}
ALL = np.arange(3)


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def disturbed(family, sigma=0.1, seed=(5,), count=3):
    simulation = family.simulate(count, threads=1)
    simulation.disturb(sigma, seed)
    simulation.reset(np.full((count, 2), 9.0))
    return simulation


def walk(simulation, subsets):
    """Step the subsets one after the other with actions of each simulation's own; the observations, NaN if still."""
    seen = []
    for step, ids in enumerate(subsets):
        actions = np.random.default_rng(step).uniform(-1, 1, (3, 2))
        done = simulation.step(ids, actions[ids])
        observations = np.full((3, done.observation.shape[1]), np.nan)
        observations[ids] = done.observation
        seen.append(observations)
    return np.array(seen)


def test_noise_is_normal_with_the_given_deviation():
    drawn = StateNoise(0.3, (1, 2), 500, 40).draw(np.arange(500))
    assert drawn.shape == (500, 40)
    # four standard errors
    assert abs(drawn.mean()) < 4 * 0.3 / np.sqrt(20_000)
    assert abs(drawn.std() - 0.3) < 4 * 0.3 / np.sqrt(40_000)
    assert np.abs(drawn).max() > 3 * 0.3


def test_the_seed_the_resets_and_the_steps_determine_the_noise():
    first, again, other = (StateNoise(0.1, seed, 3, 2) for seed in ([7, 1], (7, 1), (7, 2)))
    drawn = first.draw(ALL)
    np.testing.assert_array_equal(again.draw(ALL), drawn)
    assert (other.draw(ALL) != drawn).all()
    second = first.draw(ALL)
    assert (second != drawn).all()
    for noise in (first, again):
        noise.restart()
    # one of them has drawn more than the other before the reset
    after = first.draw(ALL)
    np.testing.assert_array_equal(again.draw(ALL), after)
    assert (after != drawn).all()
    assert (after != second).all()


def test_another_deviation_scales_the_same_noise():
    one, two = (StateNoise(sigma, (7,), 3, 2).draw(ALL) for sigma in (0.1, 0.2))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-15)


def test_noise_does_not_depend_on_who_is_stepped():
    everyone, some = (StateNoise(0.1, (7,), 3, 2) for _ in range(2))
    for ids in ([0, 2], [1], [0, 1, 2]):
        np.testing.assert_array_equal(some.draw(np.array(ids)), everyone.draw(ALL)[ids])


def test_a_disturbed_simulation_goes_on_alike_whoever_else_is_stepped(family):
    everyone = walk(disturbed(family), [ALL] * 6)
    some = walk(disturbed(family), [ALL, ALL, *[np.array([0, 2])] * 4])
    np.testing.assert_array_equal(some[:, [0, 2]], everyone[:, [0, 2]])
    np.testing.assert_array_equal(some[:2, 1], everyone[:2, 1])


def test_every_reset_has_noise_of_its_own_however_long_the_episode_before(family):
    def two_episodes(steps, seed=(5,)):
        simulation = disturbed(family, seed=seed)
        first = walk(simulation, [ALL] * steps)
        simulation.reset(np.full((3, 2), 9.0))
        return first[:2], walk(simulation, [ALL] * 2)

    first, second = two_episodes(2)
    assert (first != second).all()
    np.testing.assert_array_equal(two_episodes(3), (first, second))
    assert (two_episodes(2, (6,))[0] != first).all()


def test_without_noise_again_it_is_the_undisturbed_simulation_bit_for_bit(family):
    plain = family.simulate(3, threads=1)
    plain.reset(np.full((3, 2), 9.0))
    expected = walk(plain, [ALL] * 4)
    simulation = disturbed(family, 0.1)
    assert (walk(simulation, [ALL] * 4) != expected).all()
    simulation.disturb(0.0, (5,))
    simulation.reset(np.full((3, 2), 9.0))
    np.testing.assert_array_equal(walk(simulation, [ALL] * 4), expected)


@pytest.mark.parametrize("family", [wheeled(), reacher2()], ids=lambda family: family.name)
def test_every_entry_of_the_state_is_disturbed_after_a_control_step(family):
    plain, noisy = family.simulate(400), disturbed(family, 0.2, count=400)
    plain.reset(np.full((400, 2), 9.0))
    for simulation in (plain, noisy):
        simulation.step(np.arange(400), np.full((400, 2), 0.5))
    difference = np.hstack([noisy.qpos - plain.qpos, noisy.qvel - plain.qvel])
    # four standard errors
    assert np.abs(difference.mean(axis=0)).max() < 4 * 0.2 / np.sqrt(400)
    assert np.abs(difference.std(axis=0) - 0.2).max() < 4 * 0.2 / np.sqrt(800)


def test_the_noise_stays_in_the_state(family):
    simulation, still = disturbed(family), np.zeros((1, 2))
    first = simulation.step(np.array([1]), still).position
    second = simulation.step(np.array([1]), still).position
    np.testing.assert_array_equal(simulation.positions[1], second[0])
    assert (first != second).all()
    if family.name == "point":
        noise = StateNoise(0.1, (5,), 3, 2)
        noise.restart()
        steps = [noise.draw(np.array([1])) for _ in range(2)]
        np.testing.assert_allclose(first, steps[0], atol=1e-15)
        np.testing.assert_allclose(second, steps[0] + steps[1], atol=1e-15)


def test_a_transition_is_that_of_the_disturbed_state(family):
    simulation, goal = disturbed(family), np.array([9.0, 9.0])
    actions = np.array([[0.3, -0.4], [2.0, 0.0]])
    done = simulation.step(np.array([0, 2]), actions)
    if family.name == "point":
        observed, position = simulation.positions, simulation.positions
    else:
        state = engine.state(simulation.qpos, simulation.qvel)
        observed, position = family.observe(state), family.position(state)
    np.testing.assert_array_equal(done.observation, observed[[0, 2]])
    np.testing.assert_array_equal(done.position, position[[0, 2]])
    distance = np.linalg.norm(position[[0, 2]] - goal, axis=1)
    np.testing.assert_allclose(done.distance, distance)
    np.testing.assert_allclose(done.reward, -distance - 0.001 * np.array([0.25, 1.0]))


def test_the_ants_orientation_stays_normalised_and_its_health_is_that_of_the_disturbed_state():
    family = ant()
    simulation = disturbed(family)
    plain = family.simulate(3)
    plain.reset(np.full((3, 2), 9.0))
    healths = []
    for _ in range(5):
        for one in (simulation, plain):
            done = one.step(ALL, np.zeros((3, 8)))
            np.testing.assert_allclose(np.linalg.norm(one.qpos[:, 3:7], axis=1), 1.0, rtol=0, atol=1e-12)
            np.testing.assert_array_equal(done.healthy, family.healthy(engine.state(one.qpos, one.qvel)))
            healths.append(done.healthy)
        assert (np.abs(simulation.qpos - plain.qpos) > 1e-6).all()
    assert not np.array(healths[::2]).all()
    assert np.array(healths[1::2]).all()


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_a_deviation_that_is_none_is_refused_and_changes_nothing(family, sigma):
    expected = walk(disturbed(family), [ALL] * 2)
    simulation = disturbed(family)
    with pytest.raises(ConfigurationError, match=rf"dynamics_noise = {sigma} is not possible; give a finite number"):
        simulation.disturb(sigma, (5,))
    np.testing.assert_array_equal(walk(simulation, [ALL] * 2), expected)


def test_a_simulation_need_not_offer_noise():
    with pytest.raises(ConfigurationError, match="PointSimulation has no dynamics noise; leave dynamics_noise at 0"):
        PointSimulation().disturb(0.1, (5,))
