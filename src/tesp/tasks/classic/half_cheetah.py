"""The half cheetah that runs at a speed, or in a direction, that it is not told."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import mujoco
import numpy as np
from jaxtyping import Float

from tesp.tasks.classic.models import gymnasium_model
from tesp.tasks.classic.motion import mean_velocity, squared_norm, torso_on_line
from tesp.tasks.mujoco.family import MJCFFamily
from tesp.tasks.mujoco.state import State

#: Physics steps in a control step, and its length in seconds.
SUBSTEPS = 5
STEP_SECONDS = 0.05

#: Weight of ‖a‖² in both rewards.
ACTION_COST = 0.05

#: Targets in m/s: those of D and D′, and those of D″.
TRAINED_VELOCITIES = (0.0, 3.0)
FASTER_VELOCITIES = (3.0, 4.0)

#: How much the floor rises or falls in the tasks of D″ of the directions, in radians.
SLOPES = (0.1, 0.2)


def half_cheetah_model() -> mujoco.MjModel:
    """Return the body of Gymnasium's HalfCheetah-v5."""
    return gymnasium_model("half_cheetah.xml")


def observe(state: State) -> Float[np.ndarray, "simulation 17"]:
    """Return the positions but for x (8), then the velocities (9)."""
    return np.concatenate([state.qpos[:, 1:], state.qvel], axis=1)


def velocity(state: State) -> Float[np.ndarray, " simulation"]:
    """Return the mean velocity along x over the control step in m/s."""
    return mean_velocity(state.qpos_before[:, 0], state.qpos[:, 0], STEP_SECONDS)


def velocity_reward(state: State, action: np.ndarray) -> Float[np.ndarray, " simulation"]:
    """Return −|v − v*| − 0.05·‖a‖²; the task is (v*,) in m/s."""
    return -np.abs(velocity(state) - state.task[:, 0]) - ACTION_COST * squared_norm(action)


def direction_reward(state: State, action: np.ndarray) -> Float[np.ndarray, " simulation"]:
    """Return d·v − 0.05·‖a‖²; the task is (d, slope) with d = 1 for forwards and −1 for backwards."""
    return state.task[:, 0] * velocity(state) - ACTION_COST * squared_norm(action)


def sample_velocities(generator: np.random.Generator, count: int, task_set: str) -> Float[np.ndarray, "task 1"]:
    """Draw targets in m/s, uniformly."""
    between = FASTER_VELOCITIES if task_set == "out_of_distribution" else TRAINED_VELOCITIES
    return generator.uniform(*between, (count, 1))


def sample_directions(generator: np.random.Generator, count: int, task_set: str) -> Float[np.ndarray, "task 2"]:
    """Draw (d, slope in radians): d is 1 or −1; the floor is level but in D″, where it rises or falls along x."""
    directions, slopes = generator.choice((-1.0, 1.0), count), np.zeros(count)
    if task_set == "out_of_distribution":
        slopes = generator.choice((-1.0, 1.0), count) * generator.uniform(*SLOPES, count)
    return np.stack([directions, slopes], axis=1)


def gravity_on_slopes(tasks: Float[np.ndarray, "task 2"], model: mujoco.MjModel) -> Float[np.ndarray, "task 3"]:
    """Return gravity as a floor feels it that rises along x by the task's slope, in m/s²."""
    strength, slope = -model.opt.gravity[2], tasks[:, 1]
    return -strength * np.stack([np.sin(slope), np.zeros(len(tasks)), np.cos(slope)], axis=1)


def half_cheetah_velocity(*, horizon: int = 200, tasks_per_set: int = 100) -> MJCFFamily:
    """Make the family of target velocities: 0 to 3 m/s in D and D′, 3 to 4 m/s in D″; no episode ends by itself.

    Reward and targets are those of Rothfuss et al. 2019 (ProMP), Rakelly et al. 2019 (PEARL) and Zintgraf et al. 2020
    (VariBAD); Finn et al. 2017 (MAML) have targets up to 2 m/s.

    Args:
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of tasks in each of D, D′ and D″.

    Raises:
        ConfigurationError: An option is not possible.
    """
    return MJCFFamily(
        name="half-cheetah-velocity-v1",
        model=half_cheetah_model,
        observe=observe,
        reward=velocity_reward,
        sample_tasks=sample_velocities,
        position=torso_on_line,
        substeps=SUBSTEPS,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        made_by=half_cheetah_velocity,
    )


def half_cheetah_direction(*, horizon: int = 200, tasks_per_set: int = 100) -> MJCFFamily:
    """Make the family of the two directions, on a level floor in D and D′ and on slopes in D″.

    Reward and directions are those of Finn et al. 2017 (MAML) and of its successors; the slopes are this library's own.

    Args:
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of tasks in each of D, D′ and D″.

    Raises:
        ConfigurationError: An option is not possible.
    """
    return MJCFFamily(
        name="half-cheetah-direction-v1",
        model=half_cheetah_model,
        observe=observe,
        reward=direction_reward,
        sample_tasks=sample_directions,
        dynamics={"opt.gravity": gravity_on_slopes},
        position=torso_on_line,
        substeps=SUBSTEPS,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        made_by=half_cheetah_direction,
    )
