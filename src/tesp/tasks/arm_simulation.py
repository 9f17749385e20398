"""Many arms in closed form behind the interface of a simulation: the second engine of the reachers."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import jax
import mujoco
import numpy as np
from jaxtyping import Float, Int

from tesp.tasks.base import Transition
from tesp.tasks.goal_family import GoalSimulation, check_tasks, clip_actions
from tesp.tasks.mujoco_family import MujocoFamily
from tesp.tasks.planar_arm import control_steps, read_arm
from tesp.tasks.rendering import SceneRenderer


class ArmSimulation(GoalSimulation):
    """n simulations of one arm. All are computed at every step, so nothing is compiled anew for a subset.

    Results do not depend on which others are stepped; with another n they may differ by rounding.
    """

    def __init__(self, family: MujocoFamily, count: int):
        self._family = family
        self._arm = read_arm(family.model)
        self._start = family.model.key_qpos[0].copy()
        low, high = family.model.actuator_ctrlrange.T
        self._middle, self._half_range = (low + high) / 2, (high - low) / 2
        self._qpos = np.tile(self._start, (count, 1))
        self._qvel = np.zeros_like(self._qpos)
        self._ctrl = np.zeros_like(self._qpos)
        self._goals = np.zeros((count, 2))
        self._renderer: SceneRenderer | None = None

    @property
    def goals(self) -> Float[np.ndarray, "simulation 2"]:
        """The goals (x, y) of the last reset, in metres."""
        return self._goals.copy()

    @property
    def positions(self) -> Float[np.ndarray, "simulation 2"]:
        """The positions x now, in metres."""
        return self._family.position(self._qpos)

    @property
    def qpos(self) -> Float[np.ndarray, "simulation nq"]:
        """The joint angles in radians; what is written here is the state at the next step."""
        return self._qpos

    @property
    def qvel(self) -> Float[np.ndarray, "simulation nv"]:
        """The joint velocities in rad/s; what is written here is the state at the next step."""
        return self._qvel

    def reset(self, tasks: Float[np.ndarray, "simulation parameter"]) -> Float[np.ndarray, "simulation observation"]:
        """Put every simulation at the start with the given goals; return the first observations."""
        self._goals = check_tasks(tasks, len(self._qpos))
        self._qpos[:] = self._start
        self._qvel[:] = 0.0
        return self._family.observe(self._qpos, self._qvel)

    def step(self, ids: Int[np.ndarray, " stepped"], actions: Float[np.ndarray, "stepped action"]) -> Transition:
        """Advance the simulations ``ids`` by 5 physics steps of 0.01 s; the others stay as they are.

        Actions are clipped to [−1, 1] and scaled linearly to the actuators' control range. A state that
        diverges shows as NaN in the transition.

        Raises:
            ConfigurationError: There is not one action for every simulation.
            NonFiniteError: An action is not finite.
        """
        family = self._family
        clipped = clip_actions(actions, ids, family.action_size)
        self._ctrl[ids] = self._middle + self._half_range * clipped
        with jax.enable_x64(True):
            angles, velocities = control_steps(self._arm, self._qpos, self._qvel, self._ctrl)
        qpos, qvel = np.asarray(angles)[ids], np.asarray(velocities)[ids]
        self._qpos[ids], self._qvel[ids] = qpos, qvel
        # A diverged state is reported by the learner, not by a warning from NumPy on the way.
        with np.errstate(invalid="ignore", over="ignore"):
            return family.transition(
                family.observe(qpos, qvel),
                family.position(qpos),
                self._goals[ids],
                clipped,
                family.healthy(qpos, qvel),
            )

    def render(self, index: int) -> np.ndarray:
        """Return an RGB image (480, 640, 3) of one simulation, its goal and the training area's boundary.

        Raises:
            TespError: There is no OpenGL to render with.
        """
        model = self._family.model
        if self._renderer is None:
            self._renderer = SceneRenderer(model)
        data = mujoco.MjData(model)
        data.qpos[:] = self._qpos[index]
        mujoco.mj_forward(model, data)
        return self._renderer.image(data, self._goals[index], self._family.boundary_radius)

    def close(self) -> None:
        """Free the renderer; the simulations go on working. Closing twice is allowed."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
