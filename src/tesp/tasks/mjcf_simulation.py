"""Simulations of a user's model: stepped by the engine as one batch, seen through the user's functions."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float, Int, UInt8
from mujoco.batch import Batch

from tesp.errors import ConfigurationError
from tesp.tasks.base import Simulation, Transition
from tesp.tasks.goal_family import clip_actions
from tesp.tasks.mjcf_model import Dynamics
from tesp.tasks.mujoco_family import add_noise, engine_failures, quaternion_starts
from tesp.tasks.rendering import make_renderer
from tesp.tasks.state_noise import StateNoise

_NONE, _POSITION, _VELOCITY, _ACCELERATION = (
    int(getattr(mujoco.mjtStage, f"mjSTAGE_{stage}")) for stage in ("NONE", "POS", "VEL", "ACC")
)

#: Derived fields of the engine that functions may ask for, and the stage of its forward pass that computes each. Fields
#: that it computes on some models only are left out: they would show another simulation's values.
DERIVED_STAGES = {
    **dict.fromkeys(("xpos", "xquat", "xmat", "xipos", "ximat", "xanchor", "xaxis", "subtree_com"), _POSITION),
    **dict.fromkeys(("geom_xpos", "geom_xmat", "site_xpos", "site_xmat", "cam_xpos", "cam_xmat"), _POSITION),
    **dict.fromkeys(("ten_length", "actuator_length"), _POSITION),
    **dict.fromkeys(("cvel", "ten_velocity", "actuator_velocity"), _VELOCITY),
    **dict.fromkeys(("qacc", "actuator_force", "qfrc_actuator", "qfrc_bias", "qfrc_passive"), _ACCELERATION),
    **dict.fromkeys(("qfrc_constraint", "sensordata"), _ACCELERATION),
}

#: Size of pictures in pixels; a model's own offscreen buffer may be smaller.
WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True)
class State:
    """What the functions of a family see: n simulations, row by row, in the engine's units (m, rad, s, kg, N).

    The arrays are copies. The functions must treat every row on its own.

    Attributes:
        qpos: Generalised positions.
        qvel: Generalised velocities.
        act: Activations of actuators that have a state.
        ctrl: Controls of the last step, in the actuators' units.
        time: Seconds since the start.
        task: The parameters of each simulation's task.
        derived: By name, the derived fields that the family asked for, at this very state: (n, *shape of the field).
        model: The shared model, for names and addresses (``state.model.site("tip").id``); without the tasks' dynamics.
    """

    qpos: Float[np.ndarray, "simulation nq"]
    qvel: Float[np.ndarray, "simulation nv"]
    act: Float[np.ndarray, "simulation na"]
    ctrl: Float[np.ndarray, "simulation action"]
    time: Float[np.ndarray, " simulation"]
    task: Float[np.ndarray, "simulation parameter"]
    derived: Mapping[str, np.ndarray]
    model: mujoco.MjModel


@dataclass(frozen=True)
class Functions:
    """The functions of a family; `MJCFFamily` says what each returns. Those that are None have their default."""

    observe: Callable[[State], np.ndarray]
    reward: Callable[[State, np.ndarray], np.ndarray]
    terminated: Callable[[State], np.ndarray] | None
    success: Callable[[State], np.ndarray] | None
    task_reward: Callable[[State, np.ndarray], np.ndarray] | None
    distance: Callable[[State], np.ndarray] | None
    position: Callable[[State], np.ndarray] | None

    def observation(self, state: State) -> Float[np.ndarray, "simulation observation"]:
        """Return the observation, or raise a ConfigurationError if it is no matrix."""
        return _checked("observe", self.observe(state), (len(state.qpos), -1))

    def place(self, state: State) -> Float[np.ndarray, "simulation 2"]:
        """Return the position in the plane, NaN if the family has none."""
        shape = (len(state.qpos), 2)
        return np.full(shape, np.nan) if self.position is None else _checked("position", self.position(state), shape)

    def transition(self, state: State, action: Float[np.ndarray, "simulation action"]) -> Transition:
        """Return what a step did, from the state after it and the clipped action."""
        rows = (len(state.qpos),)
        reward = _checked("reward", self.reward(state, action), rows)
        judged, distance, never = reward, np.full(rows, np.nan), np.zeros(rows, bool)
        if self.task_reward is not None:
            judged = _checked("task_reward", self.task_reward(state, action), rows)
        if self.distance is not None:
            distance = _checked("distance", self.distance(state), rows)
        finite = np.isfinite(np.concatenate([state.qpos, state.qvel], axis=1))
        return Transition(
            observation=self.observation(state),
            reward=reward,
            distance_reward=judged,
            distance=distance,
            position=self.place(state),
            terminated=never if self.terminated is None else _checked_bool("terminated", self.terminated(state), rows),
            success=never if self.success is None else _checked_bool("success", self.success(state), rows),
            healthy=np.all(finite, axis=1),
        )


def _checked(name: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.array(given, np.float64)
    if values.ndim != len(shape) or any(size not in (-1, got) for size, got in zip(shape, values.shape, strict=True)):
        raise ConfigurationError(_wrong_shape(name, values.shape, shape))
    return values


def _checked_bool(name: str, given: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.array(given)
    if values.dtype != bool:
        raise ConfigurationError(f"{name} returned entries of kind {values.dtype}; return true or false for every row.")
    if values.shape != shape:
        raise ConfigurationError(_wrong_shape(name, values.shape, shape))
    return values


def _wrong_shape(name: str, got: tuple[int, ...], shape: tuple[int, ...]) -> str:
    wanted = str(shape).replace("-1", "entries of an observation")
    return f"{name} returned an array of shape {got} for {shape[0]} simulations; it must be {wanted}."


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
    """

    model: mujoco.MjModel
    functions: Functions
    dynamics: Dynamics
    derived: tuple[str, ...]
    substeps: int
    keyframe: int
    camera: int
    task_size: int


class MJCFSimulation(Simulation):
    """n simulations, each with a task and dynamics of its own.

    Results depend neither on the number of threads nor on which other simulations are stepped.
    """

    def __init__(self, body: Body, count: int, threads: int):
        self._body = body
        try:
            self._batch = Batch(body.model, nsim=count, nthread=threads)
        except ValueError as error:
            raise ConfigurationError(f"The engine cannot step this MJCF model as a batch: {error}") from error
        self._qpos, self._qvel, self._act, self._ctrl, self._time = (
            self._batch.bind(name) for name in ("qpos", "qvel", "act", "ctrl", "time")
        )
        self._derived = {name: self._batch.bind(name) for name in body.derived}
        self._stage = max((DERIVED_STAGES[name] for name in body.derived), default=_NONE)
        self._quaternions = quaternion_starts(body.model)
        self._tasks: np.ndarray | None = None
        self._noise: StateNoise | None = None
        self._renderer: _Renderer | None = None
        self._batch.reset(keyframe=body.keyframe, stage=self._stage)

    @property
    def positions(self) -> Float[np.ndarray, "simulation 2"]:
        """The positions in the plane now; NaN if the family has none."""
        return self._body.functions.place(self._state(np.arange(len(self._qpos))))

    @property
    def qpos(self) -> Float[np.ndarray, "simulation nq"]:
        """The generalised positions; what is written here is the state at the next step."""
        return self._qpos

    @property
    def qvel(self) -> Float[np.ndarray, "simulation nv"]:
        """The generalised velocities; what is written here is the state at the next step."""
        return self._qvel

    def reset(self, tasks: Float[np.ndarray, "simulation parameter"]) -> Float[np.ndarray, "simulation observation"]:
        """Put every simulation at the start, with the dynamics of its task; return the first observations.

        Raises:
            ConfigurationError: There is not one finite task for every simulation, or its dynamics are not possible.
        """
        given, shape = np.array(tasks, np.float64), (len(self._qpos), self._body.task_size)
        if given.shape != shape or not np.isfinite(given).all():
            raise ConfigurationError(
                f"tasks have shape {given.shape}; reset takes {shape[1]} finite numbers for each of {shape[0]} "
                "simulations."
            )
        # The rounds of an adaptation have the same tasks: the engine's constants need not be derived again for them.
        if self._tasks is None or not np.array_equal(given, self._tasks):
            self._tasks = None
            self._body.dynamics.apply(self._batch, given)
            self._tasks = given
        self._batch.reset(keyframe=self._body.keyframe, stage=self._stage)
        if self._noise is not None:
            self._noise.restart()
        return self._body.functions.observation(self._state(np.arange(len(given))))

    def restart(self, ids: Int[np.ndarray, " restarted"]) -> Float[np.ndarray, "restarted observation"]:
        """Put the simulations ``ids`` at the start again, with their tasks; return their first observations."""
        self._batch.reset(ids, keyframe=self._body.keyframe, stage=self._stage)
        return self._body.functions.observation(self._state(ids))

    def step(self, ids: Int[np.ndarray, " stepped"], actions: Float[np.ndarray, "stepped action"]) -> Transition:
        """Advance the simulations ``ids`` by one control step; the others stay as they are.

        Actions are clipped to [−1, 1] and scaled linearly to the actuators' control range. A state that diverges shows
        as NaN in the transition, unless the functions hide it.

        Raises:
            ConfigurationError: There is not one action for every simulation, or a function returned a wrong shape.
            NonFiniteError: An action is not finite, or the engine gave up on a simulation.
        """
        clipped = clip_actions(actions, ids, self._body.model.nu)
        low, high = np.moveaxis(self._control_ranges(ids), -1, 0)
        self._ctrl[ids] = (low + high) / 2 + (high - low) / 2 * clipped
        given = None if len(ids) == len(self._qpos) else ids
        with engine_failures():
            if self._noise is None:
                self._batch.step(given, nstep=self._body.substeps, stage=self._stage)
            else:
                self._batch.step(given, nstep=self._body.substeps, stage=_NONE)
                add_noise(self._qpos, self._qvel, ids, self._noise, self._quaternions)
                self._batch.forward(given, stage=self._stage)
        # A diverged state is reported by the learner, not by a warning from NumPy on the way.
        with np.errstate(invalid="ignore", over="ignore"):
            return self._body.functions.transition(self._state(ids), clipped)

    def disturb(self, sigma: float, seed: Sequence[int]) -> None:
        """Add N(0, σ²) to every generalised position and velocity after every control step; 0 ends it.

        Orientations are normalised afterwards.

        Raises:
            ConfigurationError: σ is negative or not finite.
        """
        noise = StateNoise(sigma, seed, len(self._qpos), self._qpos.shape[1] + self._qvel.shape[1])
        self._noise = noise if sigma else None

    def render(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return an RGB image of one simulation, with its task's dynamics, from the family's camera.

        Raises:
            TespError: There is no OpenGL to render with.
        """
        if self._renderer is None:
            self._renderer = _Renderer(self._body.model)
        return self._renderer.image(self._batch, index, self._body.camera)

    def close(self) -> None:
        """Free the renderer; the simulations go on working. Closing twice is allowed."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _control_ranges(self, ids: np.ndarray) -> np.ndarray:
        own = self._batch.expanded("actuator_ctrlrange")
        return self._body.model.actuator_ctrlrange if own is None else own[ids]

    def _state(self, ids: np.ndarray) -> State:
        tasks = np.zeros((len(self._qpos), self._body.task_size)) if self._tasks is None else self._tasks
        return State(
            qpos=self._qpos[ids],
            qvel=self._qvel[ids],
            act=self._act[ids],
            ctrl=self._ctrl[ids],
            time=self._time[ids],
            task=tasks[ids],
            derived={name: field[ids] for name, field in self._derived.items()},
            model=self._body.model,
        )


class _Renderer:
    """Draws simulations of a batch, whose models differ."""

    def __init__(self, model: mujoco.MjModel):
        self._model = copy.copy(model)
        visual = model.vis.global_
        self._renderer = make_renderer(self._model, min(HEIGHT, visual.offheight), min(WIDTH, visual.offwidth))

    def image(self, batch: Batch, index: int, camera: int) -> np.ndarray:
        """Draw one simulation from a camera, −1 for a free one."""
        batch.get_model(index, self._model)
        data = batch.get_data(index)
        mujoco.mj_forward(self._model, data)
        self._renderer.update_scene(data, camera)
        return self._renderer.render()

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()
