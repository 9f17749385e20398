"""Tasks that are goals in the plane: their areas, their reward, and when one is reached."""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypedDict

import numpy as np
from jaxtyping import Bool, Float

from tesp.errors import ConfigurationError
from tesp.task_sets import TaskSet
from tesp.tasks.checks import checked_length
from tesp.tasks.goals.annulus import Annulus
from tesp.tasks.goals.sampling import sample_task_sets

#: Weight of ‖a‖² in the reward.
ACTION_COST = 0.001

#: What a simulation's reset takes, in the words of an error.
ONE_GOAL = "one finite goal (x, y)"


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


class GoalOptions(TypedDict, total=False):
    """The options of `Goals` that a user may set."""

    inner_radius: float
    boundary_radius: float
    outer_radius: float
    spacing: float


class Approach(NamedTuple):
    """What a control step was worth.

    Attributes:
        reward: −‖x − g‖₂ − 0.001·‖a‖².
        distance: ‖x − g‖₂ in metres.
        success: The distance is below the arrival threshold, which ends the episode.
    """

    reward: Float[np.ndarray, " simulation"]
    distance: Float[np.ndarray, " simulation"]
    success: Bool[np.ndarray, " simulation"]


@dataclass(frozen=True, kw_only=True)
class Goals:
    """Goals in the plane, for a family to hold. The start's origin is (0, 0).

    Attributes:
        arrival: An episode ends when the distance to the goal falls below this, in metres.
        inner_radius: D and D′ lie further than this from the origin, in metres.
        boundary_radius: D and D′ lie within, D″ beyond, in metres.
        outer_radius: D″ lies within, in metres.
        spacing: Least distance between goals, in metres.
        reach: The body gets no further than this from the origin whatever it does, in metres; None where it may.

    Raises:
        ConfigurationError: A length is negative or not finite, or the radii do not increase in this order.
    """

    arrival: float
    inner_radius: float = 0.2
    boundary_radius: float = 1.1
    outer_radius: float = 1.5
    spacing: float = 0.10
    reach: float | None = None

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            if value is not None or option.default is not None:
                object.__setattr__(self, option.name, checked_length(option.name, value))
        if not self.inner_radius < self.boundary_radius < self.outer_radius:
            raise ConfigurationError(
                f"inner_radius is {self.inner_radius:g}, boundary_radius {self.boundary_radius:g} and "
                f"outer_radius {self.outer_radius:g} m; they must increase in this order."
            )

    @property
    def options(self) -> dict[str, Any]:
        """The values of `GoalOptions`, JSON-able."""
        return {name: getattr(self, name) for name in GoalOptions.__annotations__}

    @property
    def training_area(self) -> Annulus:
        """Where D and D′ lie."""
        return Annulus(self.inner_radius, self.boundary_radius)

    @property
    def outside_area(self) -> Annulus:
        """Where D″ lies."""
        return Annulus(self.boundary_radius, self.outer_radius)

    def within_reach(self, goal: Float[np.ndarray, "2"]) -> bool:
        """Tell whether an episode may ever arrive at a goal; those of D, D′ and D″ are never doubted."""
        if self.reach is None:
            return True
        return float(np.hypot(*goal)) < max(self.reach + self.arrival, self.outer_radius)

    def sample_task_sets(self, name: str, seed: int, count: int) -> dict[str, TaskSet]:
        """Draw D, D′ and D″, ``count`` goals each; the same name, options and seed always give the same goals.

        Raises:
            ConfigurationError: The seed is negative or the spacing cannot be met.
        """
        return sample_task_sets(name, seed, count, self.training_area, self.outside_area, self.spacing)

    def draw_task(self, generator: np.random.Generator) -> Float[np.ndarray, "2"]:
        """Draw a goal uniformly by area from the training area: ρ² and the angle are uniform."""
        area = self.training_area
        radius = np.sqrt(generator.uniform(area.inner**2, area.outer**2))
        angle = generator.uniform(0.0, 2 * np.pi)
        return radius * np.array([np.cos(angle), np.sin(angle)])

    def approach(
        self,
        position: Float[np.ndarray, "simulation 2"],
        goal: Float[np.ndarray, "simulation 2"],
        action: Float[np.ndarray, "simulation action"],
    ) -> Approach:
        """Return what a step was worth, from the position after it, the goal (both in m) and the clipped action."""
        distance = distance_to_goal(position, goal)
        return Approach(reward(distance, action), distance, distance < self.arrival)
