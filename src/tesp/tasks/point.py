"""A point in the plane that moves as it is told: no physics, for demonstrations and tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from tesp.tasks.base import Transition
from tesp.tasks.drawing import draw_plane
from tesp.tasks.goal_family import (
    GoalFamily,
    GoalSimulation,
    check_simulate,
    check_tasks,
    clip_actions,
    make_presets,
)
from tesp.tasks.state_noise import StateNoise

#: Metres that an action of 1 moves the point along its axis.
STEP_LENGTH = 0.1

# The point needs the later fast-updates for precision; a loss on every round would let the first one do nearly
# everything. Small rates that quickly become larger suit an encoder or a vector, whose gradients are large here; whole
# policies need large rates from the start.
PRESETS = make_presets(
    units=(64, 64),
    encoder=64,
    embedding=8,
    penalty=0.01,
    scaled={
        "early_loss_weight": 0.0,
        "epochs": 20,
        "learning_rate": 1e-3,
        "initial_rate": 0.001,
        "rates_step": 1.0,
        "embedding_penalty": 0.01,
        "algorithms": {"maml": {"initial_rate": 0.05}, "meta-sgd": {"initial_rate": 0.05}},
    },
    quick={"meta_updates": 40, "evaluate_every": 10, "parameter_average": 0.8},
)


@dataclass(frozen=True, kw_only=True)
class PointFamily(GoalFamily):
    """The point starts at the origin; a control step adds 0.1·clip(a, −1, 1) metres. Observation: x, y."""

    name: str = field(init=False, default="point")
    observation_size: int = field(init=False, default=2)
    action_size: int = field(init=False, default=2)
    arrival: float = field(init=False, default=0.02)
    horizon: int = 100

    @property
    def presets(self) -> Mapping[str, Mapping[str, Any]]:
        """Configuration values that suit the point, by preset name."""
        return PRESETS

    def simulate(self, count: int, threads: int = 0) -> GoalSimulation:
        """Make ``count`` points; they need no threads.

        Raises:
            ConfigurationError: ``count`` is below 1 or ``threads`` is negative.
        """
        check_simulate(count, threads)
        return PointSimulation(self, count)


class PointSimulation(GoalSimulation):
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
        self._goals = check_tasks(tasks, len(self._positions))
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
        healthy = np.ones(len(position), bool)
        return self._family.transition(position.copy(), position, self._goals[ids], clipped, healthy)

    def disturb(self, sigma: float, seed: Sequence[int]) -> None:
        """Add N(0, σ²) to x and y after every control step, in metres; 0 ends it.

        Raises:
            ConfigurationError: σ is negative or not finite.
        """
        noise = StateNoise(sigma, seed, *self._positions.shape)
        self._noise = noise if sigma else None

    def render(self, index: int) -> np.ndarray:
        """Return an RGB image (480, 480, 3) of one point, its goal and the boundary of the training area."""
        return draw_plane(self._positions[index], self._goals[index], self._family.boundary_radius)

    def close(self) -> None:
        """Do nothing: drawing holds nothing."""
