"""What steps the states of a body: MuJoCo's batch, or another engine that does the same for some models."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import abc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float, Int
from mujoco.batch import Batch, SimulationError

from tesp.errors import ConfigurationError, NonFiniteError
from tesp.tasks.compiled_dynamics import CompiledDynamics
from tesp.tasks.goals.goals import Goals
from tesp.tasks.mujoco.functions import Functions
from tesp.tasks.mujoco.model import Dynamics
from tesp.tasks.mujoco.state import DERIVED_STAGES, NO_STAGE
from tesp.tasks.state_noise import StateNoise


@dataclass(frozen=True)
class Body:
    """What simulations of one family share.

    Attributes:
        model: The model; do not change it.
        functions: The family's functions.
        dynamics: What tasks change in the model.
        derived: Names of the derived fields that the functions ask for.
        substeps: Physics steps in a control step.
        keyframe: Index of the keyframe that is the start, −1 for the model's defaults.
        camera: Index of the camera that pictures are taken from, −1 for a free one.
        task_size: Number of parameters of a task.
        goals: What tasks are where they are goals in the plane.
    """

    model: mujoco.MjModel
    functions: Functions
    dynamics: Dynamics
    derived: tuple[str, ...]
    substeps: int
    keyframe: int
    camera: int
    task_size: int
    goals: Goals | None


class Engine(abc.ABC):
    """The states of n simulations of one body, and what advances them.

    Attributes:
        qpos: Generalised positions; what is written here is the state at the next step.
        qvel: Generalised velocities, likewise.
        act: Activations of actuators that have a state.
        ctrl: Controls in the actuators' units, which the next step uses.
        time: Seconds since the start.
        derived: By name, the derived fields that the body asks for.
    """

    qpos: Float[np.ndarray, "simulation nq"]
    qvel: Float[np.ndarray, "simulation nv"]
    act: Float[np.ndarray, "simulation na"]
    ctrl: Float[np.ndarray, "simulation action"]
    time: Float[np.ndarray, " simulation"]
    derived: Mapping[str, np.ndarray]

    @property
    def compiled(self) -> CompiledDynamics | None:
        """The body as pure functions; None if the engine has none."""
        return None

    @abc.abstractmethod
    def take_tasks(self, tasks: Float[np.ndarray, "simulation parameter"]) -> None:
        """Give every simulation the dynamics of its task.

        Raises:
            ConfigurationError: They are not possible.
        """

    @abc.abstractmethod
    def begin(self, ids: Int[np.ndarray, " begun"] | None = None) -> None:
        """Put the simulations ``ids``, or all, at the start."""

    @abc.abstractmethod
    def advance(self, ids: Int[np.ndarray, " stepped"], noise: StateNoise | None) -> None:
        """Advance the simulations ``ids`` by one control step with their controls, then add the noise.

        Raises:
            NonFiniteError: The engine gave up on a simulation.
        """

    def state(self) -> dict[str, np.ndarray]:
        """Return all that `take_state` of another engine of the same body needs to go on from here."""
        return {name: getattr(self, name).copy() for name in ("qpos", "qvel", "act", "ctrl", "time")}

    def take_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state of another engine, whose tasks this one has taken."""
        for name, values in state.items():
            getattr(self, name)[:] = values

    @abc.abstractmethod
    def control_ranges(self, ids: Int[np.ndarray, " stepped"]) -> Float[np.ndarray, "..."]:
        """Return (low, high) of the actuators: (action, 2), or (stepped, action, 2) where tasks change it."""

    @abc.abstractmethod
    def pose(self, index: int, model: mujoco.MjModel) -> mujoco.MjData:
        """Return the state of one simulation with its positions derived, for a picture.

        Args:
            index: The simulation.
            model: A copy of the body's model, into which the dynamics of the simulation's task are written.
        """


#: What a state of the batch is made of: with these a simulation goes on bit for bit.
_STATE = (
    "time",
    "qpos",
    "qvel",
    "act",
    "history",
    "qacc_warmstart",
    "ctrl",
    "qfrc_applied",
    "xfrc_applied",
    "eq_active",
    "mocap_pos",
    "mocap_quat",
    "userdata",
    "plugin_state",
)


class BatchEngine(Engine):
    """MuJoCo's own batch. Results depend neither on the number of threads nor on which others are stepped."""

    def __init__(self, body: Body, count: int, threads: int):
        self._body = body
        try:
            self.batch = Batch(body.model, nsim=count, nthread=threads)
        except ValueError as error:
            raise ConfigurationError(f"The engine cannot step this MJCF model as a batch: {error}") from error
        self.qpos, self.qvel, self.act, self.ctrl, self.time = (
            self.batch.bind(name) for name in ("qpos", "qvel", "act", "ctrl", "time")
        )
        self.derived = {name: self.batch.bind(name) for name in body.derived}
        self._stage = max((DERIVED_STAGES[name] for name in body.derived), default=NO_STAGE)
        self._quaternions = quaternion_starts(body.model)
        self.begin()

    def take_tasks(self, tasks: Float[np.ndarray, "simulation parameter"]) -> None:
        """Give every simulation the dynamics of its task."""
        self._body.dynamics.apply(self.batch, tasks)

    def begin(self, ids: Int[np.ndarray, " begun"] | None = None) -> None:
        """Put the simulations ``ids``, or all, at the start."""
        self.batch.reset(ids, keyframe=self._body.keyframe, stage=self._stage)

    def advance(self, ids: Int[np.ndarray, " stepped"], noise: StateNoise | None) -> None:
        """Advance the simulations ``ids`` by one control step with their controls, then add the noise."""
        given = None if len(ids) == len(self.qpos) else ids
        with engine_failures():
            if noise is None:
                self.batch.step(given, nstep=self._body.substeps, stage=self._stage)
                return
            self.batch.step(given, nstep=self._body.substeps, stage=NO_STAGE)
            add_noise(self.qpos, self.qvel, ids, noise, self._quaternions)
            if self._stage != NO_STAGE:
                self.batch.forward(given, stage=self._stage)

    def state(self) -> dict[str, np.ndarray]:
        """Return the integration state, with what the solver begins its next search from."""
        return {name: self.batch.bind(name).copy() for name in _STATE}

    def take_state(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state of another batch."""
        for name, values in state.items():
            self.batch.bind(name)[:] = values
        if self._stage != NO_STAGE:
            self.batch.forward(None, stage=self._stage)

    def control_ranges(self, ids: Int[np.ndarray, " stepped"]) -> Float[np.ndarray, "..."]:
        """Return (low, high) of the actuators, a row a simulation where tasks change it."""
        own = self.batch.expanded("actuator_ctrlrange")
        return self._body.model.actuator_ctrlrange if own is None else own[ids]

    def pose(self, index: int, model: mujoco.MjModel) -> mujoco.MjData:
        """Return the state of one simulation with its positions derived, and its dynamics in the model."""
        self.batch.get_model(index, model)
        data = self.batch.get_data(index)
        mujoco.mj_forward(model, data)
        return data


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
