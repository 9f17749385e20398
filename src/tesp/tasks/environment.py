"""One simulation of a family as a Gymnasium environment."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import gymnasium
import numpy as np
from jaxtyping import Float

from tesp.errors import ConfigurationError
from tesp.tasks.checks import finite_numbers
from tesp.tasks.goals.goals import Goals, distance_to_goal
from tesp.tasks.simulation import EnvironmentPool, Simulation

#: Bound of the observation space. Physics never comes near it, and the space's range stays representable.
OBSERVATION_BOUND = float(np.finfo(np.float32).max)


@runtime_checkable
class SimulatedFamily(Protocol):
    """What an environment asks of a family; every `Family` is one."""

    @property
    def name(self) -> str:
        """The name, for errors."""
        ...

    @property
    def observation_size(self) -> int:
        """Number of entries of an observation."""
        ...

    @property
    def action_size(self) -> int:
        """Number of actuators."""
        ...

    @property
    def task_size(self) -> int:
        """Number of parameters of a task."""
        ...

    @property
    def goals(self) -> Goals | None:
        """What tasks are where they are goals in the plane."""
        ...

    def draw_task(self, generator: np.random.Generator) -> Float[np.ndarray, " parameter"]:
        """Draw a task like those of D."""
        ...

    def simulate(self, count: int, threads: int = 0) -> Simulation | EnvironmentPool:
        """Make ``count`` simulations."""
        ...


class FamilyEnvironment(gymnasium.Env[np.ndarray, np.ndarray]):
    """One simulation of a family; a task is its row of parameters, for families of goals (x, y) in metres.

    Actions lie in [−1, 1]; the task is not observed. An episode is terminated on arrival (and where the
    family ends it when unhealthy). It is truncated by Gymnasium's ``TimeLimit``, which ``gymnasium.make`` and
    ``family.environment`` add; an environment constructed directly has no horizon.

    The ``info`` of ``reset`` and ``step`` holds the task, under ``goal`` (m) in families of goals and ``task`` in
    others, ``position`` (m), ``success``, ``healthy`` and, where the family has one, ``distance`` (m); that of ``step``
    also ``distance_reward``.

    Args:
        family: The family.
        render_mode: None or ``rgb_array``.
        task: The task of all episodes for which ``reset`` is given no other; by default each reset draws one.
        goal: The same by another name, for families of goals.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012 (declared so by Gymnasium)

    def __init__(
        self,
        family: SimulatedFamily,
        render_mode: str | None = None,
        task: Sequence[float] | np.ndarray | None = None,
        goal: Sequence[float] | np.ndarray | None = None,
    ):
        self._family = family
        if render_mode not in (None, "rgb_array"):
            raise ConfigurationError(f"render_mode is {render_mode!r}; it must be None or 'rgb_array'.")
        self.render_mode = render_mode
        simulation = self._family.simulate(1, threads=1)
        if not isinstance(simulation, Simulation):
            raise ConfigurationError(
                f"The family {self._family.name!r} runs in environments of its own; make one with family.environment()."
            )
        self._simulation = simulation
        self._key = "task" if family.goals is None else "goal"
        if goal is not None and (task is not None or self._key != "goal"):
            raise ConfigurationError(
                f"goal is {goal!r}; give either a goal or a task, and a task where tasks are no goals."
            )
        task = goal if task is None else task
        self._own_task = None if task is None else _checked_task(self._key, task, self._family.task_size)
        self._task = np.zeros(self._family.task_size)
        self._ids = np.arange(1)
        self._is_reset = False
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (self._family.action_size,), np.float32)
        self.observation_space = gymnasium.spaces.Box(
            -OBSERVATION_BOUND, OBSERVATION_BOUND, (self._family.observation_size,), np.float64
        )

    @property
    def family(self) -> SimulatedFamily:
        """The family that the environment belongs to."""
        return self._family

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, " observation"], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: Seed of the tasks that are drawn from now on.
            options: ``{"goal": (x, y)}`` in metres, or ``{"task": …}`` where tasks are no goals. Without it the episode
                has the environment's task, or one that is drawn as those of D are.

        Returns:
            The first observation, and the info.

        Raises:
            ConfigurationError: An option is unknown, or the task is not as many finite numbers as it must be.
        """
        super().reset(seed=seed)
        task = self._given_task(options or {})
        if task is None:
            task = self._own_task if self._own_task is not None else self._family.draw_task(self.np_random)
        self._task = task
        observation = self._simulation.reset(task[None])[0]
        self._is_reset = True
        position = self._simulation.positions[0]
        distance, success = np.nan, False
        goals = self._family.goals
        if goals is not None:
            distance = float(distance_to_goal(position[None], task[None])[0])
            success = distance < goals.arrival
        return observation, {
            **_told(distance),
            "success": success,
            "position": position,
            self._key: task.copy(),
            "healthy": True,
        }

    def step(
        self, action: Float[np.ndarray, " action"]
    ) -> tuple[Float[np.ndarray, " observation"], float, bool, bool, dict[str, Any]]:
        """Advance by one control step; the action is clipped to [−1, 1].

        Raises:
            gymnasium.error.ResetNeeded: The environment has not been reset yet.
            ConfigurationError: The action has the wrong size.
            NonFiniteError: The action is not finite, or the physics broke down.
        """
        if not self._is_reset:
            raise gymnasium.error.ResetNeeded("Call reset before step.")
        done = self._simulation.step(self._ids, np.asarray(action)[None])
        info = {
            "distance_reward": float(done.distance_reward[0]),
            **_told(float(done.distance[0])),
            "success": bool(done.success[0]),
            "position": done.position[0],
            self._key: self._task.copy(),
            "healthy": bool(done.healthy[0]),
        }
        return done.observation[0], float(done.reward[0]), bool(done.terminated[0]), False, info

    def render(self) -> np.ndarray:
        """Return an RGB image of the simulation with its goal marked.

        Raises:
            ConfigurationError: The environment was not made with ``render_mode="rgb_array"``.
            TespError: There is no OpenGL to render with.
        """
        if self.render_mode is None:
            raise ConfigurationError('render_mode is None; make the environment with render_mode="rgb_array".')
        return self._simulation.render(0)

    def close(self) -> None:
        """Free the renderer."""
        self._simulation.close()

    def __getstate__(self) -> dict[str, Any]:
        # What the engine holds of its own cannot be copied: the state goes along, and another engine takes it up.
        return {**self.__dict__, "_simulation": self._simulation.snapshot()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        fresh = self._family.simulate(1, threads=1)
        assert isinstance(fresh, Simulation)
        self._simulation = fresh.restored(state["_simulation"])

    def _given_task(self, options: dict[str, Any]) -> Float[np.ndarray, " parameter"] | None:
        unknown = sorted(set(options) - {self._key}, key=str)
        if unknown:
            raise ConfigurationError(f"reset has no option {unknown[0]!r}; its only option is {self._key!r}.")
        given = options.get(self._key)
        return None if given is None else _checked_task(self._key, given, self._family.task_size)


def _told(distance: float) -> dict[str, float]:
    """Return the entry of a distance; none where there is no distance, as NaN is unequal to itself."""
    return {} if np.isnan(distance) else {"distance": distance}


def _checked_task(key: str, given: Any, size: int) -> Float[np.ndarray, " parameter"]:
    try:
        task = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        task = np.empty(0)
    if task.shape != (size,) or not np.isfinite(task).all():
        what = "two finite numbers (x, y) in metres" if key == "goal" else finite_numbers(size)
        raise ConfigurationError(f"{key} is {given!r}; it must be {what}.")
    return task
