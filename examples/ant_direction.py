"""The ant must walk in a direction that it is not told.

`tesp train examples/ant_direction.py:ant_direction --preset quick` trains on it. The body is Gymnasium's Ant-v5,
without contact forces in its observation. Its reward is Gymnasium's, but for the velocity (m/s), which counts along the
direction (cos φ, sin φ) instead of along x; an ant that falls ends its episode. Directions of D and D′ fill three
quarters of the circle, 0 ≤ φ < 3π/2, and those of D″ the last one.
"""

import gymnasium
import numpy as np

from tesp import GymnasiumFamily


class Direction(gymnasium.Wrapper):
    """Rewards velocity along a direction; the task is its cosine and sine."""

    direction = np.array([1.0, 0.0])

    def set_task(self, task):
        """Take the direction of the episodes from now on."""
        self.direction = task

    def step(self, action):
        """Advance by 0.05 s."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        along = float(np.dot([info["x_velocity"], info["y_velocity"]], self.direction))
        shown = {
            "distance_reward": along,
            "position": np.array([info["x_position"], info["y_position"]]),
            "healthy": info["reward_survive"] > 0,
        }
        return observation, float(reward) - info["reward_forward"] + along, terminated, truncated, shown


def make_ant(render_mode=None):
    """Make one ant."""
    options = {"include_cfrc_ext_in_observation": False, "disable_env_checker": True}
    return Direction(gymnasium.make("Ant-v5", render_mode=render_mode, **options))


def directions(generator, count, task_set):
    """Draw directions, uniformly in their angle."""
    first, last = (1.5 * np.pi, 2 * np.pi) if task_set == "out_of_distribution" else (0.0, 1.5 * np.pi)
    angle = generator.uniform(first, last, count)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


ant_direction = GymnasiumFamily(
    make_ant,
    sample_tasks=directions,
    name="ant_direction",
    horizon=200,
    preset_values={
        "quick": {
            "horizon": 100,
            "tasks_per_update": 10,
            "episodes_per_round": 6,
            "buffer_size": 4,
            "learning_rate": 2e-3,
            "learning_rate_schedule": "linear",
            "initial_rate": 0.05,
            "meta_updates": 50,
            "evaluate_every": 10,
            "evaluation_tasks": 10,
        }
    },
)
