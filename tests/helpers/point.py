"""A point that is pushed through the plane, in NumPy: the smallest simulation there is."""

import numpy as np

from tesp.tasks.simulation import Simulation, Transition


class PointSimulation(Simulation):
    """x ← x + 0.1·clip(a), reward −‖x − g‖ − 0.001·‖a‖²; the episode ends within 0.1 of the goal.

    ``broken``, if given, is a goal whose simulations answer with NaN at the third step.
    """

    def __init__(self, broken=None):
        self.broken = broken
        self.stepped = []

    def reset(self, tasks):
        self.goals = tasks
        self.x = np.zeros((len(tasks), 2))
        self.steps = np.zeros(len(tasks), int)
        return self.x.copy()

    def restart(self, ids):
        self.x[ids], self.steps[ids] = 0.0, 0
        return self.x[ids]

    @property
    def positions(self):
        return self.x.copy()

    def step(self, ids, actions):
        self.stepped.append(ids.copy())
        a = np.clip(np.asarray(actions, float), -1, 1)
        self.x[ids] += 0.1 * a
        self.steps[ids] += 1
        x = self.x[ids].copy()
        if self.broken is not None:
            x[(self.goals[ids] == self.broken).all(axis=1) & (self.steps[ids] == 3)] = np.nan
        distance = np.linalg.norm(self.x[ids] - self.goals[ids], axis=1)
        arrived = distance < 0.1
        return Transition(
            observation=x,
            reward=-distance - 0.001 * (a**2).sum(axis=1),
            distance_reward=-distance,
            distance=distance,
            position=self.x[ids].copy(),
            terminated=arrived,
            success=arrived,
            healthy=np.ones(len(ids), bool),
        )
