import math

import mujoco
import numpy as np
import pytest

from tesp.tasks.reacher import build_arm, fingertip, reacher2, reacher4

from . import engine

ARMS = {2: (reacher2(), 0.75, 0.95, 100.0), 4: (reacher4(), 0.45, 0.65, 50.0)}

BY_HAND = """
<mujoco>
  <option integrator="RK4" timestep="0.01"/>
  <worldbody>
    <body pos="0 0 .1">
      <joint axis="0 0 1" armature="1" damping="1"/>
      <geom type="capsule" fromto="0 0 0 .75 0 0" size=".1" density="{density}"/>
      <body pos=".75 0 0">
        <joint axis="0 0 1" armature="1" damping="1" range="-160 160"/>
        <geom type="capsule" fromto="0 0 0 .75 0 0" size=".1" density="{density}"/>
        <geom pos=".95 0 0" size=".1" density="{density}"/>
      </body>
    </body>
  </worldbody>
</mujoco>
"""


@pytest.fixture(params=ARMS)
def arm(request):
    return request.param, *ARMS[request.param]


def test_facts(arm):
    links, family, link_length, tip_length, limit = arm
    model = family.body.model
    engine.assert_common(model, mujoco.mjtIntegrator.mjINT_RK4)
    names = [f"joint{number}" for number in range(1, links + 1)]
    assert engine.joint_names(model) == names
    engine.assert_velocity_actuators(model, names, limit)
    np.testing.assert_array_equal(model.jnt_type, mujoco.mjtJoint.mjJNT_HINGE)
    np.testing.assert_array_equal(model.jnt_axis, [[0, 0, 1]] * links)
    np.testing.assert_array_equal(model.jnt_limited, [0] + [1] * (links - 1))
    np.testing.assert_allclose(np.rad2deg(model.jnt_range[1:]), [[-160, 160]] * (links - 1))
    np.testing.assert_array_equal(model.jnt_margin, 0)
    np.testing.assert_array_equal(model.dof_armature, 1)
    np.testing.assert_array_equal(np.ravel(model.dof_damping), 1)
    np.testing.assert_array_equal(model.geom_contype, 0)
    np.testing.assert_array_equal(model.geom_conaffinity, 0)
    np.testing.assert_allclose(model.body_pos[1:], [[0, 0, 0.1]] + [[link_length, 0, 0]] * (links - 1))
    for number in range(1, links + 1):
        capsule = model.geom(f"link{number}")
        np.testing.assert_allclose(capsule.size[:2], [0.1, link_length / 2])
        np.testing.assert_allclose(capsule.pos, [link_length / 2, 0, 0], atol=1e-12)
    tip = model.geom("fingertip")
    assert tip.type[0] == mujoco.mjtGeom.mjGEOM_SPHERE
    assert tip.bodyid[0] == links
    np.testing.assert_allclose(tip.pos, [tip_length, 0, 0])
    assert tip.size[0] == 0.1


def test_masses_are_in_proportion_to_volumes(arm):
    links, family, link_length, _, _ = arm
    sphere = 4 / 3 * math.pi * 0.1**3
    capsule = sphere + math.pi * 0.1**2 * link_length
    density = 24 / (links * capsule + sphere)
    expected = [density * capsule] * (links - 1) + [density * (capsule + sphere)]
    np.testing.assert_allclose(family.body.model.body_mass[1:], expected)


def test_equals_a_model_written_by_hand():
    sphere = 4 / 3 * math.pi * 0.1**3
    density = 24 / (3 * sphere + 2 * math.pi * 0.1**2 * 0.75)
    by_hand = mujoco.MjModel.from_xml_string(BY_HAND.format(density=density))
    model = reacher2().body.model
    for name in ("body_mass", "body_inertia", "body_ipos", "body_invweight0", "dof_invweight0", "dof_M0"):
        np.testing.assert_allclose(getattr(model, name), getattr(by_hand, name), rtol=1e-12, atol=1e-12)


def test_fingertip_is_where_the_engine_puts_it(arm):
    links, family, link_length, tip_length, _ = arm
    data = mujoco.MjData(family.body.model)
    angles = np.random.default_rng(0).uniform(-2.5, 2.5, (20, links))
    tips = fingertip(angles, link_length, tip_length)
    for qpos, tip in zip(angles, tips, strict=True):
        data.qpos[:] = qpos
        mujoco.mj_forward(family.body.model, data)
        np.testing.assert_allclose(data.geom("fingertip").xpos, [*tip, 0.1], atol=1e-12)
        assert data.ncon == 0


def test_fingertip_of_a_square():
    quarter = math.pi / 2
    np.testing.assert_allclose(fingertip(np.array([0, quarter, quarter, quarter]), 2.0, 2.0), [0, 0], atol=1e-15)
    np.testing.assert_allclose(fingertip(np.array([quarter, -quarter]), 2.0, 3.0), [3.0, 2.0], atol=1e-15)


def test_nothing_collides_when_folded():
    model = reacher4().body.model
    data = mujoco.MjData(model)
    data.qpos[:] = [0.0, 2.7, 2.7, 2.7]
    mujoco.mj_forward(model, data)
    assert data.ncon == 0


def test_observation_order(arm):
    links, family, link_length, tip_length, _ = arm
    generator = np.random.default_rng(1)
    theta, omega = generator.normal(size=(2, 5, links))
    observation = family.observe(engine.state(theta, omega))
    assert observation.shape == (5, 3 * links + 2)
    np.testing.assert_array_equal(observation[..., :links], np.cos(theta))
    np.testing.assert_array_equal(observation[..., links : 2 * links], np.sin(theta))
    np.testing.assert_array_equal(observation[..., 2 * links : 3 * links], omega)
    np.testing.assert_array_equal(observation[..., 3 * links :], fingertip(theta, link_length, tip_length))


def energies(model: mujoco.MjModel, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Energy and joint velocities before each physics step, from a moving start without actuators."""
    model.opt.enableflags |= int(mujoco.mjtEnableBit.mjENBL_ENERGY)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
    data = engine.start(model)
    data.qvel[:] = np.linspace(0.6, -0.3, model.nv)
    values, velocities = [], []
    for _ in range(steps):
        mujoco.mj_forward(model, data)
        values.append(data.energy.sum())
        velocities.append(data.qvel.copy())
        mujoco.mj_step(model, data)
    assert np.abs(data.qpos[1:]).max() < np.deg2rad(160)
    assert np.abs(data.qpos).max() > 0.1
    return np.array(values), np.array(velocities)


def test_energy_is_conserved_without_damping_and_falls_with_it():
    model = build_arm(4, 0.45, 0.65, 50.0)
    model.dof_damping[:] = 0
    conserved, _ = energies(model, 100)
    np.testing.assert_allclose(conserved, conserved[0], rtol=1e-7)
    falling, velocities = energies(build_arm(4, 0.45, 0.65, 50.0), 100)
    assert (np.diff(falling) < 0).all()
    # Power of the dampers: dE/dt = −Σ_i 1·θ̇_i².
    lost = np.trapezoid(np.sum(velocities**2, axis=1), dx=0.01)
    np.testing.assert_allclose(falling[0] - falling[-1], lost, rtol=1e-3)
    assert lost > 0.1


def test_a_joint_stops_at_its_limit():
    family = reacher2()
    simulation = family.simulate(1)
    simulation.reset(np.zeros((1, 2)) + 5.0)
    angles = []
    for _ in range(80):
        simulation.step(np.arange(1), np.array([[0.0, 0.5]]))
        angles.append(np.rad2deg(simulation.qpos[0, 1]))
    assert max(angles) > 155
    assert max(angles) < 180
