import mujoco
import numpy as np
import pytest

from tesp.errors import ConfigurationError
from tesp.tasks.ant import ant

from . import engine

FAMILY = ant()
MODEL = FAMILY.body.model
SIGNS = {1: (1, 1), 2: (-1, 1), 3: (-1, -1), 4: (1, -1)}
STILL = np.zeros((1, 8))


def test_facts():
    engine.assert_common(MODEL, mujoco.mjtIntegrator.mjINT_RK4)
    legs = [f"{part}{leg}" for leg in (1, 2, 3, 4) for part in ("hip", "ankle")]
    assert engine.joint_names(MODEL) == ["root", *legs]
    engine.assert_velocity_actuators(
        MODEL, ["hip4", "ankle4", "hip1", "ankle1", "hip2", "ankle2", "hip3", "ankle3"], 50.0
    )
    assert MODEL.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
    np.testing.assert_array_equal(MODEL.jnt_limited, [0] + [1] * 8)
    np.testing.assert_array_equal(MODEL.jnt_margin, 0)
    np.testing.assert_array_equal(MODEL.dof_armature, [0] * 6 + [1] * 8)
    np.testing.assert_array_equal(np.ravel(MODEL.dof_damping), [0] * 6 + [1] * 8)
    assert (MODEL.nq, MODEL.nv) == (15, 14)


@pytest.mark.parametrize(
    ("leg", "axis", "limits"),
    [
        (1, (-1, 1, 0), (30, 70)),
        (2, (1, 1, 0), (-70, -30)),
        (3, (-1, 1, 0), (-70, -30)),
        (4, (1, 1, 0), (30, 70)),
    ],
)
def test_legs(leg, axis, limits):
    u, v = SIGNS[leg]
    hip, ankle = MODEL.joint(f"hip{leg}"), MODEL.joint(f"ankle{leg}")
    np.testing.assert_array_equal(hip.axis, [0, 0, 1])
    np.testing.assert_allclose(np.rad2deg(hip.range), [-30, 30])
    np.testing.assert_allclose(ankle.axis, np.array(axis) / np.sqrt(2))
    np.testing.assert_allclose(np.rad2deg(ankle.range), limits)
    np.testing.assert_array_equal(hip.pos, 0)
    np.testing.assert_array_equal(ankle.pos, 0)
    np.testing.assert_allclose(MODEL.body(f"leg{leg}").pos, [0.08 * u, 0.08 * v, 0])
    np.testing.assert_allclose(MODEL.body(f"foot{leg}").pos, [0.1 * u, 0.1 * v, 0])
    for name, length in ((f"shoulder{leg}", 0.08), (f"leg{leg}", 0.1), (f"foot{leg}", 0.16)):
        geom = MODEL.geom(name)
        assert geom.type[0] == mujoco.mjtGeom.mjGEOM_CAPSULE
        np.testing.assert_allclose(geom.size[:2], [0.04, length / np.sqrt(2)])
        np.testing.assert_allclose(geom.pos, [length * u / 2, length * v / 2, 0], atol=1e-12)


def test_geoms():
    torso, floor = MODEL.geom("torso"), MODEL.geom("floor")
    assert torso.type[0] == mujoco.mjtGeom.mjGEOM_SPHERE
    assert torso.size[0] == 0.1
    assert MODEL.ngeom == 14
    moving = np.flatnonzero(MODEL.geom_bodyid)
    np.testing.assert_array_equal(MODEL.geom_conaffinity[moving], 0)
    np.testing.assert_array_equal(MODEL.geom_contype, 1)
    np.testing.assert_array_equal(MODEL.geom_friction[moving], [[1, 0.5, 0.5]] * 13)
    np.testing.assert_array_equal(MODEL.geom_condim, 3)
    np.testing.assert_array_equal(MODEL.geom_margin, 0.005)
    assert floor.type[0] == mujoco.mjtGeom.mjGEOM_PLANE
    assert floor.conaffinity[0] == 1


def test_start():
    observation = FAMILY.simulate(1).reset(np.ones((1, 2)))[0]
    np.testing.assert_array_equal(observation, [0, 0, 0.25, 1, 0, 0, 0, 0, 1, 0, -1, 0, -1, 0, 1, *[0] * 14])
    data = engine.start(MODEL)
    mujoco.mj_forward(MODEL, data)
    # Upper leg level, feet down at 1 rad: the ankle's axis turns the diagonal straight downwards.
    for leg, (u, v) in SIGNS.items():
        tip = data.body(f"foot{leg}").xpos + data.body(f"foot{leg}").xmat.reshape(3, 3) @ [
            0.16 * u,
            0.16 * v,
            0,
        ]
        reach = 0.18 + 0.16 * np.cos(1.0)
        np.testing.assert_allclose(tip, [reach * u, reach * v, 0.25 - 0.16 * np.sqrt(2) * np.sin(1.0)], atol=1e-12)


def test_margins_of_ant_and_floor_add_up():
    data = engine.start(MODEL)
    lowest = 0.25 - 0.16 * np.sqrt(2) * np.sin(1.0) - 0.04
    for gap, contacts in ((0.009, 4), (0.011, 0)):
        data.qpos[2] = 0.25 - lowest + gap
        mujoco.mj_forward(MODEL, data)
        assert data.ncon == contacts


def test_it_settles_upright_without_action():
    simulation = FAMILY.simulate(1)
    simulation.reset(np.full((1, 2), 5.0))
    for _ in range(60):
        done = simulation.step(np.arange(1), STILL)
        assert done.healthy[0]
        assert not done.terminated[0]
    quaternion = simulation.qpos[0, 3:7]
    up = 1 - 2 * (quaternion[1] ** 2 + quaternion[2] ** 2)
    assert up > 0.99
    assert 0.2 < simulation.qpos[0, 2] < 0.25
    assert np.abs(simulation.qvel[0]).max() < 0.05


def test_only_the_floor_is_touched():
    data = engine.start(MODEL)
    floor = MODEL.geom("floor").id
    seen = 0
    for action in np.random.default_rng(0).uniform(-1, 1, (30, 8)):
        engine.control_step(MODEL, data, action, 50.0)
        for contact in data.contact:
            assert floor in contact.geom
            seen += 1
    assert seen > 30


@pytest.mark.parametrize(
    ("change", "healthy"),
    [({}, True), ({2: 0.15}, True), ({2: 0.1499}, False), ({2: 0.45}, True), ({2: 0.4501}, False),
     ({0: np.nan}, False), ({9: np.inf}, False)],
)  # fmt: skip
def test_healthy_states(change, healthy):
    qpos = engine.start(MODEL).qpos.copy()
    for index, value in change.items():
        qpos[index] = value
    velocities = np.zeros((2, 14))
    velocities[1, 3] = np.nan
    np.testing.assert_array_equal(FAMILY.healthy(engine.state(np.stack([qpos, qpos]), velocities)), [healthy, False])


@pytest.mark.parametrize("option", ["terminate", "continue"])
@pytest.mark.parametrize("broken", ["upside down", "low", "nan"])
def test_unhealthy(option, broken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the engine writes a log where it meets NaN
    simulation = ant(when_unhealthy=option).simulate(2, threads=1)
    simulation.reset(np.full((2, 2), 5.0))
    if broken == "upside down":
        simulation.qpos[1, 2:7] = [0.10, 0, 1, 0, 0]
    elif broken == "low":
        simulation.qpos[1, 2] = 0.08
        simulation.qpos[1, [8, 14]] = 0.55
        simulation.qpos[1, [10, 12]] = -0.55
    else:
        simulation.qvel[1, 0] = np.nan
    done = simulation.step(np.arange(2), np.zeros((2, 8)))
    np.testing.assert_array_equal(done.healthy, [True, False])
    np.testing.assert_array_equal(done.terminated, [False, option == "terminate"])
    assert not done.success.any()
    assert np.isnan(done.observation[1]).any() == (broken == "nan")


def test_unknown_option_is_named():
    with pytest.raises(ConfigurationError, match="when_unhealthy is 'ignore'"):
        ant(when_unhealthy="ignore")
