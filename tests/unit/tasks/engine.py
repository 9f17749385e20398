"""A plain loop over one MjData, written without the library's simulation, to compare with it."""

import mujoco
import numpy as np

from tesp.tasks.mujoco.state import State


def state(qpos: np.ndarray, qvel: np.ndarray) -> State:
    """What a family's functions see: the positions and velocities of n simulations."""
    qpos, qvel = np.atleast_2d(qpos).copy(), np.atleast_2d(qvel).copy()
    count, model = len(qpos), mujoco.MjModel.from_xml_string("<mujoco/>")
    nothing = np.zeros((count, 0))
    return State(qpos, qvel, nothing, nothing, np.zeros(count), np.zeros((count, 2)), {}, model, qpos, {})


def start(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    return data


def control_step(model: mujoco.MjModel, data: mujoco.MjData, action: np.ndarray, speed_limit: float) -> None:
    data.ctrl[:] = speed_limit * action
    for _ in range(5):
        mujoco.mj_step(model, data)


def joint_names(model: mujoco.MjModel) -> list[str]:
    return [model.joint(index).name for index in range(model.njnt)]


def assert_velocity_actuators(model: mujoco.MjModel, joints: list[str], speed_limit: float) -> None:
    """force = 1·(control − joint velocity), on the given joints in this order."""
    assert model.nu == len(joints)
    assert model.na == 0
    assert [model.joint(joint).name for joint in model.actuator_trnid[:, 0]] == joints
    np.testing.assert_array_equal(model.actuator_trntype, mujoco.mjtTrn.mjTRN_JOINT)
    np.testing.assert_array_equal(model.actuator_ctrlrange, [[-speed_limit, speed_limit]] * len(joints))
    np.testing.assert_array_equal(model.actuator_ctrllimited, 1)
    np.testing.assert_array_equal(model.actuator_gainprm[:, 0], 1)
    np.testing.assert_array_equal(model.actuator_biasprm[:, :3], [[0, 0, -1]] * len(joints))
    np.testing.assert_array_equal(model.actuator_gear[:, 0], 1)
    np.testing.assert_array_equal(model.actuator_forcelimited, 0)


def assert_common(model: mujoco.MjModel, integrator: mujoco.mjtIntegrator) -> None:
    """Time step, gravity, integrator, total mass, engine defaults, and nothing static that weighs."""
    assert model.opt.timestep == 0.01
    assert model.opt.integrator == integrator
    np.testing.assert_array_equal(model.opt.gravity, [0, 0, -9.81])
    assert model.opt.disableflags == int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    assert model.opt.enableflags == 0
    default = mujoco.MjModel.from_xml_string("<mujoco/>").opt
    for name in ("cone", "solver", "iterations", "tolerance", "impratio", "density", "viscosity"):
        assert getattr(model.opt, name) == getattr(default, name)
    assert model.body_mass[0] == 0
    np.testing.assert_allclose(model.body_mass.sum(), 24, rtol=1e-13)
    np.testing.assert_allclose(model.body_subtreemass[0], 24, rtol=1e-13)
    assert (model.body_weldid[1:] == np.arange(1, model.nbody)).all()
