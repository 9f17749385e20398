"""Planar arms of n links about a vertical axis, whose fingertip reaches for the goal."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Bool, Float

from tesp.errors import ConfigurationError
from tesp.tasks.arm_simulation import ArmSimulation
from tesp.tasks.goal_family import GoalSimulation, check_simulate, make_presets
from tesp.tasks.mujoco_family import MujocoFamily, MujocoSimulation, always_healthy
from tesp.tasks.scenery import compile_model, velocity_actuators

#: Radius of the links' capsules and of the fingertip's sphere, and height of the arm, in metres.
RADIUS = 0.1
HEIGHT = 0.1

#: All joints but the first stop here on either side, in radians.
JOINT_LIMIT = math.radians(160)

#: What both arms change of the presets `quick` and `small`.
SCALED = {"engine": "closed-form", "episodes_per_round": 20, "buffer_size": 10}

PRESETS_2 = make_presets(
    units=(256, 256),
    encoder=256,
    embedding=8,
    penalty=0.005,
    scaled=SCALED,
    paper_algorithms={"adapt-sv": {"embedding_penalty": 0.001}},
)
PRESETS_4 = make_presets(units=(512, 512), encoder=256, embedding=16, penalty=0.005, scaled=SCALED)


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


@dataclass(frozen=True, kw_only=True)
class ReacherFamily(MujocoFamily):
    """An arm of ``links`` links. Observation: cos θ, sin θ, θ̇ (rad/s), fingertip x and y (m).

    Attributes:
        engine: What simulates the arm: ``mujoco``, or the faster ``closed-form``, which agrees with it.
    """

    links: int = field(init=False)
    link_length: float = field(init=False)
    fingertip_length: float = field(init=False)
    speed_limit: float = field(init=False)
    engine: str = "mujoco"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.engine not in ("mujoco", "closed-form"):
            raise ConfigurationError(f"engine is {self.engine!r}; it must be 'mujoco' or 'closed-form'.")

    def simulate(self, count: int, threads: int = 0) -> GoalSimulation:
        """Make ``count`` simulations; ``threads`` (0: all cores) are those of ``mujoco``.

        Raises:
            ConfigurationError: ``count`` is below 1 or ``threads`` is negative.
        """
        check_simulate(count, threads)
        if self.engine == "closed-form":
            return ArmSimulation(self, count)
        return MujocoSimulation(self, count, threads)

    def build_model(self) -> mujoco.MjModel:
        """Compile the arm."""
        return build_arm(self.links, self.link_length, self.fingertip_length, self.speed_limit)

    def position(self, qpos: Float[np.ndarray, "*batch nq"]) -> Float[np.ndarray, "*batch 2"]:
        """Return the fingertip's position in metres."""
        return fingertip(qpos, self.link_length, self.fingertip_length)

    def observe(
        self, qpos: Float[np.ndarray, "*batch nq"], qvel: Float[np.ndarray, "*batch nv"]
    ) -> Float[np.ndarray, "*batch observation"]:
        """Return all cosines, all sines, all angular velocities, then the fingertip."""
        return np.concatenate([np.cos(qpos), np.sin(qpos), qvel, self.position(qpos)], axis=-1)

    def healthy(
        self,
        qpos: Float[np.ndarray, "*batch nq"],
        qvel: Float[np.ndarray, "*batch nv"],
    ) -> Bool[np.ndarray, "*batch"]:
        """Return true for every state: an arm cannot fall."""
        return always_healthy(qpos)


@dataclass(frozen=True, kw_only=True)
class Reacher2Family(ReacherFamily):
    """The arm of two links; its fingertip starts at (1.70, 0)."""

    name: str = field(init=False, default="reacher2")
    links: int = field(init=False, default=2)
    link_length: float = field(init=False, default=0.75)
    fingertip_length: float = field(init=False, default=0.95)
    speed_limit: float = field(init=False, default=100.0)
    arrival: float = field(init=False, default=0.06)
    observation_size: int = field(init=False, default=8)
    action_size: int = field(init=False, default=2)

    @property
    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Configuration values that suit the arm of two links, by preset name."""
        return PRESETS_2


@dataclass(frozen=True, kw_only=True)
class Reacher4Family(ReacherFamily):
    """The arm of four links; its fingertip starts at (2.00, 0)."""

    name: str = field(init=False, default="reacher4")
    links: int = field(init=False, default=4)
    link_length: float = field(init=False, default=0.45)
    fingertip_length: float = field(init=False, default=0.65)
    speed_limit: float = field(init=False, default=50.0)
    arrival: float = field(init=False, default=0.11)
    observation_size: int = field(init=False, default=14)
    action_size: int = field(init=False, default=4)
    spacing: float = 0.11

    @property
    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Configuration values that suit the arm of four links, by preset name."""
        return PRESETS_4
