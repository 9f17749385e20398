"""Gymnasium's walker and hopper, which run with random parameters that they are not told."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

import mujoco
import numpy as np
from jaxtyping import Bool, Float

from tesp.tasks.classic.models import gymnasium_model
from tesp.tasks.classic.motion import finite, mean_velocity, squared_norm, torso_on_line
from tesp.tasks.classic.parameters import DYNAMICS, Exponents, parameter_count
from tesp.tasks.mujoco.family import MJCFFamily
from tesp.tasks.mujoco.state import State

#: Physics steps in a control step, and its length in seconds.
SUBSTEPS = 4
STEP_SECONDS = 0.008

#: What every step is worth besides, and the weight of ‖a‖².
SURVIVAL = 1.0
ACTION_COST = 1e-3

#: Velocities are shown up to this, in m/s and rad/s.
SHOWN_VELOCITY = 10.0

#: Heights of the walker's torso in metres and its inclinations in radians between which it is healthy.
WALKER_HEIGHT = (0.8, 2.0)
WALKER_ANGLE = 1.0

#: The same of the hopper, and the bound of everything else in its state.
HOPPER_HEIGHT = 0.7
HOPPER_ANGLE = 0.2
HOPPER_BOUND = 100.0


def walker_model() -> mujoco.MjModel:
    """Return the body of Gymnasium's Walker2d-v5."""
    return gymnasium_model("walker2d_v5.xml")


def hopper_model() -> mujoco.MjModel:
    """Return the body of Gymnasium's Hopper-v5."""
    return gymnasium_model("hopper.xml")


def observe(state: State) -> Float[np.ndarray, "simulation observation"]:
    """Return the positions but for x, then the velocities, clipped to ±10."""
    return np.concatenate([state.qpos[:, 1:], np.clip(state.qvel, -SHOWN_VELOCITY, SHOWN_VELOCITY)], axis=1)


def reward(state: State, action: np.ndarray) -> Float[np.ndarray, " simulation"]:
    """Return v + 1 − 0.001·‖a‖² with the mean velocity v along x over the step in m/s."""
    velocity = mean_velocity(state.qpos_before[:, 0], state.qpos[:, 0], STEP_SECONDS)
    return velocity + SURVIVAL - ACTION_COST * squared_norm(action)


def walker_healthy(state: State) -> Bool[np.ndarray, " simulation"]:
    """Tell where everything is finite, 0.8 < height < 2 m and |inclination| < 1 rad."""
    (low, high), (height, angle) = WALKER_HEIGHT, state.qpos[:, 1:3].T
    return finite(state) & (low < height) & (height < high) & (np.abs(angle) < WALKER_ANGLE)


def hopper_healthy(state: State) -> Bool[np.ndarray, " simulation"]:
    """Tell where everything is finite, height > 0.7 m, |inclination| < 0.2 rad and the rest within ±100."""
    rest = np.concatenate([state.qpos[:, 2:], state.qvel], axis=1)
    bounded = (np.abs(rest) < HOPPER_BOUND).all(axis=1)
    height, angle = state.qpos[:, 1:3].T
    return finite(state) & bounded & (height > HOPPER_HEIGHT) & (np.abs(angle) < HOPPER_ANGLE)


def walker_parameters(*, horizon: int = 200, tasks_per_set: int = 100) -> MJCFFamily:
    """Make the family of walkers with random parameters; an episode ends when the walker falls.

    Reward, end and tasks are those of rand_param_envs, which Rakelly et al. 2019 (PEARL) and Zintgraf et al. 2020
    (VariBAD) use, on Gymnasium's body.

    Args:
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of tasks in each of D, D′ and D″.

    Raises:
        ConfigurationError: An option is not possible.
    """
    return MJCFFamily(
        name="walker-parameters-v1",
        model=walker_model,
        observe=observe,
        reward=reward,
        sample_tasks=Exponents(parameter_count(walker_model())),
        dynamics=DYNAMICS,
        healthy=walker_healthy,
        when_unhealthy="terminate",
        position=torso_on_line,
        substeps=SUBSTEPS,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        made_by=walker_parameters,
    )


def hopper_parameters(*, horizon: int = 200, tasks_per_set: int = 100) -> MJCFFamily:
    """Make the family of hoppers with random parameters; an episode ends when the hopper falls.

    Reward, end and tasks are those of rand_param_envs, which Rakelly et al. 2019 (PEARL) use, on Gymnasium's body.

    Args:
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of tasks in each of D, D′ and D″.

    Raises:
        ConfigurationError: An option is not possible.
    """
    return MJCFFamily(
        name="hopper-parameters-v1",
        model=hopper_model,
        observe=observe,
        reward=reward,
        sample_tasks=Exponents(parameter_count(hopper_model())),
        dynamics=DYNAMICS,
        healthy=hopper_healthy,
        when_unhealthy="terminate",
        position=torso_on_line,
        substeps=SUBSTEPS,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        made_by=hopper_parameters,
    )
