"""A four-legged ant that walks to the goal."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

from functools import cache
from typing import Unpack

import mujoco
import numpy as np
from jaxtyping import Bool, Float

from tesp.tasks.goals.goals import GoalOptions, Goals
from tesp.tasks.mujoco.family import MJCFFamily
from tesp.tasks.mujoco.scenery import compile_model, velocity_actuators
from tesp.tasks.mujoco.state import State

#: Control range of the velocity actuators, ± rad/s.
SPEED_LIMIT = 50.0

#: Height of the torso's centre at the start, and the heights between which the ant is healthy, in metres.
START_HEIGHT = 0.25
HEALTHY_HEIGHT = (0.15, 0.45)

#: Legs 1 to 4: signs (u, v) of the diagonal; the ankle's axis, range in degrees, and angle at the start.
LEGS = (
    ((1, 1), (-1, 1, 0), (30, 70), 1.0),
    ((-1, 1), (1, 1, 0), (-70, -30), -1.0),
    ((-1, -1), (-1, 1, 0), (-70, -30), -1.0),
    ((1, -1), (1, 1, 0), (30, 70), 1.0),
)
HIP_RANGE = (-30, 30)

#: The quaternion of an upright torso.
UPRIGHT = (1.0, 0.0, 0.0, 0.0)

#: The actuators go round the legs in this order, hip before ankle.
ACTUATED_LEGS = (4, 1, 2, 3)

_DEFAULT = """
<default>
  <default class="ant">
    <joint type="hinge" armature="1" damping="1" limited="true"/>
    <geom conaffinity="0" condim="3" friction="1 0.5 0.5" margin="0.005" size="0.04" material="limb"/>
  </default>
</default>
"""


def _radians(degrees: tuple[int, int]) -> str:
    return " ".join(repr(float(np.deg2rad(angle))) for angle in degrees)


def _start_angles() -> list[float]:
    return [angle for *_, ankle in LEGS for angle in (0.0, ankle)]


def _capsule(name: str, u: int, v: int, length: float) -> str:
    return f'<geom name="{name}" type="capsule" fromto="0 0 0 {length * u} {length * v} 0"/>'


def _leg(number: int) -> str:
    """Return MJCF of one leg: a capsule of the torso, then a hip and an ankle with a capsule each."""
    (u, v), axis, ankle_range, _ = LEGS[number - 1]
    return f"""
    {_capsule(f"shoulder{number}", u, v, 0.08)}
    <body name="leg{number}" pos="{0.08 * u} {0.08 * v} 0">
      <joint name="hip{number}" axis="0 0 1" range="{_radians(HIP_RANGE)}"/>
      {_capsule(f"leg{number}", u, v, 0.1)}
      <body name="foot{number}" pos="{0.1 * u} {0.1 * v} 0">
        <joint name="ankle{number}" axis="{axis[0]} {axis[1]} {axis[2]}" range="{_radians(ankle_range)}"/>
        {_capsule(f"foot{number}", u, v, 0.16)}
      </body>
    </body>
    """


@cache
def build_model() -> mujoco.MjModel:
    """Compile the ant. State: torso's position (m) and quaternion, hip and ankle angles (rad) of legs 1 to 4."""
    return compile_model(
        name="ant",
        integrator="RK4",
        default=_DEFAULT,
        world=f"""
            <geom name="floor" type="plane" size="6 6 1" conaffinity="1" margin="0.005" material="floor"/>
            <body name="torso" pos="0 0 {START_HEIGHT}" childclass="ant">
              <freejoint name="root"/>
              <geom name="torso" type="sphere" size="0.1" material="body"/>
              {"".join(_leg(number) for number in (1, 2, 3, 4))}
            </body>
            """,
        actuators=velocity_actuators(
            [f"{joint}{leg}" for leg in ACTUATED_LEGS for joint in ("hip", "ankle")], SPEED_LIMIT
        ),
        start=(0.0, 0.0, START_HEIGHT, *UPRIGHT, *_start_angles()),
    )


def position(state: State) -> Float[np.ndarray, "simulation 2"]:
    """Return the torso's x and y in metres."""
    return state.qpos[:, :2]


def observe(state: State) -> Float[np.ndarray, "simulation 29"]:
    """Return the positions (15), then the velocities (14)."""
    return np.concatenate([state.qpos, state.qvel], axis=1)


def healthy(state: State) -> Bool[np.ndarray, " simulation"]:
    """Tell where everything is finite and 0.15 ≤ torso's height ≤ 0.45 m."""
    finite = np.isfinite(state.qpos).all(axis=1) & np.isfinite(state.qvel).all(axis=1)
    low, high = HEALTHY_HEIGHT
    height = state.qpos[:, 2]
    return finite & (low <= height) & (height <= high)


def ant(
    *,
    when_unhealthy: str = "terminate",
    horizon: int = 200,
    tasks_per_set: int = 100,
    **options: Unpack[GoalOptions],
) -> MJCFFamily:
    """Make the family of the ant, which is healthy while its torso's height is within 0.15 … 0.45 m.

    Actions: hip and ankle speeds of legs 4, 1, 2, 3, scaled to ±50 rad/s.

    Args:
        when_unhealthy: ``terminate`` ends the episode as soon as the ant is unhealthy, as the paper's authors do;
            rewards are never positive, so this pays for falling early. ``continue`` goes on.
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of goals in each of D, D′ and D″.
        **options: Where the goals lie, see `Goals`.

    Raises:
        ConfigurationError: An option is not possible.
    """
    goals = Goals(arrival=0.03, **options)
    return MJCFFamily(
        name="ant",
        model=build_model,
        observe=observe,
        position=position,
        healthy=healthy,
        when_unhealthy=when_unhealthy,
        goals=goals,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        factory_options={**goals.options, "when_unhealthy": when_unhealthy},
        made_by=ant,
    )
