import mujoco
import numpy as np
import pytest

from tesp.tasks.wheeled import wheeled

from . import engine

FAMILY = wheeled()
MODEL = FAMILY.body.model


def drive(right: float, left: float, steps: int):
    """State after each control step, with the given actions."""
    simulation = FAMILY.simulate(1)
    simulation.reset(np.full((1, 2), 50.0))
    states = []
    for _ in range(steps):
        simulation.step(np.arange(1), np.array([[right, left]]))
        states.append(np.concatenate([simulation.qpos[0], simulation.qvel[0]]))
    return np.array(states)


def test_facts():
    engine.assert_common(MODEL, mujoco.mjtIntegrator.mjINT_EULER)
    assert engine.joint_names(MODEL) == ["x", "y", "z", "heading", "right_wheel", "left_wheel"]
    slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
    np.testing.assert_array_equal(MODEL.jnt_type, [slide] * 3 + [hinge] * 3)
    np.testing.assert_array_equal(MODEL.jnt_axis, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(MODEL.jnt_pos, [[0, 0, 0]] * 4 + [[0, 0, 0.5]] * 2)
    np.testing.assert_array_equal(MODEL.jnt_limited, [0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(MODEL.jnt_range[2], [-1, 0.03])
    np.testing.assert_array_equal(MODEL.jnt_margin, 0.01)
    np.testing.assert_array_equal(MODEL.dof_armature, 0)
    np.testing.assert_array_equal(np.ravel(MODEL.dof_damping), 0)
    engine.assert_velocity_actuators(MODEL, ["right_wheel", "left_wheel"], 50.0)
    np.testing.assert_allclose(MODEL.body_pos[1:], [[0, 0, -0.4], [0, -0.2, 0], [0, 0.2, 0]])


def test_geoms():
    box, floor = MODEL.geom("box"), MODEL.geom("floor")
    np.testing.assert_array_equal(box.size, [0.15, 0.10, 0.046])
    np.testing.assert_array_equal(box.pos, [0, 0, 0.6])
    assert floor.type[0] == mujoco.mjtGeom.mjGEOM_PLANE
    assert floor.bodyid[0] == 0
    np.testing.assert_array_equal(floor.pos, 0)
    for side in ("right", "left"):
        wheel = MODEL.geom(f"{side}_wheel")
        assert wheel.type[0] == mujoco.mjtGeom.mjGEOM_CYLINDER
        np.testing.assert_array_equal(wheel.size[:2], [0.1, 0.046])
        np.testing.assert_array_equal(wheel.pos, [0, 0, 0.5])
        np.testing.assert_allclose(wheel.quat, [np.cos(0.785), np.sin(0.785), 0, 0], atol=1e-9)
    moving = np.flatnonzero(MODEL.geom_bodyid)
    np.testing.assert_array_equal(MODEL.geom_contype, 1)
    np.testing.assert_array_equal(MODEL.geom_conaffinity[moving], 0)
    assert floor.conaffinity[0] == 1
    np.testing.assert_array_equal(MODEL.geom_condim, 3)
    np.testing.assert_array_equal(MODEL.geom_friction, [[0.4] * 3] * 4)
    np.testing.assert_array_equal(MODEL.geom_solref, [[0.02, 1]] * 4)
    np.testing.assert_array_equal(MODEL.geom_solimp[:, :3], [[0, 0.8, 0.01]] * 4)
    np.testing.assert_array_equal(MODEL.geom_margin, 0)


def test_mass_is_shared_by_volume():
    box, wheel = 8 * 0.15 * 0.10 * 0.046, np.pi * 0.1**2 * 0.092
    expected = 24 * np.array([box, wheel, wheel]) / (box + 2 * wheel)
    np.testing.assert_allclose(MODEL.body_mass[1:], expected)


def test_only_the_floor_is_touched():
    data = engine.start(MODEL)
    floor = MODEL.geom("floor").id
    touched = set()
    for action in np.random.default_rng(0).uniform(-1, 1, (40, 2)):
        engine.control_step(MODEL, data, action, 50.0)
        for contact in data.contact:
            assert floor in contact.geom
            touched |= {MODEL.geom(int(geom)).name for geom in contact.geom}
    assert touched == {"floor", "right_wheel", "left_wheel"}


def test_equal_speeds_drive_straight_on():
    states = drive(0.1, 0.1, 40)
    x, y, heading = states[:, 0], states[:, 1], states[:, 3]
    speed, wheels = states[-1, 6], states[-1, 10:12]
    assert (np.diff(x) > 0).all()
    assert x[-1] > 0.5
    np.testing.assert_allclose(wheels, 5.0, rtol=0.1)
    np.testing.assert_allclose(speed, 0.1 * wheels.mean(), rtol=0.1)
    assert np.abs(y).max() < 0.02 * x[-1] + 0.01
    assert np.abs(heading).max() < 0.05


def test_opposite_speeds_turn_in_place():
    states = drive(0.1, -0.1, 20)
    assert states[-1, 3] > 0.5
    assert np.hypot(states[:, 0], states[:, 1]).max() < 0.05
    mirrored = drive(-0.1, 0.1, 20)
    np.testing.assert_allclose(mirrored[-1, 3], -states[-1, 3], rtol=0.05)


def test_it_stands_still_without_action():
    states = drive(0.0, 0.0, 20)
    np.testing.assert_allclose(states[:, :2], 0, atol=1e-3)
    assert np.abs(states[:, 2]).max() < 0.02


@pytest.mark.parametrize("count", [1, 4])
def test_observation_order(count):
    generator = np.random.default_rng(1)
    qpos, qvel = generator.normal(size=(2, count, 6))
    state = engine.state(qpos, qvel)
    observation = FAMILY.observe(state)
    assert observation.shape == (count, 9)
    np.testing.assert_array_equal(observation[..., :3], qpos[..., :3])
    np.testing.assert_allclose(observation[..., 3], np.sin(qpos[..., 3]))
    np.testing.assert_allclose(observation[..., 4], np.cos(qpos[..., 3]))
    np.testing.assert_array_equal(observation[..., 5:], qvel[..., :4])
    np.testing.assert_array_equal(FAMILY.position(state), qpos[..., :2])


def test_first_observation():
    np.testing.assert_array_equal(FAMILY.simulate(1).reset(np.ones((1, 2)))[0], [0, 0, 0, 0, 1, 0, 0, 0, 0])
