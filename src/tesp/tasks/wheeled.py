"""A car on two driven wheels that turns by driving them at different speeds."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

from functools import cache
from typing import Unpack

import mujoco
import numpy as np
from jaxtyping import Float

from tesp.tasks.goals.goals import GoalOptions, Goals
from tesp.tasks.mujoco.family import MJCFFamily
from tesp.tasks.mujoco.scenery import compile_model, never_falls, velocity_actuators
from tesp.tasks.mujoco.state import State

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


@cache
def build_model() -> mujoco.MjModel:
    """Compile the car. State: slides x, y, z (m), heading (rad), the two wheels' angles (rad)."""
    return compile_model(
        name="wheeled",
        integrator="Euler",
        default=_DEFAULT,
        world=_WORLD,
        actuators=velocity_actuators(["right_wheel", "left_wheel"], SPEED_LIMIT),
        start=(0.0,) * 6,
    )


def position(state: State) -> Float[np.ndarray, "simulation 2"]:
    """Return the car's x and y in metres."""
    return state.qpos[:, :2]


def observe(state: State) -> Float[np.ndarray, "simulation 9"]:
    """Return x, y, z, sin ψ, cos ψ, ẋ, ẏ, ż, ψ̇ with the heading ψ."""
    heading = state.qpos[:, 3:4]
    return np.concatenate([state.qpos[:, :3], np.sin(heading), np.cos(heading), state.qvel[:, :4]], axis=1)


def wheeled(*, horizon: int = 200, tasks_per_set: int = 100, **options: Unpack[GoalOptions]) -> MJCFFamily:
    """Make the family of the car. Actions: the speeds of the −y wheel and of the +y wheel, scaled to ±50 rad/s.

    Args:
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of goals in each of D, D′ and D″.
        **options: Where the goals lie, see `Goals`.

    Raises:
        ConfigurationError: An option is not possible.
    """
    goals = Goals(arrival=0.02, **options)
    return MJCFFamily(
        name="wheeled",
        model=build_model,
        observe=observe,
        position=position,
        healthy=never_falls,
        goals=goals,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        factory_options=goals.options,
        made_by=wheeled,
    )
