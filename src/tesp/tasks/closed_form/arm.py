"""Arms in closed form as an engine: the second one of the reachers."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array, Float, Int

from tesp.tasks.closed_form.planar_arm import Arm, control_step, control_steps, fingertip_of, observe, read_arm
from tesp.tasks.compiled_dynamics import CompiledDynamics, CompiledTransition
from tesp.tasks.goals.goals import ACTION_COST
from tesp.tasks.mujoco.engine import Body, Engine, add_noise
from tesp.tasks.state_noise import StateNoise

#: Joint angles in radians, angular velocities in rad/s.
State = tuple[Float[Array, " joint"], Float[Array, " joint"]]


@dataclass(frozen=True)
class ArmDynamics(CompiledDynamics):
    """One arm that reaches for a goal, as pure functions.

    Attributes:
        arm: The constants of the arm.
        beginning: Angles at the start, in radians.
        middle: Control of each joint at an action of 0, in rad/s.
        half_range: What an action of 1 adds to it, in rad/s.
        arrival: The episode ends when the distance to the goal falls below this, in metres.
    """

    arm: Arm
    beginning: tuple[float, ...]
    middle: tuple[float, ...]
    half_range: tuple[float, ...]
    arrival: float

    def start(self, task: Float[Array, "2"]) -> tuple[State, Float[Array, " observation"], Float[Array, "2"]]:
        """Return the stretched arm at rest."""
        angles = jnp.array(self.beginning)
        velocities, position = jnp.zeros_like(angles), fingertip_of(self.arm, angles)
        return (angles, velocities), observe(angles, velocities, position), position

    def step(
        self, state: State, task: Float[Array, "2"], action: Float[Array, " action"]
    ) -> tuple[State, CompiledTransition]:
        """Advance by 5 physics steps; see `Goals.approach` for reward and end."""
        clipped = jnp.clip(action, -1.0, 1.0)
        controls = jnp.array(self.middle) + jnp.array(self.half_range) * clipped
        angles, velocities = control_step(self.arm, *state, controls)
        position = fingertip_of(self.arm, angles)
        distance = jnp.hypot(position[0] - task[0], position[1] - task[1])
        success = distance < self.arrival
        return (angles, velocities), CompiledTransition(
            observation=observe(angles, velocities, position),
            reward=-distance - ACTION_COST * jnp.sum(clipped**2),
            distance_reward=-distance,
            distance=distance,
            position=position,
            terminated=success,
            success=success,
            healthy=jnp.ones_like(success),
        )


class ArmEngine(Engine):
    """n arms of one body. All are computed at every step, so nothing is compiled anew for a subset.

    Results do not depend on which others are stepped, nor on the threads; with another n they may differ by rounding.
    """

    def __init__(self, body: Body, count: int, threads: int):
        self._body, self._arm = body, read_arm(body.model)
        self._start = body.model.key_qpos[0].copy()
        self.qpos = np.tile(self._start, (count, 1))
        self.qvel, self.ctrl = np.zeros_like(self.qpos), np.zeros_like(self.qpos)
        self.act, self.time, self.derived = np.zeros((count, 0)), np.zeros(count), {}

    @property
    def compiled(self) -> CompiledDynamics | None:
        """The arm that reaches for goals, as pure functions."""
        goals = self._body.goals
        if goals is None:
            return None
        low, high = self._body.model.actuator_ctrlrange.T
        start, middle, half_range = (tuple(x.tolist()) for x in (self._start, (low + high) / 2, (high - low) / 2))
        return ArmDynamics(self._arm, start, middle, half_range, goals.arrival)

    def take_tasks(self, tasks: Float[np.ndarray, "simulation parameter"]) -> None:
        """Do nothing: all tasks have the same arm."""

    def begin(self, ids: Int[np.ndarray, " begun"] | None = None) -> None:
        """Put the arms ``ids``, or all, at the start."""
        rows = slice(None) if ids is None else ids
        self.qpos[rows] = self._start
        self.qvel[rows] = 0.0
        self.time[rows] = 0.0

    def advance(self, ids: Int[np.ndarray, " stepped"], noise: StateNoise | None) -> None:
        """Advance the arms ``ids`` by one control step with their controls, then add the noise."""
        with jax.enable_x64(True):
            angles, velocities = control_steps(self._arm, self.qpos, self.qvel, self.ctrl)
        self.qpos[ids], self.qvel[ids] = np.asarray(angles)[ids], np.asarray(velocities)[ids]
        self.time[ids] += self._body.substeps * self._body.model.opt.timestep
        if noise is not None:
            add_noise(self.qpos, self.qvel, ids, noise, [])

    def control_ranges(self, ids: Int[np.ndarray, " stepped"]) -> Float[np.ndarray, "..."]:
        """Return (low, high) of the actuators."""
        return self._body.model.actuator_ctrlrange

    def pose(self, index: int, model: mujoco.MjModel) -> mujoco.MjData:
        """Return the state of one arm with its positions derived, for a picture."""
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = self.qpos[index], self.qvel[index]
        mujoco.mj_forward(model, data)
        return data
