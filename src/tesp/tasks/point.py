"""A point in the plane that moves as it is told: no physics, for demonstrations and tests."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tesp.task_sets import TaskSet
from tesp.tasks.checks import check_simulate, checked_count, checked_tasks, clip_actions
from tesp.tasks.drawing import draw_plane
from tesp.tasks.family import Family
from tesp.tasks.goals.goals import ONE_GOAL, Goals
from tesp.tasks.simulation import Simulation, Transition
from tesp.tasks.state_noise import StateNoise

#: An episode ends when the point is nearer to the goal than this, in metres.
ARRIVAL = 0.02

#: Metres that an action of 1 moves the point along its axis.
STEP_LENGTH = 0.1


@dataclass(frozen=True, kw_only=True)
class PointFamily(Family):
    """The point starts at the origin; a control step adds 0.1·clip(a, −1, 1) metres. Observation: x, y.

    Attributes:
        horizon: Control steps after which an episode is truncated.
        inner_radius: As in `Goals`, like the next three.
        boundary_radius: As in `Goals`.
        outer_radius: As in `Goals`.
        spacing: As in `Goals`.
        tasks_per_set: Number of goals in each of D, D′ and D″.
    """

    name: str = field(init=False, default="point")
    observation_size: int = field(init=False, default=2)
    action_size: int = field(init=False, default=2)
    task_size: int = field(init=False, default=2)
    goals: Goals = field(init=False, repr=False, compare=False)  # pyright: ignore[reportIncompatibleVariableOverride]
    horizon: int = 100
    inner_radius: float = Goals.inner_radius
    boundary_radius: float = Goals.boundary_radius
    outer_radius: float = Goals.outer_radius
    spacing: float = Goals.spacing
    tasks_per_set: int = 100

    def __post_init__(self) -> None:
        for name in ("horizon", "tasks_per_set"):
            object.__setattr__(self, name, checked_count(name, getattr(self, name)))
        goals = Goals(
            arrival=ARRIVAL,
            inner_radius=self.inner_radius,
            boundary_radius=self.boundary_radius,
            outer_radius=self.outer_radius,
            spacing=self.spacing,
        )
        for name, value in {**goals.options, "goals": goals}.items():
            object.__setattr__(self, name, value)

    @property
    def options(self) -> dict[str, Any]:
        """The options, JSON-able: ``make_family(family.name, **family.options)`` equals ``family``."""
        return {option.name: getattr(self, option.name) for option in fields(self) if option.init}

    def sample_task_sets(self, seed: int) -> dict[str, TaskSet]:
        """Draw D, D′ and D″; the same options and seed always give the same goals.

        Raises:
            ConfigurationError: The seed is negative or the spacing cannot be met.
        """
        return self.goals.sample_task_sets(self.name, seed, self.tasks_per_set)

    def draw_task(self, generator: np.random.Generator) -> Float[np.ndarray, "2"]:
        """Draw a goal uniformly by area from the training area."""
        return self.goals.draw_task(generator)

    def simulate(self, count: int, threads: int = 0) -> Simulation:
        """Make ``count`` points; they need no threads.

        Raises:
            ConfigurationError: ``count`` is below 1 or ``threads`` is negative.
        """
        check_simulate(count, threads)
        return PointSimulation(self, count)


class PointSimulation(Simulation):
    """n points with a goal each."""

    def __init__(self, family: PointFamily, count: int):
        self._family = family
        self._positions = np.zeros((count, 2))
        self._goals = np.zeros((count, 2))
        self._noise: StateNoise | None = None

    @property
    def goals(self) -> Float[np.ndarray, "simulation 2"]:
        """The goals (x, y) of the last reset, in metres."""
        return self._goals.copy()

    @property
    def positions(self) -> Float[np.ndarray, "simulation 2"]:
        """The positions now, in metres."""
        return self._positions.copy()

    def reset(self, tasks: Float[np.ndarray, "simulation parameter"]) -> Float[np.ndarray, "simulation observation"]:
        """Put every point at the origin with the given goals; return the first observations."""
        self._goals = checked_tasks(tasks, len(self._positions), 2, ONE_GOAL)
        self._positions[:] = 0.0
        if self._noise is not None:
            self._noise.restart()
        return self._positions.copy()

    def restart(self, ids: Int[np.ndarray, " restarted"]) -> Float[np.ndarray, "restarted observation"]:
        """Put the points ``ids`` at the origin again; return their first observations."""
        self._positions[ids] = 0.0
        return self._positions[ids]

    def step(self, ids: Int[np.ndarray, " stepped"], actions: Float[np.ndarray, "stepped action"]) -> Transition:
        """Move the points ``ids`` by 0.1·clip(a, −1, 1) metres; the others stay where they are."""
        clipped = clip_actions(actions, ids, self._family.action_size)
        self._positions[ids] += STEP_LENGTH * clipped
        if self._noise is not None:
            self._positions[ids] += self._noise.draw(ids)
        position = self._positions[ids]
        approach = self._family.goals.approach(position, self._goals[ids], clipped)
        return Transition(
            observation=position.copy(),
            reward=approach.reward,
            distance_reward=-approach.distance,
            distance=approach.distance,
            position=position,
            terminated=approach.success,
            success=approach.success,
            healthy=np.ones(len(position), bool),
        )

    def disturb(self, sigma: float, seed: Sequence[int], first: int = 0) -> None:
        """Add N(0, σ²) to x and y after every control step, in metres; 0 ends it.

        Raises:
            ConfigurationError: σ is negative or not finite.
        """
        noise = StateNoise(sigma, seed, *self._positions.shape, first)
        self._noise = noise if sigma else None

    def render(self, index: int) -> np.ndarray:
        """Return an RGB image (480, 480, 3) of one point, its goal and the boundary of the training area."""
        return draw_plane(self._positions[index], self._goals[index], self._family.goals.boundary_radius)
