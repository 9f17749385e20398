from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tesp
from helpers.modules import loaded
from tesp.building import build_family
from tesp.tasks import registry
from tesp.tasks.mujoco.family import MJCFFamily

PATH = Path(__file__).parents[2] / "examples" / "reacher_masses.py"


@pytest.fixture(scope="module")
def example():
    return loaded(PATH, "example_reacher_masses")


@pytest.fixture(scope="module")
def family(example):
    return example.reacher_masses()


def hold(family, tasks, actions, steps):
    """Returns, successes and the last transition when every simulation holds one action."""
    simulation = family.simulate(len(tasks), threads=1)
    simulation.reset(tasks)
    returns, arrived = np.zeros(len(tasks)), np.zeros(len(tasks), bool)
    for _ in range(steps):
        done = simulation.step(np.arange(len(tasks)), actions)
        returns += done.distance_reward
        arrived |= done.success
    return returns, arrived, done


def test_it_makes_the_same_family_from_its_options(example, family, monkeypatch):
    assert isinstance(family, MJCFFamily)
    assert (family.observation_size, family.action_size, family.task_size) == (8, 2, 4)
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    tesp.register_family("reacher-masses", example.reacher_masses)
    made = build_family(tesp.preset_config("reacher-masses", "quick", tasks_per_set=7))
    assert made.horizon == 50
    assert example.reacher_masses(**made.options).options == made.options == {"horizon": 50, "tasks_per_set": 7}


def test_the_masses_of_d2_are_none_of_training(example, family):
    sets = {name: drawn.tasks for name, drawn in family.sample_task_sets(0).items()}
    for name in ("train", "in_distribution"):
        factors = sets[name][:, 2:]
        assert example.MASSES[0] <= factors.min() < 0.6
        assert 1.4 < factors.max() <= example.MASSES[1]
    factors = sets["out_of_distribution"][:, 2:]
    lighter, heavier = (factors < example.MASSES[0]).all(axis=1), (factors > example.MASSES[1]).all(axis=1)
    assert (lighter | heavier).all()
    assert 20 < heavier.sum() < 80
    for tasks in sets.values():
        radius = np.linalg.norm(tasks[:, :2], axis=1)
        assert radius.min() >= example.NEAREST
        assert radius.max() <= example.FURTHEST


def test_masses_and_the_goals_mark_are_those_of_the_task(family):
    simulation = family.simulate(2)
    simulation.reset(np.array([[0.3, -0.4, 1.0, 1.0], [0.1, 0.7, 0.5, 2.0]]))
    first, second = (simulation.engine.batch.get_model(index) for index in range(2))
    np.testing.assert_allclose(first.body_mass, [0.0, 0.6, 0.4])
    np.testing.assert_allclose(second.body_mass, [0.0, 0.3, 0.8])
    np.testing.assert_array_equal(second.site("goal").pos, [0.1, 0.0, 0.7])


def test_heavier_links_sag_further(family):
    factors = np.array([0.3, 0.5, 1.0, 1.5, 2.0])
    tasks = np.column_stack([np.full((5, 2), 0.5), factors, factors])
    _, _, done = hold(family, tasks, np.zeros((5, 2)), 100)
    assert (np.diff(done.position[:, 1]) < -0.01).all()


def test_goals_can_be_reached_and_how_depends_on_the_masses(family):
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 21)] * 2), axis=-1).reshape(-1, 2)
    best = []
    for factor in (0.4, 2.0):
        returns, arrived, _ = hold(family, np.tile([0.5, 0.4, factor, factor], (len(grid), 1)), grid, 50)
        assert arrived.any()
        best.append(returns)
    light, heavy = best
    assert heavy.max() > -15
    assert heavy[light.argmax()] < heavy.max() - 3
    assert light[heavy.argmax()] < light.max() - 3


def test_reward_and_the_end_of_an_episode_are_what_the_functions_say(family):
    task = np.array([[0.0, -0.87, 1.0, 1.0], [0.0, -0.7, 1.0, 1.0]])
    simulation = family.simulate(2)
    start = simulation.reset(task)
    np.testing.assert_allclose(start, [[0, 1, -1, 0, 0, 0, 0, -0.9]] * 2, atol=1e-6)
    hanging = np.array([[-np.pi / 2 / 3.5, 0.0]] * 2)
    done = simulation.step(np.arange(2), hanging)
    np.testing.assert_allclose(done.distance, [0.03, 0.2], atol=1e-4)
    np.testing.assert_array_equal(done.success, [True, False])
    np.testing.assert_array_equal(done.terminated, done.success)
    np.testing.assert_array_equal(done.distance_reward, -done.distance)
    np.testing.assert_allclose(done.reward, -done.distance - 0.001 * np.sum(hanging**2, axis=1))


def test_arrival_needs_both_nearness_and_rest(example, family):
    sites = np.zeros((3, 2, 3))
    sites[:, family.body.model.site("fingertip").id] = [0.5, 0.0, 0.1]
    state = SimpleNamespace(
        task=np.array([[0.5, 0.03, 1, 1], [0.5, 0.03, 1, 1], [0.5, 0.01, 1, 1]]),
        qvel=np.array([[1.9, -1.9], [0.0, -2.1], [0.0, 0.0]]),
        derived={"site_xpos": sites},
        model=family.body.model,
    )
    np.testing.assert_array_equal(example.arrived(state), [True, False, False])
