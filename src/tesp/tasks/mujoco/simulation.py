"""Simulations of one body with a task each, seen through a family's functions."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from tesp.tasks.checks import checked_tasks, clip_actions, finite_numbers
from tesp.tasks.compiled_dynamics import CompiledDynamics
from tesp.tasks.goals.goals import ONE_GOAL
from tesp.tasks.mujoco.engine import Body, Engine
from tesp.tasks.mujoco.rendering import SceneRenderer
from tesp.tasks.mujoco.state import State
from tesp.tasks.simulation import Simulation, Transition
from tesp.tasks.state_noise import StateNoise

#: (body, number of simulations, threads) → what steps them.
EngineMaker = Callable[[Body, int, int], Engine]


class MJCFSimulation(Simulation):
    """n simulations, each with a task and dynamics of its own.

    Results do not depend on which other simulations are stepped; how threads matter, the engine says.
    """

    def __init__(self, body: Body, engine: Engine):
        self._body, self._engine = body, engine
        self._tasks = np.zeros((len(engine.qpos), body.task_size))
        self._taken = False
        self._noise: StateNoise | None = None
        self._renderer: SceneRenderer | None = None

    @property
    def engine(self) -> Engine:
        """What steps the simulations."""
        return self._engine

    @property
    def compiled(self) -> CompiledDynamics | None:
        """The body as pure functions; None while there is noise on its dynamics, or if the engine has none."""
        return None if self._noise is not None else self._engine.compiled

    @property
    def tasks(self) -> Float[np.ndarray, "simulation parameter"]:
        """The tasks of the last reset."""
        return self._tasks.copy()

    @property
    def positions(self) -> Float[np.ndarray, "simulation 2"]:
        """The positions in the plane now; NaN if the family has none."""
        return self._body.functions.place(self._state())

    @property
    def qpos(self) -> Float[np.ndarray, "simulation nq"]:
        """The generalised positions; what is written here is the state at the next step."""
        return self._engine.qpos

    @property
    def qvel(self) -> Float[np.ndarray, "simulation nv"]:
        """The generalised velocities; what is written here is the state at the next step."""
        return self._engine.qvel

    def reset(self, tasks: Float[np.ndarray, "simulation parameter"]) -> Float[np.ndarray, "simulation observation"]:
        """Put every simulation at the start, with the dynamics of its task; return the first observations.

        Raises:
            ConfigurationError: There is not one finite task for every simulation, or its dynamics are not possible.
        """
        size = self._body.task_size
        what = finite_numbers(size) if self._body.goals is None else ONE_GOAL
        given = checked_tasks(tasks, len(self._tasks), size, what)
        # The rounds of an adaptation have the same tasks: the engine's constants need not be derived again for them.
        if not self._taken or not np.array_equal(given, self._tasks):
            self._taken = False
            self._engine.take_tasks(given)
            self._tasks, self._taken = given, True
        self._engine.begin()
        if self._noise is not None:
            self._noise.restart()
        return self._body.functions.observation(self._state())

    def restart(self, ids: Int[np.ndarray, " restarted"]) -> Float[np.ndarray, "restarted observation"]:
        """Put the simulations ``ids`` at the start again, with their tasks; return their first observations."""
        self._engine.begin(ids)
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
        low, high = np.moveaxis(self._engine.control_ranges(ids), -1, 0)
        self._engine.ctrl[ids] = (low + high) / 2 + (high - low) / 2 * clipped
        before = self._configuration(ids)
        self._engine.advance(ids, self._noise)
        # A diverged state is reported by the learner, not by a warning from NumPy on the way.
        with np.errstate(invalid="ignore", over="ignore"):
            return self._body.functions.transition(self._state(ids, before), clipped)

    def disturb(self, sigma: float, seed: Sequence[int], first: int = 0) -> None:
        """Add N(0, σ²) to every generalised position and velocity after every control step; 0 ends it.

        Orientations are normalised afterwards.

        Raises:
            ConfigurationError: σ is negative or not finite.
        """
        noise = StateNoise(sigma, seed, len(self.qpos), self.qpos.shape[1] + self.qvel.shape[1], first)
        self._noise = noise if sigma else None

    def render(self, index: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return an RGB image of one simulation, with its task's dynamics, from the family's camera.

        A goal in the plane and the boundary of the training area are drawn too.

        Raises:
            TespError: There is no OpenGL to render with.
        """
        if self._renderer is None:
            self._renderer = SceneRenderer(self._body.model)
        data = self._engine.pose(index, self._renderer.model)
        goals = self._body.goals
        if goals is None:
            return self._renderer.image(data, self._body.camera)
        return self._renderer.image(data, self._body.camera, self._tasks[index], goals.boundary_radius)

    def snapshot(self) -> dict[str, Any]:
        """Return the states, the tasks and the noise."""
        own = {"tasks": self._tasks, "taken": self._taken, "noise": self._noise}
        return copy.deepcopy({**own, "engine": self._engine.state()})

    def restored(self, snapshot: dict[str, Any]) -> "MJCFSimulation":
        """Go on from a snapshot."""
        self._tasks, self._taken, self._noise = snapshot["tasks"], snapshot["taken"], snapshot["noise"]
        if self._taken:
            self._engine.take_tasks(self._tasks)
        self._engine.begin()
        self._engine.take_state(snapshot["engine"])
        return self

    def close(self) -> None:
        """Free the renderer; the simulations go on working. Closing twice is allowed."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _state(self, ids: Int[np.ndarray, " seen"] | None = None, before: "_Configuration | None" = None) -> State:
        """Return copies of the states of the simulations ``ids``, or of all.

        Args:
            ids: The simulations; None for all.
            before: What `_configuration` returned before their control step; None where none was taken.
        """
        engine = self._engine
        now = self._configuration(ids)
        earlier = self._configuration(ids) if before is None else before
        return State(
            qpos=now.qpos,
            qvel=_rows(engine.qvel, ids),
            act=_rows(engine.act, ids),
            ctrl=_rows(engine.ctrl, ids),
            time=_rows(engine.time, ids),
            task=_rows(self._tasks, ids),
            derived=now.derived,
            model=self._body.model,
            qpos_before=earlier.qpos,
            derived_before=earlier.derived,
        )

    def _configuration(self, ids: Int[np.ndarray, " seen"] | None) -> "_Configuration":
        """Return copies of where the simulations ``ids``, or all, are."""
        derived = {name: _rows(field, ids) for name, field in self._engine.derived.items()}
        return _Configuration(_rows(self._engine.qpos, ids), derived)


class _Configuration(NamedTuple):
    """Where simulations are: generalised positions, and the derived fields by name."""

    qpos: Float[np.ndarray, "simulation nq"]
    derived: dict[str, np.ndarray]


def _rows(values: np.ndarray, ids: Int[np.ndarray, " seen"] | None) -> np.ndarray:
    """Return copies of the rows ``ids``, or of all."""
    return values.copy() if ids is None or len(ids) == len(values) else values[ids]
