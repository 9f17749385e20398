"""Families whose tasks are goals in the plane: their options, task sets, reward and end of an episode."""

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tesp.errors import ConfigurationError, NonFiniteError
from tesp.task_sets import TaskSet
from tesp.tasks.base import Family, Simulation, Transition
from tesp.tasks.goals import Annulus, sample_task_sets
from tesp.tasks.scales import PAPER, QUICK, SMALL

#: Weight of ‖a‖² in the reward.
ACTION_COST = 0.001


def distance_to_goal(
    position: Float[np.ndarray, "*batch 2"], goal: Float[np.ndarray, "*batch 2"]
) -> Float[np.ndarray, "*batch"]:
    """Return ‖x − g‖₂ in metres."""
    return np.hypot(position[..., 0] - goal[..., 0], position[..., 1] - goal[..., 1])


def reward(
    distance: Float[np.ndarray, "*batch"], action: Float[np.ndarray, "*batch action"]
) -> Float[np.ndarray, "*batch"]:
    """Return −‖x − g‖₂ − 0.001·‖a‖², with the distance in metres and the clipped action in [−1, 1]."""
    return -distance - ACTION_COST * np.sum(action**2, axis=-1)


def clip_actions(actions: np.ndarray, ids: np.ndarray, size: int) -> Float[np.ndarray, "stepped action"]:
    """Return the actions of the simulations ``ids``, clipped to [−1, 1] in double precision.

    Raises:
        ConfigurationError: There is not one action of ``size`` entries for every simulation.
        NonFiniteError: An action is NaN or infinite; the engine would silently take it for zero.
    """
    if actions.shape != (len(ids), size):
        raise ConfigurationError(f"actions have shape {actions.shape}; it must be ({len(ids)}, {size}).")
    finite = np.isfinite(actions)
    if not finite.all():
        blamed = int(np.asarray(ids)[~finite.all(axis=1)][0])
        raise NonFiniteError("action", detail=f"simulation {blamed}")
    return np.clip(actions.astype(np.float64, copy=False), -1.0, 1.0)


def check_tasks(tasks: np.ndarray, count: int) -> Float[np.ndarray, "simulation 2"]:
    """Return a copy of the goals, one a simulation.

    Raises:
        ConfigurationError: There is not one finite goal (x, y) for every simulation.
    """
    goals = np.array(tasks, dtype=np.float64)
    if goals.shape != (count, 2) or not np.isfinite(goals).all():
        raise ConfigurationError(
            f"tasks have shape {goals.shape}; reset takes one finite goal (x, y) for each of {count} simulations."
        )
    return goals


class GoalSimulation(Simulation):
    """Simulations that have a position in the plane and a goal each."""

    @property
    @abc.abstractmethod
    def goals(self) -> Float[np.ndarray, "simulation 2"]:
        """The goals (x, y) of the last reset, in metres."""

    @abc.abstractmethod
    def close(self) -> None:
        """Free what rendering holds; the simulations go on working. Closing twice is allowed."""


@dataclass(frozen=True, kw_only=True)
class GoalFamily(Family):
    """What all families of goals share, with the options common to them.

    Attributes:
        arrival: An episode ends when the distance to the goal falls below this, in metres.
        when_unhealthy: ``terminate`` if an unhealthy body ends the episode, else ``continue``.
        inner_radius: D and D′ lie further than this from the start's origin, in metres.
        boundary_radius: D and D′ lie within, D″ beyond, in metres.
        outer_radius: D″ lies within, in metres.
        spacing: Least distance between goals, in metres.
        tasks_per_set: Number of goals in each of D, D′ and D″.
    """

    name: str = field(init=False)
    observation_size: int = field(init=False)
    action_size: int = field(init=False)
    arrival: float = field(init=False)
    task_size: int = field(init=False, default=2)
    when_unhealthy: str = field(init=False, default="continue")
    horizon: int = 200
    inner_radius: float = 0.2
    boundary_radius: float = 1.1
    outer_radius: float = 1.5
    spacing: float = 0.10
    tasks_per_set: int = 100

    def __post_init__(self) -> None:
        for name in ("horizon", "tasks_per_set"):
            object.__setattr__(self, name, checked_count(name, getattr(self, name)))
        for name in ("inner_radius", "boundary_radius", "outer_radius", "spacing"):
            object.__setattr__(self, name, checked_length(name, getattr(self, name)))
        if not self.inner_radius < self.boundary_radius < self.outer_radius:
            raise ConfigurationError(
                f"inner_radius is {self.inner_radius:g}, boundary_radius {self.boundary_radius:g} and "
                f"outer_radius {self.outer_radius:g} m; they must increase in this order."
            )
        if self.when_unhealthy not in ("terminate", "continue"):
            raise ConfigurationError(
                f"when_unhealthy is {self.when_unhealthy!r}; it must be 'terminate' or 'continue'."
            )

    @property
    def options(self) -> dict[str, Any]:
        """The options, JSON-able: ``make_family(family.name, **family.options)`` equals ``family``."""
        return {option.name: getattr(self, option.name) for option in fields(self) if option.init}

    @property
    def training_area(self) -> Annulus:
        """Where D and D′ lie."""
        return Annulus(self.inner_radius, self.boundary_radius)

    @property
    def outside_area(self) -> Annulus:
        """Where D″ lies."""
        return Annulus(self.boundary_radius, self.outer_radius)

    def sample_task_sets(self, seed: int) -> dict[str, TaskSet]:
        """Draw D, D′ and D″; the same family, options and seed always give the same goals.

        Raises:
            ConfigurationError: The seed is negative or the spacing cannot be met.
        """
        return sample_task_sets(
            self.name, seed, self.tasks_per_set, self.training_area, self.outside_area, self.spacing
        )

    def draw_task(self, generator: np.random.Generator) -> Float[np.ndarray, "2"]:
        """Draw a goal uniformly by area from the training area: ρ² and the angle are uniform."""
        area = self.training_area
        radius = np.sqrt(generator.uniform(area.inner**2, area.outer**2))
        angle = generator.uniform(0.0, 2 * np.pi)
        return radius * np.array([np.cos(angle), np.sin(angle)])

    def transition(
        self,
        observation: Float[np.ndarray, "stepped observation"],
        position: Float[np.ndarray, "stepped 2"],
        goal: Float[np.ndarray, "stepped 2"],
        action: Float[np.ndarray, "stepped action"],
        healthy: Bool[np.ndarray, " stepped"],
    ) -> Transition:
        """Return what a control step did, from the state after it and the clipped action."""
        distance = distance_to_goal(position, goal)
        success = distance < self.arrival
        fell = ~healthy if self.when_unhealthy == "terminate" else np.zeros_like(healthy)
        return Transition(
            observation=observation,
            reward=reward(distance, action),
            distance_reward=-distance,
            distance=distance,
            position=position,
            terminated=success | fell,
            success=success,
            healthy=healthy,
        )

    @abc.abstractmethod
    def simulate(self, count: int, threads: int = 0) -> GoalSimulation:
        """Make ``count`` simulations, stepped on ``threads`` threads (0: all cores)."""


def check_simulate(count: int, threads: int) -> None:
    """Check the arguments of ``simulate``.

    Raises:
        ConfigurationError: There is no simulation to make, or the number of threads is negative.
    """
    checked_count("count", count)
    if isinstance(threads, bool) or not isinstance(threads, Integral) or threads < 0:
        raise ConfigurationError(f"threads is {threads!r}; it must be a positive integer, or 0 for all cores.")


def make_presets(
    *,
    units: tuple[int, int],
    encoder: int,
    embedding: int,
    penalty: float,
    scaled: Mapping[str, Any] | None = None,
    quick: Mapping[str, Any] | None = None,
    small: Mapping[str, Any] | None = None,
    paper_algorithms: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return a family's presets ``paper``, ``quick`` and ``small``.

    Args:
        units: Units of the policy's hidden layers in ``paper``.
        encoder: Units of the encoder there.
        embedding: d there, and where nothing else is said.
        penalty: η in ``paper``.
        scaled: What the family changes of the values that `tesp.tasks.scales` gives ``quick`` and ``small``.
        quick: Likewise of ``quick`` alone.
        small: Likewise of ``small`` alone.
        paper_algorithms: Values of single algorithms in ``paper``.
    """
    paper = {
        **PAPER,
        "policy_units": units,
        "encoder_units": encoder,
        "embedding_size": embedding,
        "embedding_penalty": penalty,
        "algorithms": dict(paper_algorithms or {}),
    }
    both = {"embedding_size": embedding, "horizon": 100, **(scaled or {})}
    return {
        "paper": paper,
        "quick": {**QUICK, **both, **(quick or {})},
        "small": {**SMALL, **both, **(small or {})},
    }


def checked_count(name: str, value: Any) -> int:
    """Return a number of things, or raise a ConfigurationError that names the value."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigurationError(f"{name} is {value!r}; it must be an integer of at least 1.")
    return int(value)


def checked_length(name: str, value: Any) -> float:
    """Return a length in metres, or raise a ConfigurationError that names the value."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        raise ConfigurationError(f"{name} is {value!r}; it must be a finite length in metres, not negative.")
    return float(value)
