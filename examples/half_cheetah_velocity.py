"""The half cheetah must run at a speed that it is not told.

`tesp train examples/half_cheetah_velocity.py:half_cheetah_velocity --preset quick` trains on it. The body is
Gymnasium's HalfCheetah-v5. With the velocity v along x, the target v* (both in m/s) and the action a, the reward is
−|v − v*| − 0.05·‖a‖². Targets of D and D′ are between 0 and 2 m/s, those of D″ between 2 and 3 m/s.
"""

import gymnasium
import mujoco
import numpy as np

from tesp import GymnasiumFamily


class TargetVelocity(gymnasium.Wrapper):
    """Rewards a velocity along x instead of speed; the task is the target, (v*,)."""

    target = 0.0

    def set_task(self, task):
        """Take the target of the episodes from now on."""
        self.target = float(task[0])

    def step(self, action):
        """Advance by 0.05 s."""
        observation, _, terminated, truncated, info = self.env.step(action)
        gap = abs(info["x_velocity"] - self.target)
        reward = -gap - 0.05 * float(np.sum(np.square(action)))
        shown = {"distance_reward": -gap, "distance": gap, "position": np.array([info["x_position"], 0.0])}
        return observation, reward, terminated, truncated, shown


def make_cheetah(render_mode=None):
    """Make one half cheetah."""
    before = mujoco.get_mju_user_warning()
    # MuJoCo 4 warns of an attribute of Gymnasium's model, once for every environment.
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        made = gymnasium.make("HalfCheetah-v5", disable_env_checker=True, render_mode=render_mode)
    finally:
        mujoco.set_mju_user_warning(before)
    return TargetVelocity(made)


def target_velocities(generator, count, task_set):
    """Draw targets in m/s, uniformly."""
    slowest, fastest = (2.0, 3.0) if task_set == "out_of_distribution" else (0.0, 2.0)
    return generator.uniform(slowest, fastest, (count, 1))


half_cheetah_velocity = GymnasiumFamily(
    make_cheetah,
    sample_tasks=target_velocities,
    name="half_cheetah_velocity",
    horizon=200,
    preset_values={
        "quick": {
            "horizon": 100,
            "tasks_per_update": 10,
            "episodes_per_round": 6,
            "buffer_size": 4,
            "learning_rate": 2e-3,
            "learning_rate_schedule": "linear",
            "kl_bound": 0.03,
            "initial_rate": 0.05,
            "meta_updates": 150,
            "evaluate_every": 15,
            "evaluation_tasks": 10,
        }
    },
)
