"""What all engine models share: the frame of the MJCF, how it looks, and the scaling of masses."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import mujoco
import numpy as np
from jaxtyping import Bool

from tesp.tasks.mujoco.state import State

#: Length of a physics step in seconds, and physics steps in a control step.
TIMESTEP = 0.01
SUBSTEPS = 5

#: Mass of everything that moves, in kilograms.
TOTAL_MASS = 24.0

#: The camera that pictures are taken from: above and behind, so that a circle of 2 m fits.
CAMERA = "overview"

_FRAME = """
<mujoco model="{name}">
  <compiler angle="radian"/>
  <option timestep="{timestep}" integrator="{integrator}" gravity="0 0 -9.81">
    <flag autoreset="disable"/>
  </option>
  <visual>
    <global offwidth="640" offheight="480" fovy="45"/>
    <headlight ambient="0.4 0.4 0.4" diffuse="0.35 0.35 0.35" specular="0 0 0"/>
    <quality shadowsize="4096" offsamples="4"/>
    <map znear="0.02"/>
  </visual>
  <statistic center="0 0 0" extent="2"/>
  <asset>
    <texture name="sky" type="skybox" builtin="gradient" rgb1="0.75 0.84 0.93" rgb2="0.96 0.97 0.99"
      width="128" height="768"/>
    <texture name="checker" type="2d" builtin="checker" rgb1="0.86 0.88 0.90" rgb2="0.80 0.83 0.86"
      width="256" height="256"/>
    <material name="floor" texture="checker" texrepeat="2 2" texuniform="true" reflectance="0"/>
    <material name="body" rgba="0.15 0.33 0.64 1" specular="0.2" shininess="0.3"/>
    <material name="limb" rgba="0.36 0.56 0.80 1" specular="0.2" shininess="0.3"/>
    <material name="tip" rgba="0.95 0.62 0.20 1" specular="0.2" shininess="0.3"/>
  </asset>
  {default}
  <worldbody>
    <light pos="-1 -1.5 6" dir="0.16 0.24 -1" diffuse="0.35 0.35 0.35" cutoff="60" castshadow="true"/>
    <camera name="{camera}" pos="0 -3.75 4.1" xyaxes="1 0 0 0 0.775 0.632" fovy="36"/>
    {world}
  </worldbody>
  <actuator>
    {actuators}
  </actuator>
  <keyframe>
    <key name="start" qpos="{start}"/>
  </keyframe>
</mujoco>
"""


def compile_model(
    *, name: str, integrator: str, default: str, world: str, actuators: str, start: tuple[float, ...]
) -> mujoco.MjModel:
    """Compile a model whose moving parts weigh 24 kg.

    A diverged state stays NaN, because the engine's own reset of such states is switched off.

    Args:
        name: The model's name.
        integrator: ``RK4`` or ``Euler``.
        default: The MJCF element ``default``; may be empty.
        world: MJCF of the floor and the bodies.
        actuators: MJCF of the actuators, in the order of the actions.
        start: Generalised positions at the start, in radians and metres; velocities start at zero.
    """
    model = mujoco.MjModel.from_xml_string(
        _FRAME.format(
            name=name,
            integrator=integrator,
            timestep=TIMESTEP,
            camera=CAMERA,
            default=default,
            world=world,
            actuators=actuators,
            start=" ".join(map(repr, start)),
        )
    )
    # Scales masses and inertias of all bodies but the world, which holds the static parts; the second
    # call brings the constants that the solver derives from them up to date.
    mujoco.mj_setTotalmass(model, TOTAL_MASS)
    mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def velocity_actuators(joints: list[str], limit: float) -> str:
    """Return MJCF of velocity actuators with gain 1 and control range ±limit rad/s, in the given order."""
    return "\n    ".join(
        f'<velocity name="{joint}" joint="{joint}" kv="1" ctrllimited="true" ctrlrange="{-limit} {limit}"/>'
        for joint in joints
    )


def never_falls(state: State) -> Bool[np.ndarray, " simulation"]:
    """Return true for every state: the health of bodies that cannot fall."""
    return np.ones(len(state.qpos), bool)
