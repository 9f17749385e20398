"""The classic tasks: bodies against Gymnasium's own, rewards and ends by hand, and what tasks there are."""

import copy

import gymnasium
import mujoco
import numpy as np
import pytest

from tesp.task_sets import TASK_SETS
from tesp.tasks.classic import ant, half_cheetah, humanoid, runners
from tesp.tasks.classic.parameters import BASES, parameter_count
from tesp.tasks.registry import make_family

from . import engine

#: By family, the environment of Gymnasium with its body.
OF_GYMNASIUM = {
    "half-cheetah-velocity-v1": "HalfCheetah-v5",
    "half-cheetah-direction-v1": "HalfCheetah-v5",
    "ant-direction-v1": "Ant-v5",
    "ant-goal-v1": "Ant-v5",
    "humanoid-direction-v1": "Humanoid-v5",
    "walker-parameters-v1": "Walker2d-v5",
    "hopper-parameters-v1": "Hopper-v5",
}
#: Those whose `x_velocity` there is the displacement of a generalised position.
PLANAR = [name for name in OF_GYMNASIUM if name.startswith(("half", "walker", "hopper"))]


@pytest.fixture(scope="module", params=OF_GYMNASIUM)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def family(name):
    return make_family(name)


@pytest.fixture(scope="module")
def theirs(name):
    """Gymnasium's environment; MuJoCo 4 warns of an attribute of some of its models."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    made = gymnasium.make(OF_GYMNASIUM[name], disable_env_checker=True)
    mujoco.set_mju_user_warning(before)
    yield made.unwrapped
    made.close()


def centre_of_mass(env):
    """x and y, at the very state."""
    data = mujoco.MjData(env.model)
    data.qpos[:] = env.data.qpos
    mujoco.mj_forward(env.model, data)
    return (env.model.body_mass @ data.xipos / env.model.body_mass.sum())[:2]


def expected_reward(name, task, v, action, at):
    """By hand, from the velocity over the step in the plane, the clipped action and the position after the step."""
    effort = np.sum(action**2)
    if name == "half-cheetah-velocity-v1":
        return -abs(v[0] - task[0]) - 0.05 * effort
    if name == "half-cheetah-direction-v1":
        return task[0] * v[0] - 0.05 * effort
    if name == "ant-goal-v1":
        return -abs(at[0] - task[0]) - abs(at[1] - task[1]) - 0.1 * effort
    if name == "ant-direction-v1":
        return v[0] * np.cos(task[0]) + v[1] * np.sin(task[0]) - 0.5 * effort + 1
    if name == "humanoid-direction-v1":
        return 1.25 * (v[0] * np.cos(task[0]) + v[1] * np.sin(task[0])) + 5 - 0.1 * 0.4**2 * effort
    return v[0] + 1 - 1e-3 * effort


def test_bodies_move_and_are_paid_as_in_gymnasium_stepped_one_by_one(name, family, theirs):
    simulation, generator = family.simulate(2, threads=1), np.random.default_rng(0)
    task = family.draw_task(generator)
    if "parameters" in name:
        task = np.zeros_like(task)
    simulation.reset(np.stack([task, task]))
    theirs.reset(seed=0)
    theirs.set_state(*(np.random.default_rng(1).normal(start, 0.02) for start in (theirs.init_qpos, theirs.init_qvel)))
    simulation.qpos[:], simulation.qvel[:] = theirs.data.qpos, theirs.data.qvel
    place = centre_of_mass if "humanoid" in name else lambda env: env.data.qpos[:2].copy()
    scale = theirs.model.actuator_ctrlrange[:, 1]
    assert (family.action_size, theirs.dt) == (
        len(scale),
        pytest.approx(family.body.model.opt.timestep * theirs.frame_skip),
    )
    for t, action in enumerate(generator.uniform(-1.2, 1.2, (12, family.action_size))):
        clipped, before = np.clip(action, -1, 1), place(theirs)
        observation, _, _, _, info = theirs.step(scale * clipped)
        done = simulation.step(np.array([1]), action[None])
        np.testing.assert_allclose(simulation.qpos[1], theirs.data.qpos, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(
            done.observation[0, -theirs.model.nv :], np.clip(theirs.data.qvel, *shown(name)), atol=1e-8
        )
        if name not in ("ant-goal-v1", "humanoid-direction-v1", "ant-direction-v1"):
            np.testing.assert_allclose(done.observation[0], observation, rtol=1e-8, atol=1e-9)
        v = (place(theirs) - before) / theirs.dt
        if name in PLANAR:
            assert v[0] == pytest.approx(info["x_velocity"], abs=1e-12)
        # Derived fields do not know at once of a state that was written.
        if t or "humanoid" not in name:
            assert done.reward[0] == pytest.approx(expected_reward(name, task, v, clipped, theirs.data.qpos), abs=1e-7)


def shown(name):
    return (-10, 10) if "parameters" in name else (-np.inf, np.inf)


def test_health_ends_episodes_where_they_say_so(name, family):
    """Only where the published code ends them, and at the same heights."""
    bounds = {"ant-direction-v1": (0.2, 1.0), "humanoid-direction-v1": (1.0, 2.0), "walker-parameters-v1": (0.8, 2.0)}
    ends = name in bounds or name == "hopper-parameters-v1"
    assert (family.when_unhealthy == "terminate") == ends
    assert (family.terminated, family.success) == (None, None)
    simulation = family.simulate(2, threads=1)
    simulation.reset(np.stack([family.draw_task(np.random.default_rng(0))] * 2))
    axis = 1 if name in PLANAR else 2
    simulation.qpos[0, axis] = 0.5 if ends and name != "ant-direction-v1" else 5.0
    if name == "hopper-parameters-v1":
        simulation.qpos[1, 2] = 0.1
    done = simulation.step(np.arange(2), np.zeros((2, family.action_size)))
    np.testing.assert_array_equal(done.terminated, [ends, False])


@pytest.mark.parametrize(
    ("healthy", "axis", "low", "high", "included"),
    [
        (ant.healthy, 2, 0.2, 1.0, True),
        (humanoid.healthy, 2, 1.0, 2.0, True),
        (runners.walker_healthy, 1, 0.8, 2.0, False),
        (runners.walker_healthy, 2, -1.0, 1.0, False),
        (runners.hopper_healthy, 1, 0.7, np.inf, False),
        (runners.hopper_healthy, 2, -0.2, 0.2, False),
        (runners.hopper_healthy, 4, -100, 100, False),
    ],
)
def test_bounds_of_health(healthy, axis, low, high, included):
    qpos = np.zeros((6, 6))
    qpos[:, 1] = 1.3
    if healthy in (ant.healthy, humanoid.healthy):
        qpos[:, 2] = 1.0
    bounds = np.array([low, high]) if np.isfinite(high) else np.array([low, low])
    away = 1e-9 if np.isfinite(high) else -1e-9
    qpos[:, axis] = [*bounds, bounds[0] + 1e-9, bounds[1] - away, bounds[0] - 1e-9, bounds[1] + abs(away)]
    expected = [included, included, True, True, False, not np.isfinite(high)]
    np.testing.assert_array_equal(healthy(engine.state(qpos, np.zeros((6, 6)))), expected)
    lost = engine.state(np.full((1, 6), np.nan), np.zeros((1, 6)))
    assert not healthy(lost).any()


def drawn(name, count=400):
    family = make_family(name, tasks_per_set=count)
    return [family.sample_task_sets(1)[task_set].tasks for task_set in TASK_SETS]


def assert_uniform(values, low, high):
    """Within the bounds, and their quarters hold a quarter each."""
    assert low <= values.min() < values.max() <= high
    shares = np.histogram(values, 4, (low, high))[0] / len(values)
    np.testing.assert_allclose(shares, 0.25, atol=0.08)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("half-cheetah-velocity-v1", (0, 3), (3, 4)),
        ("ant-direction-v1", (0, 1.5 * np.pi), (1.5 * np.pi, 2 * np.pi)),
        ("humanoid-direction-v1", (0, 1.5 * np.pi), (1.5 * np.pi, 2 * np.pi)),
    ],
)
def test_targets_and_angles(name, inside, outside):
    for tasks, bounds in zip(drawn(name), (inside, inside, outside), strict=True):
        assert_uniform(tasks[:, 0], *bounds)


def test_goals_are_uniform_by_area():
    for goals, (inner, outer) in zip(drawn("ant-goal-v1"), ((0, 3), (0, 3), (3, 4)), strict=True):
        assert_uniform(np.sum(goals**2, axis=1), inner**2, outer**2)
        assert_uniform(np.arctan2(goals[:, 1], goals[:, 0]), -np.pi, np.pi)


def test_directions_are_two_and_slopes_are_new():
    *inside, outside = drawn("half-cheetah-direction-v1")
    for tasks in (*inside, outside):
        assert set(tasks[:, 0]) == {-1.0, 1.0}
        assert abs(tasks[:, 0].mean()) < 0.2
    assert not np.concatenate(inside)[:, 1].any()
    assert_uniform(np.abs(outside[:, 1]), 0.1, 0.2)
    assert abs(np.sign(outside[:, 1]).mean()) < 0.2


@pytest.mark.parametrize("name", ["walker-parameters-v1", "hopper-parameters-v1"])
def test_exponents(name):
    first, second, outside = drawn(name, 40)
    assert not np.array_equal(first, second)
    for tasks in (first, second):
        assert_uniform(tasks.ravel(), -3, 3)
    assert_uniform(np.abs(outside).ravel(), 3, 4)
    assert abs(np.sign(outside).mean()) < 0.1


def test_slopes_turn_gravity():
    model = half_cheetah.half_cheetah_model()
    level, up = half_cheetah.gravity_on_slopes(np.array([[1.0, 0.0], [1.0, 0.2]]), model)
    np.testing.assert_array_equal(level, model.opt.gravity)
    np.testing.assert_allclose(up, 9.81 * np.array([-np.sin(0.2), 0, -np.cos(0.2)]))


@pytest.mark.parametrize("name", ["walker-parameters-v1", "hopper-parameters-v1"])
def test_random_parameters_are_factors_of_every_entry(name):
    """The walk of a model into which the values were written one by one."""
    family = make_family(name)
    plain = family.body.model
    task = family.draw_task(np.random.default_rng(3))
    assert len(task) == family.task_size == parameter_count(plain)
    model, left = copy.copy(plain), list(task)
    for field, base in BASES.items():
        values = getattr(model, field)
        for entry in np.ndindex(values.shape):
            if values[entry]:
                values[entry] *= base ** left.pop(0)
    assert not left
    data = mujoco.MjData(model)
    mujoco.mj_setConst(model, data)
    mujoco.mj_resetData(model, data)
    simulation = family.simulate(2, threads=1)
    simulation.reset(np.stack([np.zeros_like(task), task]))
    actions = np.random.default_rng(4).uniform(-1, 1, (10, family.action_size))
    for action in actions:
        data.ctrl[:] = action
        mujoco.mj_step(model, data, nstep=4)
        simulation.step(np.arange(2), np.stack([action, action]))
        np.testing.assert_allclose(simulation.qpos[1], data.qpos, rtol=1e-8, atol=1e-9)
    assert np.abs(simulation.qpos[1] - simulation.qpos[0]).max() > 1e-3


def test_loading_a_body_leaves_the_warnings_of_others_alone():
    def heard(_):
        pass

    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(heard)
    try:
        half_cheetah.gymnasium_model.__wrapped__("half_cheetah.xml")
        assert mujoco.get_mju_user_warning() is heard
    finally:
        mujoco.set_mju_user_warning(before)
