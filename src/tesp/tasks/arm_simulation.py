"""Many arms in closed form behind the interface of a simulation: the second engine of the reachers."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import jax
import numpy as np
from jaxtyping import Int

from tesp.tasks.mujoco_family import BodySimulation, MujocoFamily
from tesp.tasks.planar_arm import control_steps, read_arm


class ArmSimulation(BodySimulation):
    """n simulations of one arm. All are computed at every step, so nothing is compiled anew for a subset.

    Results do not depend on which others are stepped; with another n they may differ by rounding.
    """

    def __init__(self, family: MujocoFamily, count: int):
        self._arm = read_arm(family.model)
        self._start = family.model.key_qpos[0].copy()
        qpos = np.tile(self._start, (count, 1))
        super().__init__(family, qpos, np.zeros_like(qpos), np.zeros_like(qpos))

    def _restart(self) -> None:
        self._qpos[:] = self._start
        self._qvel[:] = 0.0

    def _advance(self, ids: Int[np.ndarray, " stepped"]) -> None:
        with jax.enable_x64(True):
            angles, velocities = control_steps(self._arm, self._qpos, self._qvel, self._ctrl)
        self._qpos[ids], self._qvel[ids] = np.asarray(angles)[ids], np.asarray(velocities)[ids]
