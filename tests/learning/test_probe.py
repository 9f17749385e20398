"""A task that only an agent that adapts can do.

A point on a line starts at 0; its goal is +1 or −1, and it observes nothing but its position. The reward is
−|x − g|. Over two tasks with opposite goals, |x − 1| + |x + 1| ≥ 2 at every step, whatever is done: an agent that does
not know its task gets at most −1 a step on average, −8 in an episode of 8 steps. One that walks straight to its goal
gets −2.
"""

import jax
import numpy as np
import pytest

from helpers.learners import make_learner, meta_update
from tesp.adaptation.meta_update import optimiser
from tesp.methods.gradient.tesp import TESP
from tesp.tasks.simulation import Simulation, Transition

HORIZON = 8
GOALS = np.array([[1.0], [-1.0], [1.0], [-1.0]])
UNADAPTED_BOUND = -8.0
UPDATES = 25


class Line(Simulation):
    """x ← x + 0.2·clip(a), reward −|x − g|, no end before the horizon."""

    def reset(self, tasks):
        self.goals = tasks
        self.x = np.zeros((len(tasks), 1))
        return self.x.copy()

    @property
    def positions(self):
        return np.concatenate([self.x, np.zeros_like(self.x)], axis=1)

    def step(self, ids, actions):
        self.x[ids] += 0.2 * np.clip(np.asarray(actions, float), -1, 1)
        distance = np.abs(self.x[ids] - self.goals[ids])[:, 0]
        never = np.zeros(len(ids), bool)
        return Transition(
            observation=self.x[ids].copy(),
            reward=-distance,
            distance_reward=-distance,
            distance=distance,
            position=self.positions[ids],
            terminated=never,
            success=never,
            healthy=~never,
        )


@pytest.fixture(scope="module")
def learner():
    meta = {"epochs": 10, "kl_bound": 0.05, "judge_last_epoch": False}
    algorithm = TESP(1, 1, 2, (16,), 8, 0.01)
    return make_learner(algorithm, {"fast_updates": 1}, meta, buffer_size=4, episodes_per_round=10)


def average_return(learner, parameters, seed):
    """After the last fast-update, over 16 adaptations."""
    keys = jax.random.split(jax.random.key(seed), 16)
    runs = [learner.adapt(parameters, Line(), GOALS, HORIZON, key) for key in keys]
    return np.mean([run.rounds[-1].outcomes.average_return for run in runs])


def test_learns_what_only_an_adapting_agent_can_do(learner):
    parameters = jax.jit(learner.method.algorithm.init)(jax.random.key(0))
    state = jax.jit(optimiser().init)(parameters)
    assert average_return(learner, parameters, seed=1) < UNADAPTED_BOUND + 0.5
    for update in range(UPDATES):
        adaptation = learner.adapt(parameters, Line(), GOALS, HORIZON, jax.random.key(100 + update))
        updated = meta_update(learner, parameters, state, adaptation, 5e-3)
        parameters, state = updated.parameters, updated.optimiser_state
    assert average_return(learner, parameters, seed=1) > -5.0

    # The same policy, and nothing to tell it the task: an encoder that always answers 0 and never adapts.
    nothing = jax.tree.map(np.zeros_like, (parameters.adapted, parameters.rates))
    blind = parameters._replace(adapted=nothing[0], rates=nothing[1])
    assert average_return(learner, blind, seed=1) < UNADAPTED_BOUND + 0.5
