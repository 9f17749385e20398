"""Planar arms of n links about a vertical axis, whose fingertip reaches for the goal."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import math
from dataclasses import dataclass
from functools import cache
from typing import Unpack

import mujoco
import numpy as np
from jaxtyping import Float

from tesp.errors import ConfigurationError
from tesp.tasks.closed_form.arm import ArmEngine
from tesp.tasks.goals.goals import GoalOptions, Goals
from tesp.tasks.mujoco.engine import BatchEngine
from tesp.tasks.mujoco.family import MJCFFamily
from tesp.tasks.mujoco.scenery import compile_model, never_falls, velocity_actuators
from tesp.tasks.mujoco.state import State

#: Radius of the links' capsules and of the fingertip's sphere, and height of the arm, in metres.
RADIUS = 0.1
HEIGHT = 0.1

#: All joints but the first stop here on either side, in radians.
JOINT_LIMIT = math.radians(160)


def fingertip(
    angles: Float[np.ndarray, "*batch joint"], link_length: float, fingertip_length: float
) -> Float[np.ndarray, "*batch 2"]:
    """Return the fingertip's (x, y) = Σ_i l_i·(cos φ_i, sin φ_i) with φ_i = θ_1 + … + θ_i, in metres.

    Args:
        angles: Joint angles θ in radians, each relative to the link before.
        link_length: l_i of all links but the last, in metres.
        fingertip_length: l_n, from the last joint to the fingertip, in metres.
    """
    headings = np.cumsum(angles, axis=-1)
    lengths = np.full(angles.shape[-1], link_length)
    lengths[-1] = fingertip_length
    # A sum, not a matrix product: the product's rounding depends on how many rows there are.
    x = np.sum(lengths * np.cos(headings), axis=-1)
    y = np.sum(lengths * np.sin(headings), axis=-1)
    return np.stack([x, y], axis=-1)


def build_arm(links: int, link_length: float, fingertip_length: float, speed_limit: float) -> mujoco.MjModel:
    """Compile an arm of n links, stretched along +x at the start.

    Args:
        links: Number of links, each with one hinge and one velocity actuator.
        link_length: Distance between joints and length of every capsule, the last one too, in metres.
        fingertip_length: Distance of the fingertip's centre from the last joint, in metres.
        speed_limit: Control range of the actuators, ± rad/s.
    """
    shape = f'size="{RADIUS}" type="capsule" fromto="0 0 0 {link_length} 0 0" material="limb"'
    body = f'<geom name="fingertip" size="{RADIUS}" pos="{fingertip_length} 0 0" material="tip"/>'
    for link in range(links, 0, -1):
        limits = f'limited="true" range="{-JOINT_LIMIT!r} {JOINT_LIMIT!r}"' if link > 1 else 'limited="false"'
        place = f"0 0 {HEIGHT}" if link == 1 else f"{link_length} 0 0"
        body = (
            f'<body name="link{link}" pos="{place}"><joint name="joint{link}" {limits}/>'
            f'<geom name="link{link}" {shape}/>{body}</body>'
        )
    floor = (
        '<geom name="floor" type="plane" size="6 6 1" material="floor"/>'
        f'<geom name="base" type="cylinder" size="0.13 {HEIGHT / 2}" pos="0 0 {HEIGHT / 2}" material="body"/>'
    )
    return compile_model(
        name=f"reacher{links}",
        integrator="RK4",
        default=(
            '<default><joint type="hinge" axis="0 0 1" armature="1" damping="1"/>'
            '<geom contype="0" conaffinity="0"/></default>'
        ),
        world=floor + body,
        actuators=velocity_actuators([f"joint{link + 1}" for link in range(links)], speed_limit),
        start=(0.0,) * links,
    )


@dataclass(frozen=True)
class ArmBody:
    """An arm's model, and what is seen of it.

    Attributes:
        links: Number of links.
        link_length: Distance between joints, in metres.
        fingertip_length: Distance of the fingertip's centre from the last joint, in metres.
        speed_limit: Control range of the actuators, ± rad/s.
    """

    links: int
    link_length: float
    fingertip_length: float
    speed_limit: float

    @property
    def reach(self) -> float:
        """Distance of the fingertip from the first joint where the arm is stretched, Σ_i l_i, in metres."""
        return (self.links - 1) * self.link_length + self.fingertip_length

    @cache  # noqa: B019 (there are two bodies in a process)
    def build_model(self) -> mujoco.MjModel:
        """Compile the arm."""
        return build_arm(self.links, self.link_length, self.fingertip_length, self.speed_limit)

    def position(self, state: State) -> Float[np.ndarray, "simulation 2"]:
        """Return the fingertip's position in metres."""
        return fingertip(state.qpos, self.link_length, self.fingertip_length)

    def observe(self, state: State) -> Float[np.ndarray, "simulation observation"]:
        """Return all cosines, all sines, all angular velocities (rad/s), then the fingertip (m)."""
        return np.concatenate([np.cos(state.qpos), np.sin(state.qpos), state.qvel, self.position(state)], axis=1)


ARM_2 = ArmBody(links=2, link_length=0.75, fingertip_length=0.95, speed_limit=100.0)
ARM_4 = ArmBody(links=4, link_length=0.45, fingertip_length=0.65, speed_limit=50.0)

#: What simulates the arms, by the value of the option ``engine``.
ENGINES = {"mujoco": BatchEngine, "closed-form": ArmEngine}


def reacher2(
    *,
    engine: str = "mujoco",
    horizon: int = 200,
    tasks_per_set: int = 100,
    **options: Unpack[GoalOptions],
) -> MJCFFamily:
    """Make the family of the arm of two links; its fingertip starts at (1.70, 0).

    Args:
        engine: What simulates the arm: ``mujoco``, or the faster ``closed-form``, which agrees with it.
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of goals in each of D, D′ and D″.
        **options: Where the goals lie, see `Goals`.

    Raises:
        ConfigurationError: An option is not possible.
    """
    return _reacher(ARM_2, engine, Goals(arrival=0.06, reach=ARM_2.reach, **options), horizon, tasks_per_set)


def reacher4(
    *,
    engine: str = "mujoco",
    horizon: int = 200,
    tasks_per_set: int = 100,
    **options: Unpack[GoalOptions],
) -> MJCFFamily:
    """Make the family of the arm of four links; its fingertip starts at (2.00, 0). Goals are 0.11 m apart by default.

    Args:
        engine: As in `reacher2`.
        horizon: As in `reacher2`.
        tasks_per_set: As in `reacher2`.
        **options: As in `reacher2`.

    Raises:
        ConfigurationError: An option is not possible.
    """
    goals = Goals(arrival=0.11, reach=ARM_4.reach, **{"spacing": 0.11, **options})
    return _reacher(ARM_4, engine, goals, horizon, tasks_per_set)


def _reacher(arm: ArmBody, engine: str, goals: Goals, horizon: int, tasks_per_set: int) -> MJCFFamily:
    if engine not in ENGINES:
        raise ConfigurationError(f"engine is {engine!r}; it must be 'mujoco' or 'closed-form'.")
    return MJCFFamily(
        name=f"reacher{arm.links}",
        model=arm.build_model,
        observe=arm.observe,
        position=arm.position,
        healthy=never_falls,
        goals=goals,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        engine=ENGINES[engine],
        factory_options={**goals.options, "engine": engine},
        made_by=reacher2 if arm is ARM_2 else reacher4,
    )
