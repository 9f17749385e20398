"""Gymnasium's humanoid, which walks in a direction that it is not told."""

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
STEP_SECONDS = 0.015

#: Heights of the torso between which the humanoid is healthy, in metres.
HEALTHY_HEIGHT = (1.0, 2.0)

#: Weight of the velocity, what every step is worth besides, and the weight of ‖u‖².
VELOCITY_WEIGHT = 1.25
SURVIVAL = 5.0
CONTROL_COST = 0.1

#: The body under which everything that moves hangs: its subtree's centre of mass is that of the humanoid.
TORSO = 1


def humanoid_model() -> mujoco.MjModel:
    """Return the body of Gymnasium's Humanoid-v5."""
    return gymnasium_model("humanoid.xml")


def observe(state: State) -> Float[np.ndarray, "simulation 45"]:
    """Return the positions but for x and y (22), then the velocities (23)."""
    return np.concatenate([state.qpos[:, 2:], state.qvel], axis=1)


def healthy(state: State) -> Bool[np.ndarray, " simulation"]:
    """Tell where everything is finite and 1 ≤ torso's height ≤ 2 m."""
    return torso_between(state, HEALTHY_HEIGHT)


def reward(state: State, _action: np.ndarray) -> Float[np.ndarray, " simulation"]:
    """Return 1.25·v·(cos φ, sin φ) + 5 − 0.1·‖u‖²; the task is (φ,) in radians.

    v is the mean velocity of the centre of mass over the step in m/s, u the controls within ±0.4.
    """
    before, after = (moment["subtree_com"][:, TORSO, :2] for moment in (state.derived_before, state.derived))
    forwards = along(mean_velocity(before, after, STEP_SECONDS), state.task[:, 0])
    return VELOCITY_WEIGHT * forwards + SURVIVAL - CONTROL_COST * squared_norm(state.ctrl)


def humanoid_direction(*, horizon: int = 200, tasks_per_set: int = 100) -> MJCFFamily:
    """Make the family of directions in the plane; an episode ends when the torso leaves 1 … 2 m.

    The reward is that of Rothfuss et al. 2019 (ProMP) and Rakelly et al. 2019 (PEARL) without contact forces. Their
    directions fill the circle; here D″ is a quarter that D and D′ leave out.

    Args:
        horizon: Control steps after which an episode is truncated.
        tasks_per_set: Number of tasks in each of D, D′ and D″.

    Raises:
        ConfigurationError: An option is not possible.
    """
    return MJCFFamily(
        name="humanoid-direction-v1",
        model=humanoid_model,
        observe=observe,
        reward=reward,
        sample_tasks=sample_angles,
        healthy=healthy,
        when_unhealthy="terminate",
        derived=("subtree_com",),
        position=torso_in_plane,
        substeps=SUBSTEPS,
        horizon=horizon,
        tasks_per_set=tasks_per_set,
        preset_values=None,
        made_by=humanoid_direction,
    )
