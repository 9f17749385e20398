"""What the rewards of the classic tasks are made of, and directions as tasks."""

import numpy as np
from jaxtyping import Bool, Float

from tesp.tasks.mujoco.state import State

#: Angles of directions, in radians: those of D and D′, and the sector of D″ that training leaves out.
TRAINED_SECTOR = (0.0, 1.5 * np.pi)
LEFT_OUT_SECTOR = (1.5 * np.pi, 2.0 * np.pi)


def mean_velocity(
    before: Float[np.ndarray, "simulation *axis"], after: Float[np.ndarray, "simulation *axis"], seconds: float
) -> Float[np.ndarray, "simulation *axis"]:
    """Return (after − before)/seconds, the mean velocity over a control step in m/s."""
    return (after - before) / seconds


def squared_norm(action: Float[np.ndarray, "simulation action"]) -> Float[np.ndarray, " simulation"]:
    """Return ‖a‖² of every row."""
    return np.sum(np.square(action), axis=1)


def finite(state: State) -> Bool[np.ndarray, " simulation"]:
    """Tell where all positions and velocities are finite."""
    return np.all(np.isfinite(np.concatenate([state.qpos, state.qvel], axis=1)), axis=1)


def torso_between(state: State, heights: tuple[float, float]) -> Bool[np.ndarray, " simulation"]:
    """Tell where all is finite and low ≤ torso's height ≤ high, in metres, of a body whose first joint is free."""
    low, high = heights
    return finite(state) & (state.qpos[:, 2] >= low) & (state.qpos[:, 2] <= high)


def along(
    velocity: Float[np.ndarray, "simulation 2"], angle: Float[np.ndarray, " simulation"]
) -> Float[np.ndarray, " simulation"]:
    """Return the component of a velocity in the plane in the direction (cos φ, sin φ); φ in radians."""
    return velocity[:, 0] * np.cos(angle) + velocity[:, 1] * np.sin(angle)


def sample_angles(generator: np.random.Generator, count: int, task_set: str) -> Float[np.ndarray, "task 1"]:
    """Draw angles uniformly: three quarters of the circle for D and D′, the last quarter for D″."""
    sector = LEFT_OUT_SECTOR if task_set == "out_of_distribution" else TRAINED_SECTOR
    return generator.uniform(*sector, (count, 1))


def torso_in_plane(state: State) -> Float[np.ndarray, "simulation 2"]:
    """Return x and y of a body whose first joint is free, in metres."""
    return state.qpos[:, :2]


def torso_on_line(state: State) -> Float[np.ndarray, "simulation 2"]:
    """Return (x, 0) of a body that moves in the x-z plane, in metres."""
    return np.stack([state.qpos[:, 0], np.zeros(len(state.qpos))], axis=1)
