"""PPO over whole trials, against formulas written down plainly."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.trees import assert_close, assert_identical, random_like
from tesp.distributions import Gaussian
from tesp.methods.recurrent import ppo, rl2
from tesp.methods.recurrent.ppo import Experience, Heads
from tesp.methods.recurrent.settings import PPOSettings, RecurrentNetworkSettings
from tesp.methods.recurrent.trials import Moments, Trial
from tesp.networks import gru
from tesp.networks.gru import GRU

TRIALS, STEPS, OBSERVATION, ACTION, UNITS = 4, 5, 2, 2, 3
INPUTS = OBSERVATION + ACTION + 2
LENGTHS = np.array([3, 5, 1, 2])
SETTINGS = PPOSettings(clip=0.2, entropy_weight=0.05, value_weight=0.7, minibatches=2, epochs=2)


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    monkeypatch.setattr(gru, "SEGMENT", 2)


@pytest.fixture(params=["mlp", "hypernetwork"])
def network(float64, request):  # noqa: ARG001
    settings = RecurrentNetworkSettings(policy_units=(3,), head=request.param)
    heads = Heads.create(jax.random.key(0), OBSERVATION, UNITS, ACTION, settings)
    return random_like(rl2.RL2Network(GRU.create(jax.random.key(1), INPUTS, UNITS), heads), 1, 0.5)


@pytest.fixture
def experience(float64) -> Experience:  # noqa: ARG001
    rng = np.random.default_rng(2)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=(TRIALS, STEPS, *shape)))

    valid = jnp.asarray(np.arange(STEPS) < LENGTHS[:, None])
    behaviour = Gaussian(0.1 * draw(ACTION), 0.1 * draw(ACTION))
    return Experience(draw(OBSERVATION), draw(INPUTS), draw(ACTION), behaviour, draw(), draw(), valid)


def plain_loss(network, data: Experience):
    """Step by step, over the steps that exist alone."""
    losses = []
    for i, length in enumerate(LENGTHS):
        state = jnp.zeros(UNITS)
        for t in range(length):
            state = network.memory.step(state, data.given[i, t])
            policy = network.heads.policy(data.observation[i, t], state)
            value = network.heads.value(jnp.concatenate([data.observation[i, t], state]))[0]
            behaviour = jax.tree.map(lambda x, i=i, t=t: x[i, t], data.behaviour)
            ratio = jnp.exp(policy.log_probability(data.action[i, t]) - behaviour.log_probability(data.action[i, t]))
            advantage = data.advantages[i, t]
            surrogate = jnp.minimum(ratio * advantage, jnp.clip(ratio, 0.8, 1.2) * advantage)
            entropy = jnp.sum(policy.log_std + 0.5 * jnp.log(2 * jnp.pi * jnp.e))
            losses.append(-surrogate + 0.7 * 0.5 * (value - data.targets[i, t]) ** 2 - 0.05 * entropy)
    return jnp.mean(jnp.stack(losses))


def loss(network, data: Experience):
    grouped = jax.tree.map(lambda x: x[None], data)
    weight = ppo._weights(grouped)
    return ppo._loss(rl2._contexts, SETTINGS, network, (data, weight[0]))[0]


def test_the_objective_and_its_gradient_are_those_of_the_plain_formula(network, experience):
    """Through the memory too, to the first step of every trial."""
    found, expected = (jax.jit(jax.value_and_grad(f))(network, experience) for f in (loss, plain_loss))
    assert_close(found, expected, rtol=1e-9, atol=1e-11)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(expected[1]))


def trial_of(reward, valid):
    empty = jnp.zeros((*reward.shape, ACTION))
    return Trial(jnp.zeros((*reward.shape, OBSERVATION)), empty, reward, Gaussian(empty, empty), valid, valid)


@pytest.mark.parametrize("network", ["mlp"], indirect=True)
class TestAdvantages:
    """V is 0 in a fresh network, up to where returns are said to lie."""

    def estimated(self, network, reward, valid, returns=None, **settings):
        blank = eqx.tree_at(
            lambda n: n.heads.value.output, network, replace_fn=lambda x: jax.tree.map(jnp.zeros_like, x)
        )
        given = jnp.zeros((*reward.shape, INPUTS))
        trial = trial_of(jnp.asarray(reward), jnp.asarray(valid))
        returns = returns or Moments(jnp.zeros(()), jnp.ones(()) - 1e-8)
        made = ppo.estimated(rl2._contexts, blank, trial, trial.observation, given, returns, PPOSettings(**settings))
        return jax.tree.map(np.asarray, made)

    def test_of_early_steps_count_what_comes_to_the_end_of_the_trial(self, network):
        """No episode's end stops the discounting."""
        reward, valid = np.zeros((2, STEPS)), np.arange(STEPS) < np.array([[STEPS], [3]])
        reward[0, -1], reward[1, 2], reward[1, 3] = 8.0, 1.0, 99.0
        _, got = self.estimated(network, reward, valid, discount=0.5, gae_lambda=1.0)
        np.testing.assert_allclose(got, [[0.5, 1.0, 2.0, 4.0, 8.0], [0.25, 0.5, 1.0, 0.0, 0.0]])

    def test_are_standardised_over_all_steps_that_exist(self, network, experience):
        made, got = self.estimated(network, experience.advantages, experience.valid, gae_lambda=1.0)
        there = made.advantages[experience.valid]
        np.testing.assert_allclose([there.mean(), there.std()], [0.0, 1.0], atol=1e-6)
        assert not made.advantages[~np.asarray(experience.valid)].any()
        centred = got[experience.valid] - got[experience.valid].mean()
        np.testing.assert_allclose(there, centred / centred.std(), atol=1e-6)

    def test_targets_are_told_in_standard_deviations(self, network, experience):
        returns = Moments(jnp.array(-3.0), jnp.array(4.0))
        made, got = self.estimated(network, experience.advantages, experience.valid, returns)
        np.testing.assert_allclose(made.targets, np.clip((got + 3.0) / 2.0, -10, 10), rtol=1e-6)


class TestMinibatches:
    def test_have_every_trial_once(self):
        tasks = {"place": jnp.arange(12), "more": jnp.zeros((12, 2))}
        divided = ppo.divided(tasks, 3)
        assert divided["place"].shape[:2] == (3, 1)
        assert divided["more"].shape == (3, 1, 4, 2)
        assert sorted(divided["place"].ravel().tolist()) == list(range(12))
        assert_identical(ppo.undivided(divided), tasks)

    @pytest.mark.parametrize("network", ["mlp"], indirect=True)
    def test_each_is_a_step_of_adam_and_their_epochs_can_end_early(self, network, experience):
        """As many steps as minibatches and epochs; a first step of Adam is as long as its step size, everywhere."""

        def run(**settings):
            chosen = PPOSettings(**{"minibatches": 2, "epochs": 3, "learning_rate": 1.0, **settings})
            start = ppo.begun(chosen, network)
            update = jax.jit(partial(ppo.update, rl2._contexts, settings=chosen))
            return update(network, start, experience, jnp.array(1e-3))

        whole = run()
        assert (int(whole.epochs), int(whole.optimiser_state[1].count)) == (3, 6)
        ended = run(kl_limit=1e-9)
        assert (int(ended.epochs), int(ended.optimiser_state[1].count)) == (1, 2)
        single = run(minibatches=1, epochs=1, gradient_norm=1e9)
        steps = jax.tree.map(lambda new, old: new - old, single.network, network)
        gradient = jax.grad(lambda n: ppo._loss(rl2._contexts, PPOSettings(), n, (experience, 1.0 / LENGTHS.sum()))[0])(
            network
        )
        for step, slope in zip(jax.tree.leaves(steps), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(step, -1e-3 * slope / (np.abs(slope) + 1e-5), rtol=1e-4, atol=1e-10)
