"""A car on two driven wheels that turns by driving them at different speeds."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Bool, Float

from tesp.tasks.goal_family import make_presets
from tesp.tasks.mujoco_family import MujocoFamily, always_healthy
from tesp.tasks.scenery import compile_model, velocity_actuators

#: Control range of the wheels' velocity actuators, ± rad/s.
SPEED_LIMIT = 50.0

# The wheels are turned by 1.57 rad, not by π/2: this is a fact of the published model.
_WHEEL = """
<body name="{side}_wheel" pos="0 {offset} 0">
  <joint name="{side}_wheel" type="hinge" axis="0 1 0" pos="0 0 0.5"/>
  <geom name="{side}_wheel" type="cylinder" size="0.1 0.046" pos="0 0 0.5" euler="1.57 0 0" material="limb"/>
</body>
"""

_WORLD = f"""
<geom name="floor" type="plane" size="6 6 1" conaffinity="1" material="floor"/>
<body name="car" pos="0 0 -0.4">
  <joint name="x" type="slide" axis="1 0 0"/>
  <joint name="y" type="slide" axis="0 1 0"/>
  <joint name="z" type="slide" axis="0 0 1" limited="true" range="-1 0.03"/>
  <joint name="heading" type="hinge" axis="0 0 1"/>
  <geom name="box" type="box" pos="0 0 0.6" size="0.15 0.1 0.046" material="body"/>
  {_WHEEL.format(side="right", offset=-0.2)}
  {_WHEEL.format(side="left", offset=0.2)}
</body>
"""

_DEFAULT = """
<default>
  <joint margin="0.01" armature="0" damping="0"/>
  <geom contype="1" conaffinity="0" condim="3" friction="0.4 0.4 0.4" solref="0.02 1" solimp="0 0.8 0.01"/>
</default>
"""

PRESETS = make_presets(
    units=(256, 256),
    encoder=256,
    embedding=8,
    penalty=0.01,
    scaled={"episodes_per_round": 6, "buffer_size": 4},
)


@dataclass(frozen=True, kw_only=True)
class WheeledFamily(MujocoFamily):
    """The car. Actions: the speeds of the −y wheel and of the +y wheel, scaled to ±50 rad/s.

    State: slides x, y, z (m), heading (rad), the two wheels' angles (rad).
    Observation: x, y, z, sin and cos of the heading, then the velocities of these first four joints.
    """

    name: str = field(init=False, default="wheeled")
    observation_size: int = field(init=False, default=9)
    action_size: int = field(init=False, default=2)
    arrival: float = field(init=False, default=0.02)

    @property
    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Configuration values that suit the car, by preset name."""
        return PRESETS

    def build_model(self) -> mujoco.MjModel:
        """Compile the car."""
        return compile_model(
            name="wheeled",
            integrator="Euler",
            default=_DEFAULT,
            world=_WORLD,
            actuators=velocity_actuators(["right_wheel", "left_wheel"], SPEED_LIMIT),
            start=(0.0,) * 6,
        )

    def position(self, qpos: Float[np.ndarray, "*batch nq"]) -> Float[np.ndarray, "*batch 2"]:
        """Return the car's x and y in metres."""
        return qpos[..., :2]

    def observe(
        self, qpos: Float[np.ndarray, "*batch nq"], qvel: Float[np.ndarray, "*batch nv"]
    ) -> Float[np.ndarray, "*batch observation"]:
        """Return x, y, z, sin ψ, cos ψ, ẋ, ẏ, ż, ψ̇ with the heading ψ."""
        heading = qpos[..., 3:4]
        return np.concatenate([qpos[..., :3], np.sin(heading), np.cos(heading), qvel[..., :4]], axis=-1)

    def healthy(
        self,
        qpos: Float[np.ndarray, "*batch nq"],
        qvel: Float[np.ndarray, "*batch nv"],
    ) -> Bool[np.ndarray, "*batch"]:
        """Return true for every state: the car cannot fall."""
        return always_healthy(qpos)
