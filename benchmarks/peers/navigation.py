"""The 2-D navigation of MAML's authors as a family of tesp; train it with ``tesp train FILE:NavigationFamily``.

Finn, Abbeel and Levine, *Model-agnostic meta-learning for fast adaptation of deep networks*, 2017, section 5.3, as in
their code (`maml_examples/point_env_randgoal.py`): a point moves by at most 0.1 along each axis, the reward is
−‖x − g‖₂, and an episode ends where both coordinates are within 0.01 of the goal.
"""

import numpy as np

from tesp.task_sets import TaskSet
from tesp.tasks.family import Family
from tesp.tasks.simulation import Simulation, Transition


class NavigationSimulation(Simulation):
    """n points, each with a goal of its own."""

    def __init__(self, count):
        self._position, self._goal = np.zeros((count, 2)), np.zeros((count, 2))

    @property
    def positions(self):
        """Where the points are now."""
        return self._position.copy()

    def reset(self, tasks):
        """Put all points at the origin."""
        self._goal = np.array(tasks, np.float64)
        self._position[:] = 0.0
        return self._position.copy()

    def step(self, ids, actions):
        """Move the points ``ids`` by 0.1·clip(a, −1, 1)."""
        self._position[ids] += 0.1 * np.clip(np.asarray(actions, np.float64), -1.0, 1.0)
        position = self._position[ids]
        from_goal = position - self._goal[ids]
        distance = np.hypot(from_goal[:, 0], from_goal[:, 1])
        arrived = np.all(np.abs(from_goal) < 0.01, axis=1)
        return Transition(
            observation=position,
            reward=-distance,
            distance_reward=-distance,
            distance=distance,
            position=position,
            terminated=arrived,
            success=arrived,
            healthy=np.ones(len(ids), bool),
        )


class NavigationFamily(Family):
    """Goals uniform in [−0.5, 0.5]²; those of D″ lie in the frame around it, up to ±0.75, which is not published."""

    name, observation_size, action_size, task_size = "navigation", 2, 2, 2

    def __init__(self, horizon: int = 100, tasks_per_set: int = 1000):
        self.horizon, self.tasks_per_set = horizon, tasks_per_set

    @property
    def options(self):
        """What makes this family again."""
        return {"horizon": self.horizon, "tasks_per_set": self.tasks_per_set}

    def sample_task_sets(self, seed):
        """Draw D, D′ and D″."""
        generator = np.random.default_rng(seed)
        goals = {name: generator.uniform(-0.5, 0.5, (self.tasks_per_set, 2)) for name in ("train", "in_distribution")}
        around = generator.uniform(-0.75, 0.75, (8 * self.tasks_per_set + 64, 2))
        goals["out_of_distribution"] = around[np.any(np.abs(around) > 0.5, axis=1)][: self.tasks_per_set]
        return {name: TaskSet(name, tasks) for name, tasks in goals.items()}

    def simulate(self, count, threads=0):
        """Make ``count`` points."""
        return NavigationSimulation(count)
