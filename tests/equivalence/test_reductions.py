"""What one algorithm becomes when something of it is switched off must be another one, to the last bit."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.data import random_episodes
from helpers.learners import GOALS, HORIZON, STEP_SIZE, adapt, make_learner, meta_update, with_options
from helpers.trees import assert_close, assert_identical
from tesp.adaptation.meta_update import optimiser
from tesp.adaptation.settings import FastUpdateSettings
from tesp.building import build_family, build_method
from tesp.config import override, preset_config
from tesp.distributions import Gaussian
from tesp.interface import Interface
from tesp.methods.gradient.adapt_sv import AdaptSV
from tesp.methods.gradient.algorithm import rates_like
from tesp.methods.gradient.building import make_algorithm
from tesp.methods.gradient.maesn import MAESN, LatentPolicy
from tesp.methods.gradient.maml import MAML
from tesp.methods.gradient.meta_sgd import MetaSGD
from tesp.methods.gradient.oracle import Oracle
from tesp.methods.gradient.settings import AblationSettings, GradientConfig
from tesp.methods.gradient.tesp import TESP
from tesp.methods.gradient.tesp_set import TESPSet
from tesp.networks.settings import NetworkSettings
from tesp.types import Parameters

RATE = 0.05


def meta_train(algorithm, count=2, parameters=None, learner=None):
    """Parameters and adaptations of ``count`` meta-updates."""
    learner = learner or make_learner(algorithm)
    parameters = parameters or jax.jit(algorithm.init)(jax.random.key(0))
    state, adaptations = jax.jit(optimiser().init)(parameters), []
    for update in range(count):
        adaptations.append(adapt(learner, parameters, seed=update))
        updated = meta_update(learner, parameters, state, adaptations[-1], STEP_SIZE)
        parameters, state = updated.parameters, updated.optimiser_state
        assert updated.epoch_kept > 0, "a meta-update that changes nothing proves nothing"
    return parameters, adaptations


def rounds_of(adaptation):
    """What happened in an adaptation."""
    return [(r.outcomes.average_return, r.round.episodes.action) for r in adaptation.rounds]


def test_meta_sgd_with_frozen_equal_rates_is_maml():
    algorithms = MAML(2, 2, (4,), RATE), MetaSGD(2, 2, (4,), RATE, learned_rates=False)
    learners = [make_learner(algorithm) for algorithm in algorithms]
    trained = {}
    for second_order, early in ((False, 0.0), (True, 0.0), (False, 0.5)):
        options = {"fast": {"second_order": second_order}, "meta": {"early_loss_weight": early}}
        (maml, of_maml), (sgd, of_sgd) = (
            meta_train(algorithm, learner=with_options(learner, **options))
            for algorithm, learner in zip(algorithms, learners, strict=True)
        )
        assert_identical(sgd.adapted, maml.adapted)
        for one, other in zip(of_sgd, of_maml, strict=True):
            assert_identical(one.progress.belief.adapted, other.progress.belief.adapted)
            assert_identical(rounds_of(one), rounds_of(other))
        for leaf in jax.tree.leaves(sgd.rates):
            np.testing.assert_array_equal(leaf, np.full(leaf.shape, RATE, np.float32))
        assert maml.rates == np.float32(RATE)
        trained[second_order, early] = maml.adapted.output.weight
    assert not np.array_equal(trained[False, 0.0], trained[True, 0.0])
    assert not np.array_equal(trained[False, 0.0], trained[False, 0.5])


def test_tesp_whose_rates_are_zero_is_v4():
    sizes = {"observation_size": 2, "action_size": 2, "embedding_size": 2, "policy_units": (4,), "encoder_units": 3}
    options = GradientConfig(
        network=NetworkSettings(policy_units=(4,), encoder_units=3, embedding_size=2),
        fast=FastUpdateSettings(initial_rate=RATE),
        ablation=AblationSettings(fast_update=False),
    )
    v4 = make_algorithm(options, TESP, Interface((2,), (-1.0, -1.0), (1.0, 1.0), 2, HORIZON))
    zero = TESP(**sizes, initial_rate=0.0)
    parameters = jax.jit(zero.init)(jax.random.key(0))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(parameters.rates))
    expected, of_v4 = meta_train(v4)
    assert_identical(rounds_of(adapt(make_learner(zero), parameters)), rounds_of(of_v4[0]))
    # The rates of TESP would not stay at zero; everything else of a meta-update is the same.
    still = TESP(**sizes, initial_rate=0.0, learned_rates=False)
    actual, of_tesp = meta_train(still, parameters=parameters)
    assert_identical((actual.adapted, actual.shared), (expected.adapted, expected.shared))
    for one, other in zip(of_tesp, of_v4, strict=True):
        assert_identical(rounds_of(one), rounds_of(other))
    first = of_v4[0]
    start = jax.jit(v4.init)(jax.random.key(0)).adapted
    assert not np.array_equal(expected.adapted.output.weight, start.output.weight), "the meta-update does train it"
    assert expected.rates == 0
    assert_identical(
        first.progress.belief.adapted, jax.tree.map(lambda x: jnp.broadcast_to(x, (len(GOALS), *x.shape)), start)
    )


def test_v3_is_tesp_without_the_penalty():
    v3 = preset_config("reacher2", "paper", "tesp-v3")
    tesp = preset_config("reacher2", "paper", embedding_penalty=0.0)
    assert dataclasses.replace(v3, algorithm="tesp") == tesp
    assert preset_config("reacher2", "paper").method.meta.embedding_penalty > 0


def test_adapt_sv_whose_rates_are_zero_is_the_shared_policy():
    """Every round is one of the policy at z, and the meta-update that of the policy without fast-updates."""
    algorithm = AdaptSV(2, 2, 2, (4,), 0.0, learned_rates=False)
    parameters = jax.jit(algorithm.init)(jax.random.key(0))
    parameters = parameters._replace(adapted=jnp.asarray([0.5, -0.25]))
    learner = make_learner(algorithm)
    adaptation = adapt(learner, parameters)
    policy = jax.jit(lambda observation, z: parameters.shared(observation, z))
    for result in adaptation.rounds:
        episodes = result.round.episodes
        mean, _ = policy(episodes.observation, parameters.adapted)
        assert_close(np.where(episodes.valid[..., None], mean, 0), episodes.behaviour.mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(adaptation.progress.belief.adapted, np.tile(parameters.adapted, (len(GOALS), 1)))
    state = jax.jit(optimiser().init)(parameters)
    actual = meta_update(learner, parameters, state, adaptation, STEP_SIZE)
    alone = copy.copy(adaptation)
    alone.trials = [kept._replace(gradient_sum=jnp.zeros_like(kept.gradient_sum)) for kept in adaptation.trials]
    assert np.any(adaptation.progress.belief.gradient_sum), "the gradients are there, and go nowhere"
    assert_identical(actual.parameters, meta_update(learner, parameters, state, alone, STEP_SIZE).parameters)


def test_adapt_sv_that_begins_at_the_origin_at_a_fixed_rate_is_cavia():
    """The same method to the last bit; z begins at 0 on every task and after every meta-update, and the rate stays."""
    sizes = {"embedding_size": 2, "policy_units": (4,), "initial_rate": RATE, "fast_updates": 2, "epochs": 4}
    cavia = preset_config("point", "quick", "cavia", **sizes)
    # How rates are learned has no meaning for CAVIA.
    alike = {"learned_start": False, "fixed_rate": True, "rates_step": 1.0, "project_rates": False, "rate_bound": 1.0}
    adapt_sv = preset_config("point", "quick", "adapt-sv", **alike, **sizes)
    methods = [build_method(config, build_family(config)) for config in (cavia, adapt_sv)]
    assert methods[0] == methods[1]
    other = override(adapt_sv, learned_start=True)
    assert methods[0] != build_method(other, build_family(other))
    algorithm = AdaptSV(2, 2, 2, (4,), RATE, learned_rates=False)
    parameters, adaptations = meta_train(algorithm, 1, learner=make_learner(algorithm, {"learned_start": False}))
    np.testing.assert_array_equal(parameters.adapted, 0.0)
    assert parameters.rates == np.float32(RATE)
    assert np.all(adaptations[-1].progress.belief.adapted != 0), "fast-updates move it, so that it has a gradient"


def test_maesn_without_spread_is_adapt_sv():
    """σ = exp(−40): every episode has the same z, which the fast-updates move as they move that of AdaptSV."""
    plain = AdaptSV(2, 2, 2, (4,), RATE)
    parameters = jax.jit(plain.init)(jax.random.key(0))
    start = jnp.asarray([0.5, -0.25])
    latent = Gaussian(start, jnp.full(2, -40.0))
    of_latent = Parameters(latent, rates_like(latent, RATE), LatentPolicy(parameters.shared, 2))
    one = adapt(make_learner(MAESN(2, 2, 2, (4,), RATE)), of_latent)
    other = adapt(make_learner(plain), parameters._replace(adapted=start))
    moved = one.progress.belief.adapted
    np.testing.assert_allclose(moved.mean, other.progress.belief.adapted, rtol=1e-4)
    np.testing.assert_array_equal(moved.log_std, -40.0)
    assert np.all(moved.mean != start)
    for r, s in zip(one.rounds, other.rounds, strict=True):
        np.testing.assert_allclose(r.round.episodes.action, s.round.episodes.action, rtol=1e-4, atol=1e-5)


def test_tesp_with_a_set_of_one_policy_is_tesp():
    sizes = (2, 2, 2, (4,), 3, RATE)
    (tesp, of_tesp), (alone, of_one) = (meta_train(made, 1) for made in (TESP(*sizes), TESPSet(*sizes, policies=1)))
    assert_identical((alone.adapted, alone.rates, alone.shared.trunk), (tesp.adapted, tesp.rates, tesp.shared))
    for one, other in zip(of_one, of_tesp, strict=True):
        assert_identical(rounds_of(one), rounds_of(other))


class TestTheOracle:
    algorithm = Oracle(2, 2, 2, (4,))

    def test_is_told_the_task_and_ignores_the_buffer(self):
        task = jnp.asarray([0.5, -0.7])
        for buffer in (None, random_episodes(0, 3), random_episodes(1, 3)):
            np.testing.assert_array_equal(self.algorithm.embedding((), buffer, task), task)

    def test_has_nothing_to_adapt(self):
        parameters = jax.jit(self.algorithm.init)(jax.random.key(0))
        assert jax.tree.leaves((parameters.adapted, parameters.rates)) == []

    @pytest.mark.parametrize("seed", [0, 1])
    def test_acts_on_the_goal_from_the_first_round(self, seed):
        learner = make_learner(self.algorithm)
        parameters = jax.jit(self.algorithm.init)(jax.random.key(seed))
        adaptation = adapt(learner, parameters, seed)
        for result in adaptation.rounds:
            np.testing.assert_array_equal(result.belief.embedding, GOALS.astype(np.float32))
