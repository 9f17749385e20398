"""A task that only an agent that adapts, or is told, can do; for every method.

A point on a line starts at 0; its goal is +1 or −1, and it observes nothing but its position. The reward is
−|x − g|. Over two tasks with opposite goals, |x − 1| + |x + 1| ≥ 2 at every step, whatever is done: an agent that does
not know its task gets at most −1 a step on average, −8 in an episode of 8 steps. One that walks straight to its goal
gets −2.
"""

from collections import ChainMap

import equinox as eqx
import jax
import numpy as np
import pytest

from helpers.learners import make_learner, meta_update
from tesp.adaptation.meta_update import optimiser
from tesp.episodes.rollout import Learner
from tesp.interface import Interface
from tesp.methods.gradient.adapt_sv import AdaptSV
from tesp.methods.gradient.maesn import MAESN, LatentPolicy
from tesp.methods.gradient.maml import MAML
from tesp.methods.gradient.meta_sgd import MetaSGD
from tesp.methods.gradient.oracle import Oracle
from tesp.methods.gradient.tesp import TESP
from tesp.methods.gradient.tesp_set import TESPSet
from tesp.methods.recurrent.configs import RL2Config, VariBADConfig
from tesp.methods.recurrent.settings import BeliefSettings, PPOSettings, RecurrentNetworkSettings
from tesp.networks.policy import Policy
from tesp.networks.policy_set import PolicySet
from tesp.sampling import SamplingSettings
from tesp.tasks.simulation import Simulation, Transition

HORIZON = 8
GOALS = np.array([[1.0], [-1.0], [1.0], [-1.0]])
UNADAPTED_BOUND = -8.0
UPDATES = 25
#: One fast-update, whose rates may become large.
WIDE = {"fast_updates": 1, "rate_bound": 1.0}


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


TESP_ITSELF = TESP(1, 1, 2, (16,), 8, 0.01)
#: Every family of methods, and what its learner has that is not the default: in the fast-updates, in sampling, and in
#: the meta-update.
METHODS = {
    "tesp": (TESP_ITSELF, {"fast_updates": 1}, {"buffer_size": 4, "episodes_per_round": 10}),
    "maml": (MAML(1, 1, (16,), 0.1), WIDE, {"episodes_per_round": 20}),
    "meta-sgd": (MetaSGD(1, 1, (16,), 0.1), WIDE, {"episodes_per_round": 20}),
    "adapt-sv": (AdaptSV(1, 1, 2, (16,), 0.1), WIDE, {"episodes_per_round": 20}),
    "cavia": (
        AdaptSV(1, 1, 2, (16,), 0.5, learned_rates=False),
        {**WIDE, "learned_start": False},
        {"episodes_per_round": 20},
    ),
    "promp": (
        MAML(1, 1, (16,), 0.1),
        {**WIDE, "second_order": True, "inner_loss": "likelihood_ratio"},
        {"episodes_per_round": 20},
        {"inner_kl_penalty": 5e-4},
    ),
    "e-maml": (MAML(1, 1, (16,), 0.1), WIDE, {"episodes_per_round": 20}, {"exploration_credit": 1.0}),
    "maesn": (MAESN(1, 1, 2, (16,), 0.5), WIDE, {"episodes_per_round": 20}, {"embedding_penalty": 0.1}),
    "tesp-set": (
        TESPSet(1, 1, 2, (16,), 8, 0.01, policies=2),
        {"fast_updates": 1},
        {"buffer_size": 4, "episodes_per_round": 10},
    ),
    "oracle": (Oracle(1, 1, 1, (16,)), {"fast_updates": 0}, {"episodes_per_round": 20}),
}


def average_return(learner, parameters, seed):
    """In the last round, over 8 adaptations."""
    keys = jax.random.split(jax.random.key(seed), 8)
    runs = [learner.adapt(parameters, Line(), GOALS, HORIZON, key) for key in keys]
    return np.mean([run.rounds[-1].outcomes.average_return for run in runs])


def blinded(parameters):
    """The same policy, and nothing to tell it the task: nothing adapts, and what it is conditioned on is not seen."""
    rates = jax.tree.map(np.zeros_like, parameters.rates)
    if isinstance(parameters.adapted, Policy):
        return parameters._replace(rates=rates)
    shared = parameters.shared
    if isinstance(shared, PolicySet):
        shared = eqx.tree_at(lambda p: p.weights.weight, shared, replace_fn=np.zeros_like)

    def weights_of_the_first_layer(policy):
        inside = {LatentPolicy: "policy", PolicySet: "trunk"}
        return getattr(policy, inside.get(type(policy), ""), policy).hidden[0].weight

    unseeing = eqx.tree_at(weights_of_the_first_layer, shared, replace_fn=lambda w: w.at[1:].set(0.0))
    return parameters._replace(rates=rates, shared=unseeing)


@pytest.mark.parametrize("name", METHODS)
def test_learns_what_only_an_agent_that_knows_its_task_can_do(name):
    algorithm, fast, sampling, *own = METHODS[name]
    meta = dict(ChainMap(*own, {"epochs": 10, "kl_bound": 0.05, "judge_last_epoch": False}))
    learner = make_learner(algorithm, fast, meta, **sampling)
    parameters = jax.jit(algorithm.init)(jax.random.key(0))
    state = jax.jit(optimiser().init)(parameters)
    assert average_return(learner, parameters, seed=1) < UNADAPTED_BOUND + 0.5
    for update in range(UPDATES):
        adaptation = learner.adapt(parameters, Line(), GOALS, HORIZON, jax.random.key(100 + update))
        updated = meta_update(learner, parameters, state, adaptation, 5e-3)
        parameters, state = updated.parameters, updated.optimiser_state
    assert average_return(learner, parameters, seed=1) > -5.0
    assert average_return(learner, blinded(parameters), seed=1) < UNADAPTED_BOUND + 0.5


#: A trial is two episodes. Each task is there eight times: of episodes that follow one another there is one a task.
SEVERAL = np.tile(GOALS, (8, 1))
PPO = PPOSettings(learning_rate=5e-3, epochs=4, gradient_norm=1.0, clip=0.2, entropy_weight=0.0)
NETWORK = RecurrentNetworkSettings(memory_units=16, policy_units=(16,))
#: Methods that remember.
BELIEF = BeliefSettings(
    latent_size=2, decoder_units=(16,), belief_learning_rate=5e-3, belief_updates=10, prefixes=8, decoded_steps=16
)
REMEMBERING = {
    "rl2": RL2Config(network=NETWORK, ppo=PPO),
    "varibad": VariBADConfig(network=NETWORK, belief=BELIEF, ppo=PPO),
}


def last_return(learner, parameters, seed):
    """In the last episode of the trials."""
    adapted = learner.adapt(parameters, Line(), SEVERAL, HORIZON, jax.random.key(seed), keep_rounds=False)
    return np.mean(adapted.rounds[-1].outcomes.average_return)


def without_memory(parameters):
    """The same heads, and nothing that is remembered: the memory's weights are zero, and so are its states."""
    forgetful = eqx.tree_at(lambda n: n.memory, parameters.network, replace_fn=lambda m: jax.tree.map(np.zeros_like, m))
    return parameters._replace(network=forgetful)


@pytest.mark.parametrize("name", REMEMBERING)
def test_learns_to_remember_what_tells_its_task(name):
    sampling = SamplingSettings(tasks_per_update=len(SEVERAL), episodes_per_round=1)
    method = REMEMBERING[name].build(Interface((1,), (-1.0,), (1.0,), 1, HORIZON), sampling)
    learner, state = Learner(method, sampling), jax.jit(method.init)(jax.random.key(0))
    assert last_return(learner, method.parameters(state), seed=1) < UNADAPTED_BOUND + 0.5
    for update in range(UPDATES):
        parameters = method.parameters(state)
        adaptation = learner.adapt(parameters, Line(), SEVERAL, HORIZON, jax.random.key(100 + update))
        state, _ = learner.meta_update(state, adaptation, update, UPDATES)
    assert last_return(learner, method.parameters(state), seed=1) > -5.0
    assert last_return(learner, without_memory(method.parameters(state)), seed=1) < UNADAPTED_BOUND + 0.5
