"""What is sampled before the fast-updates, in the objectives of ProMP and E-MAML, against exact expectations.

Actions of one number with a normal distribution and rewards that are polynomials: Gauss–Hermite quadrature gives every
expectation without error, in the objective as well, where a node is an episode of one step whose reward and advantage
are multiplied with the node's weight.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.data import ACTION, OBSERVATION, condition_of, random_batch
from helpers.learners import GOALS
from helpers.trees import assert_close, random_like
from tesp.adaptation.fast_update import Context, inner_gradient
from tesp.adaptation.objective import Batch, ratio_loss, steps_of, surrogate_terms, vanilla_loss
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.adaptation.task_objective import Experience, Past, task_objective
from tesp.building import build_family, build_method
from tesp.config import preset_config
from tesp.distributions import Gaussian
from tesp.methods.gradient.e_maml import credited
from tesp.methods.gradient.maml import MAML
from tesp.networks.policy import ConditionalPolicy
from tesp.types import Episodes, Parameters

pytestmark = pytest.mark.usefixtures("float64")

META = MetaUpdateSettings(clip=0.2)
RATE = 0.3


class Bandit(ConditionalPolicy):
    """N(μ, σ²), whatever is seen."""

    mean: jax.Array
    log_std: jax.Array

    def condition(self, embedding):
        return ()

    def respond(self, observation, conditioned):
        return Gaussian(*(jnp.broadcast_to(x, (*observation.shape[:-1], 1)) for x in (self.mean, self.log_std)))


def nodes(count):
    """x_i and w_i with Σ w_i f(x_i) = E f(x) for a standard normal x, for polynomials of degree below 2·count."""
    x, w = np.polynomial.hermite_e.hermegauss(count)
    return jnp.asarray(x), jnp.asarray(w / w.sum())


def reward(a):
    return a - 0.5 * a**2


def expected_reward(mean, std):
    return mean - 0.5 * (mean**2 + std**2)


def batch(action, behaviour, worth) -> Batch:
    """Episodes of one step with the given rewards, which are the advantages too."""
    (count,) = action.shape
    zeros, ones = jnp.zeros((count, 1)), jnp.ones((count, 1), bool)
    mean, log_std = (jnp.broadcast_to(x, (count, 1, 1)) for x in behaviour)
    episodes = Episodes(
        zeros[..., None],
        action[:, None, None],
        worth[:, None],
        zeros,
        Gaussian(mean, log_std),
        valid=ones,
        terminated=ones,
        truncated=~ones,
    )
    return Batch(episodes, worth[:, None])


def expectation(mean, log_std) -> Batch:
    """A batch over which means are expectations over the policy's actions."""
    x, w = nodes(8)
    action = mean + jnp.exp(log_std) * x
    return batch(action, (mean, log_std), len(x) * w * reward(action))


def test_the_ratio_has_the_curvature_of_the_expected_reward():
    """And the gradient, which log π has too."""

    @jax.jit
    def slopes_and_curvatures(at):
        sampled = expectation(*at)

        def by_ratio(p):
            return ratio_loss(Bandit(*p), jnp.zeros(0), sampled)

        def by_log_probability(p):
            return vanilla_loss(Bandit(*p), jnp.zeros(0), sampled)

        def exact(p):
            return -expected_reward(p[0], jnp.exp(p[1]))

        losses = by_ratio, by_log_probability, exact
        return [jax.grad(f)(at) for f in losses], [jax.hessian(f)(at) for f in losses]

    slopes, curvatures = slopes_and_curvatures(jnp.asarray([0.4, -0.3]))
    np.testing.assert_allclose(slopes[0], slopes[2], rtol=1e-12)
    np.testing.assert_allclose(slopes[1], slopes[2], rtol=1e-12)
    np.testing.assert_allclose(curvatures[0], curvatures[2], rtol=1e-10, atol=1e-12)
    assert np.abs(curvatures[1] - curvatures[2]).max() > 0.1


def adapted_by_hand(mean, action, std):
    """θ − α ∇L for the mean alone, of one action."""
    return mean + RATE * reward(action) * (action - mean) / std**2


def bandit(adapted, shared, _context):
    return Bandit(adapted, shared), jnp.zeros(0)


def past(given) -> Past:
    return Past(Context(None, jnp.zeros(0)), jnp.zeros(0), given)


class TestTheCredit:
    """Of two fast-updates, each from a single action; σ is not adapted."""

    mean, log_std = 0.4, -0.3

    def exact(self, updates, mean):
        """J(μ): the expected reward after the updates."""
        x, w = nodes(12)
        std = np.exp(self.log_std)
        if updates == 0:
            return expected_reward(mean, std)
        after = adapted_by_hand(mean, mean + std * x, std)
        return jnp.dot(w, jax.vmap(lambda m: self.exact(updates - 1, m))(after))

    @partial(jax.jit, static_argnums=(0, 1, 2))
    def expected_gradient(self, updates, credit):
        """Of the objective with respect to μ, over all combinations of nodes; each of them is a task."""
        x, w = nodes(12)
        std = np.exp(self.log_std)
        grids = [g.ravel() for g in jnp.meshgrid(*[x] * updates)]
        weight = jnp.prod(jnp.stack([g.ravel() for g in jnp.meshgrid(*[w] * updates)]), axis=0)
        means, rounds = jnp.full(len(weight), self.mean), []
        log_std = jnp.asarray([self.log_std])

        def single(mean, noise):
            action = mean + std * noise
            return batch(action[None], (mean, log_std[0]), reward(action)[None])

        for noise in grids:
            rounds.append(jax.vmap(past)(jax.vmap(single)(means, noise)))
            means = adapted_by_hand(means, means + std * noise, std)
        last = jax.vmap(past)(jax.vmap(lambda m: expectation(m, log_std[0]))(means))
        fast = FastUpdateSettings(fast_updates=updates, rate_bound=1.0, second_order=True, inner_gradient_norm=1e9)
        early, weights = (), None
        if credit:
            early = credited(rounds, last, np.zeros(updates), credit, 1.0)
            weights = jnp.ones((len(weight), updates))
        experience = Experience(last, jnp.zeros(len(weight)), tuple(rounds), early, (), weights)

        def objective(mean, data):
            parameters = Parameters(mean, jnp.asarray(RATE), log_std)
            return task_objective(bandit, parameters, data, fast, META)[0]

        gradients = jax.vmap(jax.grad(objective), in_axes=(None, 0))(jnp.asarray([self.mean]), experience)
        return weight @ gradients[:, 0]

    def test_makes_the_gradient_that_of_the_expected_reward_after_adaptation(self):
        exact = -jax.jit(jax.grad(partial(self.exact, 2)))(self.mean)
        np.testing.assert_allclose(self.expected_gradient(2, 1.0), exact, rtol=1e-9)
        assert abs(self.expected_gradient(2, 0.0) - exact) > 0.05, "MAML leaves a part of it out"


class TestProMP:
    """Against MAML in second order, in one fast-update from episodes that its own policy sampled."""

    algorithm = MAML(OBSERVATION, ACTION, (3,), RATE)
    fast = FastUpdateSettings(fast_updates=1, rate_bound=10.0, second_order=True, inner_gradient_norm=1e9)

    @pytest.fixture
    def problem(self):
        policy = random_like(jax.eval_shape(self.algorithm.init, jax.random.key(0)).adapted, 1, 0.5)
        first, last = (random_batch(seed, 4, steps=3) for seed in (5, 6))
        # What acted in the first round is the policy itself.
        episodes = replace(first.episodes, behaviour=policy(first.episodes.observation, jnp.zeros(0)))
        return Parameters(policy, jnp.asarray(RATE), ()), [past(first._replace(episodes=episodes)), past(last)]

    def gradient(self, problem, meta=META, parameters=None, **changes):
        own, rounds = problem
        fast, condition = replace(self.fast, **changes), condition_of(self.algorithm)

        def objective(p):
            return task_objective(condition, p, Experience(rounds[1], (), (rounds[0],)), fast, meta)[0]

        return jax.jit(jax.grad(objective))(parameters or own)

    def test_adapts_as_maml_does(self, problem):
        parameters, (first, _) = problem

        @jax.jit
        def gradients(policy):
            condition = condition_of(self.algorithm)
            return [
                inner_gradient(condition, policy, (), first.context, first.batch, replace(self.fast, inner_loss=kind))[
                    0
                ]
                for kind in ("likelihood_ratio", "log_probability")
            ]

        assert_close(*gradients(parameters.adapted), rtol=1e-12, atol=1e-14)

    def test_without_its_further_term_it_is_maml(self, problem):
        """α · mean over steps of Â ∇log π ⟨∇log π, ∇L_PPO(θ′)⟩, from the products of the gradients of single steps."""
        parameters, (first, last) = problem
        promp, maml = (self.gradient(problem, inner_loss=kind) for kind in ("likelihood_ratio", "log_probability"))
        steps, policy = first.batch.episodes, parameters.adapted
        where = np.nonzero(np.asarray(steps.valid))
        observation, action, advantage = (x[where] for x in (steps.observation, steps.action, first.batch.advantages))

        def log_p(policy, observation, action):
            return policy(observation, jnp.zeros(0)).log_probability(action)

        @jax.jit
        def further(policy):
            inner = jax.grad(lambda p: vanilla_loss(p, jnp.zeros(0), steps_of(first.batch)))(policy)
            after = jax.tree.map(lambda p, g: p - RATE * g, policy, inner)
            outer = jax.grad(lambda p: surrogate_terms(p, jnp.zeros(0), last.batch, META.clip).policy_loss)(after)
            own = jax.vmap(jax.grad(log_p), in_axes=(None, 0, 0))(policy, observation, action)
            products = sum(
                jnp.einsum("s...,...->s", a, b) for a, b in zip(*map(jax.tree.leaves, (own, outer)), strict=True)
            )
            weight = RATE * advantage * products / len(advantage)
            return jax.tree.map(lambda g: jnp.einsum("s,s...->...", weight, g), own)

        term = further(policy)
        assert_close(jax.tree.map(jnp.subtract, promp.adapted, term), maml.adapted, rtol=1e-9, atol=1e-12)
        assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(term))

    def test_the_divergence_holds_the_first_policy_where_it_was(self, problem):
        """Where that acted its gradient is 0; elsewhere that of the mean divergence, which nothing else adds to."""
        parameters, (first, _) = problem
        meta = replace(META, inner_kl_penalty=0.7)
        kind = {"inner_loss": "likelihood_ratio"}
        assert_close(self.gradient(problem, meta, **kind), self.gradient(problem, **kind), rtol=1e-9, atol=1e-12)
        moved = parameters._replace(adapted=random_like(parameters.adapted, 8, 0.5))
        with_it, without = (self.gradient(problem, m, moved, **kind) for m in (meta, META))

        @jax.jit
        @jax.grad
        def divergence(policy):
            steps = first.batch.episodes
            found = steps.behaviour.kl_divergence(policy(steps.observation, jnp.zeros(0)))
            return 0.7 * jnp.mean(found, where=steps.valid)

        difference = jax.tree.map(jnp.subtract, with_it.adapted, without.adapted)
        assert_close(difference, divergence(moved.adapted), rtol=1e-9, atol=1e-12)


def test_e_maml_without_credit_is_maml():
    methods = [
        build_method(config, build_family(config))
        for config in (
            preset_config("point", "quick", "maml"),
            preset_config("point", "quick", "e-maml", exploration_credit=0.0),
        )
    ]
    assert methods[0] == methods[1]


def test_credit_is_the_tasks_own_and_spares_the_padding():
    rounds = [jax.vmap(past)(random_batch(seed, len(GOALS), 3)) for seed in (1, 2)]
    last = jax.vmap(past)(random_batch(3, len(GOALS), 2))
    returns = np.array(
        [
            np.mean(
                [np.sum(0.9 ** np.arange(4) * np.where(valid, reward, 0)) for valid, reward in zip(*task, strict=True)]
            )
            for task in zip(last.batch.episodes.valid, last.batch.episodes.reward, strict=True)
        ]
    )
    for weight, before, after in zip(
        (0.5, 1.0), rounds, credited(rounds, last, np.array([0.5, 1.0]), 2.0, 0.9), strict=True
    ):
        valid = before.batch.episodes.valid
        expected = weight * before.batch.advantages + 2.0 * (returns - returns.mean())[:, None, None]
        np.testing.assert_allclose(after.batch.advantages, np.where(valid, expected, 0.0), rtol=1e-12)
        assert after.batch.episodes is before.batch.episodes
