"""Base of the families that MuJoCo simulates: many simulations of one model, stepped on a pool of threads."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import abc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Int
from mujoco.batch import Batch, SimulationError

from tesp.errors import NonFiniteError
from tesp.tasks.base import Transition
from tesp.tasks.goal_family import GoalFamily, GoalSimulation, check_simulate, check_tasks, clip_actions
from tesp.tasks.rendering import SceneRenderer
from tesp.tasks.scenery import SUBSTEPS
from tesp.tasks.state_noise import StateNoise

_NO_STAGE = int(mujoco.mjtStage.mjSTAGE_NONE)


@dataclass(frozen=True, kw_only=True)
class MujocoFamily(GoalFamily):
    """A family with a model. Its functions of the state work on any leading axes and read nothing else.

    Derived fields of the engine (body and site positions) are not those of the state after a step: with the Euler
    integrator they lag one physics step behind it. That is why positions come from the generalised positions.
    """

    @abc.abstractmethod
    def build_model(self) -> mujoco.MjModel:
        """Compile the model; its keyframe 0 is the start."""

    @abc.abstractmethod
    def position(self, qpos: Float[np.ndarray, "*batch nq"]) -> Float[np.ndarray, "*batch 2"]:
        """Return the agent's position x in the plane, in metres."""

    @abc.abstractmethod
    def observe(
        self, qpos: Float[np.ndarray, "*batch nq"], qvel: Float[np.ndarray, "*batch nv"]
    ) -> Float[np.ndarray, "*batch observation"]:
        """Return the observation of a state."""

    @abc.abstractmethod
    def healthy(
        self, qpos: Float[np.ndarray, "*batch nq"], qvel: Float[np.ndarray, "*batch nv"]
    ) -> Bool[np.ndarray, "*batch"]:
        """Tell which states are healthy."""

    @cached_property
    def model(self) -> mujoco.MjModel:
        """The compiled model; do not change it."""
        return self.build_model()

    def simulate(self, count: int, threads: int = 0) -> GoalSimulation:
        """Make ``count`` simulations, stepped on ``threads`` threads (0: all cores).

        Raises:
            ConfigurationError: ``count`` is below 1 or ``threads`` is negative.
        """
        check_simulate(count, threads)
        return MujocoSimulation(self, count, threads)


class BodySimulation(GoalSimulation):
    """n simulations of one model, whatever steps them: what lies between the interface and the physics."""

    def __init__(self, family: MujocoFamily, qpos: np.ndarray, qvel: np.ndarray, ctrl: np.ndarray):
        self._family = family
        self._qpos, self._qvel, self._ctrl = qpos, qvel, ctrl
        low, high = family.model.actuator_ctrlrange.T
        self._middle, self._half_range = (low + high) / 2, (high - low) / 2
        self._goals = np.zeros((len(qpos), 2))
        self._noise: StateNoise | None = None
        self._quaternions = quaternion_starts(family.model)
        self._renderer: SceneRenderer | None = None

    @abc.abstractmethod
    def _begin(self, ids: Int[np.ndarray, " begun"] | None = None) -> None:
        """Put the states of the simulations ``ids``, or of all, at the start."""

    @abc.abstractmethod
    def _advance(self, ids: Int[np.ndarray, " stepped"]) -> None:
        """Advance the simulations ``ids`` by 5 physics steps with their controls."""

    @property
    def goals(self) -> Float[np.ndarray, "simulation 2"]:
        """The goals (x, y) of the last reset, in metres."""
        return self._goals.copy()

    @property
    def positions(self) -> Float[np.ndarray, "simulation 2"]:
        """The positions x now, in metres."""
        return self._family.position(self._qpos).copy()

    @property
    def qpos(self) -> Float[np.ndarray, "simulation nq"]:
        """The generalised positions; what is written here is the state at the next step."""
        return self._qpos

    @property
    def qvel(self) -> Float[np.ndarray, "simulation nv"]:
        """The generalised velocities; what is written here is the state at the next step."""
        return self._qvel

    def reset(self, tasks: Float[np.ndarray, "simulation parameter"]) -> Float[np.ndarray, "simulation observation"]:
        """Put every simulation at the start with the given goals; return the first observations."""
        self._goals = check_tasks(tasks, len(self._qpos))
        self._begin()
        if self._noise is not None:
            self._noise.restart()
        return self._family.observe(self._qpos, self._qvel)

    def restart(self, ids: Int[np.ndarray, " restarted"]) -> Float[np.ndarray, "restarted observation"]:
        """Put the simulations ``ids`` at the start again, with their goals; return their first observations."""
        self._begin(ids)
        return self._family.observe(self._qpos[ids], self._qvel[ids])

    def step(self, ids: Int[np.ndarray, " stepped"], actions: Float[np.ndarray, "stepped action"]) -> Transition:
        """Advance the simulations ``ids`` by 5 physics steps of 0.01 s; the others stay as they are.

        Actions are clipped to [−1, 1] and scaled linearly to the actuators' control range. A state that
        diverges shows as NaN in the transition.

        Raises:
            ConfigurationError: There is not one action for every simulation.
            NonFiniteError: An action is not finite, or the engine gave up on a simulation.
        """
        family = self._family
        clipped = clip_actions(actions, ids, family.action_size)
        self._ctrl[ids] = self._middle + self._half_range * clipped
        self._advance(ids)
        if self._noise is not None:
            add_noise(self._qpos, self._qvel, ids, self._noise, self._quaternions)
        qpos, qvel = self._qpos[ids], self._qvel[ids]
        # A diverged state is reported by the learner, not by a warning from NumPy on the way.
        with np.errstate(invalid="ignore", over="ignore"):
            return family.transition(
                family.observe(qpos, qvel),
                family.position(qpos),
                self._goals[ids],
                clipped,
                family.healthy(qpos, qvel),
            )

    def disturb(self, sigma: float, seed: Sequence[int]) -> None:
        """Add N(0, σ²) to every generalised position and velocity after every control step; 0 ends it.

        Orientations are normalised afterwards.

        Raises:
            ConfigurationError: σ is negative or not finite.
        """
        noise = StateNoise(sigma, seed, len(self._qpos), self._qpos.shape[1] + self._qvel.shape[1])
        self._noise = noise if sigma else None

    def render(self, index: int) -> np.ndarray:
        """Return an RGB image (480, 640, 3) of one simulation, its goal and the training area's boundary.

        Raises:
            TespError: There is no OpenGL to render with.
        """
        model = self._family.model
        if self._renderer is None:
            self._renderer = SceneRenderer(model)
        data = mujoco.MjData(model)
        data.qpos[:], data.qvel[:] = self._qpos[index], self._qvel[index]
        mujoco.mj_forward(model, data)
        return self._renderer.image(data, self._goals[index], self._family.boundary_radius)

    def close(self) -> None:
        """Free the renderer; the simulations go on working. Closing twice is allowed."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


class MujocoSimulation(BodySimulation):
    """Simulations stepped by the engine. Results do not depend on the threads, nor on which others are stepped."""

    def __init__(self, family: MujocoFamily, count: int, threads: int):
        self._batch = Batch(family.model, nsim=count, nthread=threads)
        super().__init__(family, *(self._batch.bind(name) for name in ("qpos", "qvel", "ctrl")))
        self._begin()

    def _begin(self, ids: Int[np.ndarray, " begun"] | None = None) -> None:
        self._batch.reset(ids, keyframe=0, stage=_NO_STAGE)

    def _advance(self, ids: Int[np.ndarray, " stepped"]) -> None:
        with engine_failures():
            self._batch.step(None if len(ids) == len(self._qpos) else ids, nstep=SUBSTEPS)


@contextmanager
def engine_failures() -> Iterator[None]:
    """Report simulations that the engine gave up on as a NonFiniteError."""
    try:
        yield
    except SimulationError as error:
        raise NonFiniteError("physics state", detail=str(error)) from error


def add_noise(
    qpos: Float[np.ndarray, "simulation nq"],
    qvel: Float[np.ndarray, "simulation nv"],
    ids: Int[np.ndarray, " stepped"],
    noise: StateNoise,
    quaternions: list[int],
) -> None:
    """Add a step's noise to the states of the simulations ``ids``, in place; orientations are normalised.

    Args:
        qpos: Generalised positions of all simulations.
        qvel: Generalised velocities of all simulations.
        ids: The simulations that were stepped.
        noise: Where the noise comes from, nq + nv entries a simulation.
        quaternions: Where the orientations begin among the generalised positions.
    """
    positions, velocities = np.split(noise.draw(ids), [qpos.shape[1]], axis=1)
    moved = qpos[ids] + positions
    for start in quaternions:
        quaternion = moved[:, start : start + 4]
        quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    qpos[ids] = moved
    qvel[ids] += velocities


def quaternion_starts(model: mujoco.MjModel) -> list[int]:
    """Return where the orientations of free and ball joints begin among the generalised positions."""
    offset = {int(mujoco.mjtJoint.mjJNT_FREE): 3, int(mujoco.mjtJoint.mjJNT_BALL): 0}
    joints = zip(model.jnt_type.tolist(), model.jnt_qposadr.tolist(), strict=True)
    return [start + offset[kind] for kind, start in joints if kind in offset]


def always_healthy(qpos: Float[np.ndarray, "*batch nq"]) -> Bool[np.ndarray, "*batch"]:
    """Return true for every state: for bodies that cannot fall."""
    return np.ones(qpos.shape[:-1], bool)
