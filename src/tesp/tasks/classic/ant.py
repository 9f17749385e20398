"""Gymnasium's ant, which walks in a direction or to a goal that it is not told."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import mujoco
import numpy as np
from jaxtyping import Bool, Float

from tesp.tasks.classic.models import gymnasium_model
from tesp.tasks.classic.motion import along, mean_velocity, sample_angles, squared_norm, torso_between, torso_in_plane
from tesp.tasks.mujoco.family import MJCFFamily
from tesp.tasks.mujoco.state import State

#: Physics steps in a control step, and its length in seconds.
SUBSTEPS = 5
STEP_SECONDS = 0.05

#: Heights of the torso between which the ant is healthy, in metres.
HEALTHY_HEIGHT = (0.2, 1.0)

#: What every step of a direction is worth besides, and the weights of ‖a‖².
SURVIVAL = 1.0
ACTION_COST_OF_DIRECTIONS = 0.5
ACTION_COST_OF_GOALS = 0.1

#: Distances of the goals from the start, in metres: those of D and D′, and those of D″.
TRAINED_DISTANCES = (0.0, 3.0)
FURTHER_DISTANCES = (3.0, 4.0)


def ant_model() -> mujoco.MjModel:
    """Return the body of Gymnasium's Ant-v5."""
    return gymnasium_model("ant.xml")


def observe_without_place(state: State) -> Float[np.ndarray, "simulation 27"]:
    """Return the positions but for x and y (13), then the velocities (14)."""
    return np.concatenate([state.qpos[:, 2:], state.qvel], axis=1)


def observe_with_place(state: State) -> Float[np.ndarray, "simulation 29"]:
    """Return the positions (15), then the velocities (14)."""
    return np.concatenate([state.qpos, state.qvel], axis=1)


def healthy(state: State) -> Bool[np.ndarray, " simulation"]:
    """Tell where everything is finite and 0.2 ≤ torso's height ≤ 1 m."""
    return torso_between(state, HEALTHY_HEIGHT)


def direction_reward(state: State, action: np.ndarray) -> Float[np.ndarray, " simulation"]:
    """Return v·(cos φ, sin φ) − 0.5·‖a‖² + 1, with the torso's mean velocity over the step; the task is (φ,)."""
    velocity = mean_velocity(state.qpos_before[:, :2], state.qpos[:, :2], STEP_SECONDS)
    return along(velocity, state.task[:, 0]) - ACTION_COST_OF_DIRECTIONS * squared_norm(action) + SURVIVAL


def goal_reward(state: State, action: np.ndarray) -> Float[np.ndarray, " simulation"]:
    """Return −‖x − g‖₁ − 0.1·‖a‖²; the task is the goal g = (x, y) in metres."""
    away = np.sum(np.abs(state.qpos[:, :2] - state.task), axis=1)
    return -away - ACTION_COST_OF_GOALS * squared_norm(action)


def distance(state: State) -> Float[np.ndarray, " simulation"]:
    """Return ‖x − g‖₂ in metres."""
    return np.linalg.norm(state.qpos[:, :2] - state.task, axis=1)


def sample_goals(generator: np.random.Generator, count: int, task_set: str) -> Float[np.ndarray, "task 2"]:
    """Draw goals uniformly by area: in the disc of 3 m for D and D′, around it up to 4 m for D″."""
    inner, outer = FURTHER_DISTANCES if task_set == "out_of_distribution" else TRAINED_DISTANCES
    radius = np.sqrt(generator.uniform(inner**2, outer**2, count))
    angle = generator.uniform(0.0, 2 * np.pi, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def ant_direction(*, horizon: int = 200, tasks_per_set: int = 100) -> MJCFFamily:
    """Make the family of directions in the plane; an episode ends when the torso leaves 0.2 … 1 m.

    The reward is that of Rothfuss et al. 2019 (ProMP) and Rakelly et al. 2019 (PEARL) without contact forces. Their
    directions fill the circle; here D″ is a quarter that D and D′ leave out.

    Args:
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of tasks in each of D, D′ and D″.

    Raises:
        ConfigurationError: An option is not possible.
    """
    return MJCFFamily(
        name="ant-direction-v1",
        model=ant_model,
        observe=observe_without_place,
        reward=direction_reward,
        sample_tasks=sample_angles,
        healthy=healthy,
        when_unhealthy="terminate",
        position=torso_in_plane,
        substeps=SUBSTEPS,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        made_by=ant_direction,
    )


def ant_goal(*, horizon: int = 200, tasks_per_set: int = 100) -> MJCFFamily:
    """Make the family of goals in a disc of 3 m, and beyond it for D″; no episode ends by itself.

    Reward and goals are those of Rothfuss et al. 2019 (ProMP), Rakelly et al. 2019 (PEARL) and Zintgraf et al. 2020
    (VariBAD), without contact forces.

    Args:
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of tasks in each of D, D′ and D″.

    Raises:
        ConfigurationError: An option is not possible.
    """
    return MJCFFamily(
        name="ant-goal-v1",
        model=ant_model,
        observe=observe_with_place,
        reward=goal_reward,
        sample_tasks=sample_goals,
        distance=distance,
        position=torso_in_plane,
        substeps=SUBSTEPS,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        made_by=ant_goal,
    )
