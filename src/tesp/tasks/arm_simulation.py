"""Many arms in closed form behind the interface of a simulation: the second engine of the reachers."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from tesp.tasks.compiled_dynamics import CompiledDynamics, CompiledTransition
from tesp.tasks.goal_family import ACTION_COST
from tesp.tasks.mujoco_family import BodySimulation, MujocoFamily
from tesp.tasks.planar_arm import Arm, control_step, control_steps, fingertip_of, observe, read_arm

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
        """Advance by 5 physics steps; see `GoalFamily.transition` for reward and end."""
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


class ArmSimulation(BodySimulation):
    """n simulations of one arm. All are computed at every step, so nothing is compiled anew for a subset.

    Results do not depend on which others are stepped; with another n they may differ by rounding.
    """

    def __init__(self, family: MujocoFamily, count: int):
        self._arm = read_arm(family.model)
        self._start = family.model.key_qpos[0].copy()
        qpos = np.tile(self._start, (count, 1))
        super().__init__(family, qpos, np.zeros_like(qpos), np.zeros_like(qpos))

    @property
    def compiled(self) -> CompiledDynamics | None:
        """The arm as pure functions; None while there is noise on its dynamics."""
        if self._noise is not None:
            return None
        start, middle, half_range = (tuple(x.tolist()) for x in (self._start, self._middle, self._half_range))
        return ArmDynamics(self._arm, start, middle, half_range, self._family.arrival)

    def _begin(self, ids: Int[np.ndarray, " begun"] | None = None) -> None:
        rows = slice(None) if ids is None else ids
        self._qpos[rows] = self._start
        self._qvel[rows] = 0.0

    def _advance(self, ids: Int[np.ndarray, " stepped"]) -> None:
        with jax.enable_x64(True):
            angles, velocities = control_steps(self._arm, self._qpos, self._qvel, self._ctrl)
        self._qpos[ids], self._qvel[ids] = np.asarray(angles)[ids], np.asarray(velocities)[ids]
