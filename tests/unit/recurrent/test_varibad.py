"""VariBAD: the evidence lower bound against its formula, the replay, and that policy and belief learn apart."""

import dataclasses
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tesp
from helpers.reference import central_differences
from helpers.running import any_parameter_differs, shared_learner, tiny_config
from helpers.trees import assert_close, assert_identical, random_like
from tesp.building import build_family
from tesp.methods.recurrent import elbo
from tesp.methods.recurrent.elbo import Decoder, Encoder, Picked
from tesp.methods.recurrent.replay import added, drawn, empty_replay, picked
from tesp.methods.recurrent.settings import BeliefSettings
from tesp.methods.recurrent.trials import Trial, joined
from tesp.storage.checkpoint import Checkpoints, TrainingState, state_like

STEPS, OBSERVATION, ACTION, LATENT, UNITS = 6, 2, 1, 2, 3
#: Two episodes of a trial, of three steps and of two; the last step does not exist.
START, VALID = np.array([1, 0, 0, 1, 0, 0], bool), np.arange(STEPS) < 5
#: Steps after which another one of the same episode is stored.
KNOWN = [0, 1, 3]


@pytest.fixture
def networks(float64):  # noqa: ARG001
    encoder = Encoder.create(jax.random.key(0), 4, UNITS, LATENT)
    decoder = Decoder.create(jax.random.key(1), OBSERVATION, ACTION, LATENT, (4, 3), states=True)
    return random_like((encoder, decoder), 1, 0.6)


@pytest.fixture
def data(float64):  # noqa: ARG001
    rng = np.random.default_rng(2)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape))

    trial = Trial(
        draw(STEPS, OBSERVATION), draw(STEPS, ACTION), draw(STEPS), (), jnp.asarray(START), jnp.asarray(VALID)
    )
    every = Picked(jnp.arange(5), jnp.arange(5), draw(5, LATENT))
    return trial, draw(STEPS, 4), every


def terms(networks, data):
    (encoder, decoder), (trial, read, picks) = networks, data
    states = encoder.memory.states(jnp.zeros((1, UNITS)), read[None], trial.valid[None])[0]
    steps = elbo.steps_of(trial, trial.observation, trial.reward)
    return elbo.bound(encoder, decoder, states, trial.valid, steps, picks)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def gru_step(gru, state, x):
    """One step in NumPy; gates in the order reset, update, candidate."""
    read, kept = np.split(x @ gru.input_weight + gru.bias, 3), np.split(state @ gru.recurrent_weight, 3)
    reset, update = sigmoid(read[0] + kept[0]), sigmoid(read[1] + kept[1])
    candidate = np.tanh(read[2] + reset * (kept[2] + gru.candidate_bias))
    return (1.0 - update) * candidate + update * state


def told(network, *given):
    """An MLP in NumPy."""
    x = np.concatenate(given)
    for layer in network.hidden:
        x = np.tanh(x @ layer.weight + layer.bias)
    return x @ network.output.weight + network.output.bias


def plain_terms(networks, data):
    """In NumPy, one prefix and one step at a time."""
    (encoder, decoder), (trial, read, picks) = jax.tree.map(np.asarray, (networks, data))
    state, before = np.zeros(UNITS), (np.zeros(LATENT), np.zeros(LATENT))
    reward, observation, kl = [], [], []
    action = np.clip(trial.action, -1.0, 1.0)
    for t in range(5):
        state = gru_step(encoder.memory, state, read[t])
        mean, log_std = np.split(state @ encoder.output.weight + encoder.output.bias, 2)
        variance, wide = np.exp(2 * log_std), np.exp(2 * before[1])
        kl.append(0.5 * np.sum(np.log(wide / variance) + (variance + (mean - before[0]) ** 2) / wide - 1.0))
        before = mean, log_std
        z = mean + np.exp(log_std) * picks.noise[t]
        for i in KNOWN:
            seen, after = (z, trial.observation[i], action[i]), trial.observation[i + 1]
            reward.append(0.5 * np.sum((told(decoder.reward, *seen, after) - trial.reward[i]) ** 2))
            observation.append(0.5 * np.sum((told(decoder.state, *seen) - after) ** 2))
    return elbo.Terms(*(sum(x) / 5 for x in (reward, observation, kl)))


def test_the_terms_of_the_bound_are_those_of_the_plain_formula(networks, data):
    """Over all prefixes, each of which foretells all steps whose outcome is stored."""
    assert_close(jax.jit(terms)(networks, data), plain_terms(networks, data), rtol=1e-10)


def test_the_gradient_of_the_bound_is_that_by_differences(networks, data):
    """Through what is drawn of the belief, into every weight of encoder and decoder."""

    def negative_bound(networks):
        found = terms(networks, data)
        return found.reward + 0.5 * found.state + 0.1 * found.kl

    gradient = jax.jit(jax.grad(negative_bound))(networks)
    _, expected = central_differences(negative_bound, networks)
    assert_close(gradient, expected, rtol=1e-6, atol=1e-8)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_what_is_picked_stands_for_all(networks, data):
    """In the mean over picks the bound is that over all prefixes and steps; here each is picked alone."""
    trial, read, every = data

    @jax.jit
    @partial(jax.vmap, in_axes=(0, 0))
    def alone(t, i):
        return terms(networks, (trial, read, Picked(t[None], i[None], every.noise[t][None])))

    single = alone(*(jnp.asarray(x) for x in zip(*[(t, i) for t in range(5) for i in KNOWN], strict=True)))
    assert_close(jax.tree.map(jnp.mean, single), jax.jit(terms)(networks, data), rtol=1e-9)


def test_what_nothing_was_read_for_is_the_prior(float64):  # noqa: ARG001
    encoder = jax.jit(lambda key: Encoder.create(key, 4, 16, LATENT))(jax.random.key(0))
    assert not np.any(encoder.posterior(jnp.zeros(16)))
    mean, log_std = encoder.posterior(jnp.tanh(jnp.asarray(np.random.default_rng(0).normal(size=(50, 16)))))
    assert 0.3 < np.std(mean) < 3
    assert 0.3 < np.std(log_std) < 3


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("latent_size", 0, "sizes from 1 to 32,768"),
        ("decoder_units", (8, 0), "sizes from 1 to 32,768"),
        ("decoded_steps", 2**20, "sizes from 1 to 32,768"),
        ("replay_trials", 2**31, "numbers from 1 to 2,147,483,647"),
        ("belief_updates", 0, "1"),
        ("kl_weight", -0.1, "0"),
        ("belief_gradient_norm", -1.0, "0 or a finite number above"),
        ("belief_learning_rate", 0.0, "a positive number"),
    ],
)
def test_impossible_values_are_refused_by_name(option, value, allowed):
    with pytest.raises(tesp.ConfigurationError, match=rf"^{option} = .* is not possible; give .*{allowed}"):
        BeliefSettings(**{option: value})


def test_a_decoder_has_a_hidden_layer():
    with pytest.raises(tesp.ConfigurationError, match="decoder_units is empty; give the units of one"):
        BeliefSettings(decoder_units=())


class TestReplay:
    def trials(self, *numbers):
        value = np.array(numbers, np.float32)
        wide = np.broadcast_to(value[:, None], (len(numbers), 4))
        flag = np.ones((len(numbers), 4), bool)
        return Trial(wide[..., None], wide[..., None], wide, "told of no more", flag, flag)

    def held(self, replay):
        return replay.trials.reward[:, 0].tolist()

    def test_keeps_the_newest_and_leaves_the_one_before_alone(self):
        empty = empty_replay(5, 4, 1, 1)
        one = added(empty, self.trials(1, 2, 3))
        two = added(one, self.trials(4, 5, 6))
        assert self.held(empty) == [0] * 5
        assert self.held(one) == [1, 2, 3, 0, 0]
        assert self.held(two) == [6, 2, 3, 4, 5]
        assert [(x.filled, x.next) for x in (empty, one, two)] == [(0, 0), (3, 3), (5, 1)]
        assert self.held(added(two, self.trials(*range(10, 20)))) == [19, 15, 16, 17, 18]
        assert jax.tree.structure(two) == jax.tree.structure(empty)

    def test_draws_what_it_has(self):
        replay = added(empty_replay(5, 4, 1, 1), self.trials(1, 2))
        found = drawn(replay, (20, 3), np.random.default_rng(0))
        assert found.observation.shape == (20, 3, 4, 1)
        assert set(found.reward.ravel()) == {1.0, 2.0}

    def test_picks_are_inside_their_trial(self):
        lengths = np.array([[1, 4], [2, 7]])
        picks = picked(lengths, 300, 200, LATENT, np.random.default_rng(0))
        assert picks.prefix.shape == (2, 2, 300)
        assert picks.step.shape == (2, 2, 200)
        assert picks.noise.shape == (2, 2, 300, LATENT)
        for found in (picks.prefix, picks.step):
            assert found.min(axis=-1).tolist() == [[0, 0], [0, 0]]
            np.testing.assert_array_equal(found.max(axis=-1), lengths - 1)


@cache
def made():
    config = tiny_config(algorithm="varibad")
    learner, family = shared_learner(config), build_family(config)
    state = learner.method.init(jax.random.key(0))
    tasks, simulation = family.sample_task_sets(0)["train"].tasks, family.simulate(4)
    parameters = learner.method.parameters(state)
    return learner, state, learner.adapt(parameters, simulation, tasks, family.horizon, jax.random.key(1))


class TestAMetaUpdate:
    @pytest.fixture
    def sampled(self):
        return made()

    def test_lets_no_gradient_of_the_policy_into_the_belief(self, sampled, monkeypatch):
        learner, state, adaptation = sampled
        kind = type(learner.method)
        monkeypatch.setattr(
            kind,
            "_with_another_belief",
            lambda _, given, state, *__: (given, state.belief_optimiser_state, {}),
        )
        after, _ = learner.meta_update(state, adaptation, 0, 1)
        before, network = state.parameters.network, after.parameters.network
        assert_identical((network.encoder, network.decoder), (before.encoder, before.decoder))
        assert any_parameter_differs(network.heads, before.heads)

    def test_draws_the_same_again_and_something_else_the_next_time(self, sampled):
        learner, state, adaptation = sampled
        one, again, later = (learner.meta_update(state, adaptation, done, 2)[0] for done in (0, 0, 1))
        assert_identical(one, again)
        assert any_parameter_differs(one.parameters.network.encoder, later.parameters.network.encoder)
        assert_identical(one.parameters.network.heads, later.parameters.network.heads)
        assert one.replay.filled == 4
        assert state.replay.filled == 0

    def test_gradients_of_the_belief_are_clipped(self, sampled):
        """Adam's first moment tells the gradient of the one step that there is."""
        learner, state, adaptation = sampled

        def after_one_step(most):
            belief = dataclasses.replace(learner.method.belief, belief_updates=1, belief_gradient_norm=most)
            method = dataclasses.replace(learner.method, belief=belief)
            after, metrics = method.meta_update(state, adaptation.trials, 0, 1)
            return jax.tree.leaves(after.belief_optimiser_state.mu), metrics["belief_gradient_norm"]

        plain, norm = after_one_step(0.0)
        assert norm > 0.0
        for most in (norm / 3, 3 * norm):
            clipped, told = after_one_step(most)
            assert told == pytest.approx(norm, rel=1e-6)
            for one, other in zip(clipped, plain, strict=True):
                np.testing.assert_allclose(one, min(1.0, most / norm) * np.asarray(other), rtol=1e-5, atol=1e-12)

    @pytest.mark.parametrize("newest", [False, True], ids=["checkpoint", "newest state"])
    def test_the_replay_stands_in_what_is_stored(self, sampled, tmp_path, newest):
        learner, state, adaptation = sampled
        after = TrainingState(learner.meta_update(state, adaptation, 0, 1)[0], 1, 0, 0.0)
        checkpoints = Checkpoints(tmp_path / "checkpoints")
        (checkpoints.save_newest if newest else checkpoints.save)(after)
        stored = checkpoints.restore(state_like(learner.method), 1).method.replay
        checkpoints.close()
        assert_identical(stored, after.method.replay)
        trials = jax.vmap(joined)(adaptation.trials)
        assert (stored.filled, stored.next) == (4, 4)
        np.testing.assert_array_equal(stored.trials.reward[:4], trials.reward)
        assert trials.reward.all(where=trials.valid)

    def test_the_policy_sees_mean_and_deviation(self, sampled):
        learner, state, adaptation = sampled
        network = state.parameters.network
        belief = adaptation.progress.belief
        posterior = network.encoder.posterior(belief.state)
        np.testing.assert_allclose(
            network.context(belief.state), np.hstack([posterior.mean, np.exp(posterior.log_std)]), rtol=1e-6
        )
        told = learner.represent(learner.method.parameters(state), belief)
        np.testing.assert_allclose(told, posterior.mean, rtol=1e-6)
