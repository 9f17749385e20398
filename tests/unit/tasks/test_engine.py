import mujoco
import numpy as np
import pytest
from mujoco.batch import Batch, SimulationError

from tesp.errors import NonFiniteError
from tesp.tasks.ant import ant
from tesp.tasks.reacher import reacher2, reacher4
from tesp.tasks.wheeled import wheeled

from . import engine

FAMILIES = {"wheeled": (wheeled(), 50.0), "ant": (ant(), 50.0)}
FAMILIES |= {"reacher2": (reacher2(), 100.0), "reacher4": (reacher4(), 50.0)}


@pytest.fixture(params=FAMILIES)
def family_and_limit(request):
    return FAMILIES[request.param]


def test_equals_a_plain_loop_over_the_engine(family_and_limit):
    family, limit = family_and_limit
    simulation = family.simulate(3, threads=2)
    simulation.reset(np.full((3, 2), 9.0))
    actions = np.random.default_rng(0).uniform(-1, 1, (15, 3, family.action_size))
    plain = [engine.start(family.body.model) for _ in range(3)]
    for action in actions:
        done = simulation.step(np.arange(3), action)
        for index, data in enumerate(plain):
            engine.control_step(family.body.model, data, action[index], limit)
            np.testing.assert_array_equal(simulation.qpos[index], data.qpos)
            np.testing.assert_array_equal(simulation.qvel[index], data.qvel)
    for index, data in enumerate(plain):
        np.testing.assert_array_equal(done.observation[index], family.observe(engine.state(data.qpos, data.qvel))[0])
    assert plain[0].time == pytest.approx(15 * 0.05)


def test_position_is_that_after_the_step_not_one_substep_before(family_and_limit):
    family, limit = family_and_limit
    simulation = family.simulate(1)
    simulation.reset(np.full((1, 2), 9.0))
    data = engine.start(family.body.model)
    point = {"ant": "torso", "wheeled": "box"}.get(family.name, "fingertip")
    action = np.full((1, family.action_size), 0.7)
    for _ in range(4):
        done = simulation.step(np.arange(1), action)
        engine.control_step(family.body.model, data, action[0], limit)
    late = data.geom(point).xpos[:2].copy()
    mujoco.mj_kinematics(family.body.model, data)
    np.testing.assert_allclose(done.position[0], data.geom(point).xpos[:2], atol=1e-12)
    assert not np.allclose(late, data.geom(point).xpos[:2], rtol=0, atol=1e-9)


def test_divergence_shows_as_nan_and_harms_nobody_else(family_and_limit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the engine writes a log where it meets NaN
    family, _ = family_and_limit
    simulation = family.simulate(2, threads=1)
    simulation.reset(np.full((2, 2), 9.0))
    simulation.qpos[1, 0] = np.nan
    done = simulation.step(np.arange(2), np.zeros((2, family.action_size)))
    assert np.isfinite(done.observation[0]).all()
    assert np.isfinite(done.reward[0])
    assert not np.isfinite(done.observation[1]).all()
    assert np.isnan(done.reward[1])
    assert np.isfinite(simulation.reset(np.zeros((2, 2)))).all()


def test_an_error_of_the_engine_is_reported_as_ours(monkeypatch):
    simulation = reacher2().simulate(2)
    simulation.reset(np.zeros((2, 2)))

    def fail(*_, **__):
        raise SimulationError(np.array([1]), "stack overflow", 2)

    monkeypatch.setattr(Batch, "step", fail)
    with pytest.raises(NonFiniteError, match=r"physics state became NaN.*stack overflow"):
        simulation.step(np.arange(2), np.zeros((2, 2)))


def test_single_precision_actions_are_taken_as_they_are():
    family = wheeled()
    action = np.random.default_rng(0).uniform(-1, 1, (1, 2)).astype(np.float32)
    outcomes = []
    for given in (action, action.astype(np.float64)):
        simulation = family.simulate(1)
        simulation.reset(np.ones((1, 2)))
        outcomes.append(simulation.step(np.arange(1), given))
    np.testing.assert_array_equal(outcomes[0].observation, outcomes[1].observation)
    assert outcomes[0].reward == outcomes[1].reward


def test_goals_are_kept_apart_from_the_callers_array():
    simulation = wheeled().simulate(1)
    tasks = np.array([[0.3, 0.4]])
    simulation.reset(tasks)
    tasks[:] = 7.0
    simulation.tasks[:] = 8.0
    np.testing.assert_array_equal(simulation.tasks, [[0.3, 0.4]])
    done = simulation.step(np.arange(1), np.zeros((1, 2)))
    assert done.distance[0] == pytest.approx(0.5, abs=1e-3)


def test_looks_do_not_touch_the_dynamics():
    model = reacher4().body.model
    assert model.body("world").geomnum[0] == 2
    assert model.ntex > 0
    assert model.nmocap == 0
