"""The objective with a loss on every round, and its gradient, against a plain second derivation, in float64."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import reference
from helpers.data import ACTION, EMBEDDING, OBSERVATION, condition_of, random_batch, random_context, tiny_tesp
from helpers.trees import assert_close, assert_identical, random_like
from tesp.adaptation.fast_update import Context
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.adaptation.task_objective import Experience, Past, task_objective
from tesp.methods.gradient.adapt_sv import AdaptSV
from tesp.methods.gradient.meta_sgd import MetaSGD
from tesp.types import Parameters

#: Of the warm-up round, of round 1 and of round 2.
WEIGHTS = (0.7, 0.2, 0.5)
META = MetaUpdateSettings(clip=0.15, embedding_penalty=0.3)
METHODS = {
    "tesp": (tiny_tesp(policy_units=(3,), encoder_units=2), reference.tesp),
    "meta-sgd": (MetaSGD(OBSERVATION, ACTION, (3,), 0.4), reference.meta_sgd),
    "adapt-sv": (AdaptSV(OBSERVATION, ACTION, EMBEDDING, (3,), 0.4), reference.adapt_sv),
}
#: Episodes in the buffer that each of the three rounds sees: M of them, or with V1 all so far.
BEST, ALL = (2, 2, 2), (2, 4, 6)

pytestmark = pytest.mark.usefixtures("float64")


class Problem:
    """What one task experienced in two fast-updates, and its objective derived twice."""

    def __init__(self, name, second_order=False, buffers=BEST, weights=WEIGHTS):
        algorithm, self.agent = METHODS[name]
        self.condition, self.warmed_up = condition_of(algorithm), name == "tesp"
        self.fast = FastUpdateSettings(rate_bound=10.0, second_order=second_order)
        start = jax.jit(algorithm.init)(jax.random.key(0))
        scale = 0.5 if self.warmed_up else 0.25
        adapted = random_like(start.adapted, 1, scale)
        self.parameters = Parameters(adapted, random_like(adapted, 3, scale), random_like(start.shared, 2, 0.25))
        self.rounds = [self.round(k, size) for k, size in zip((1, 2, 3), buffers, strict=True)]
        self.gradients = self.inner_gradients()
        warm_up = [self.round(0, 0)] if self.warmed_up else []
        self.early, self.weights = (*warm_up, *self.rounds[:-1]), weights[-2 - len(warm_up) :]

    def round(self, k, buffer):
        batch = random_batch(10 * k + 5, 3, steps=3)
        if not self.warmed_up:
            return Past(Context(None, jnp.zeros(2)), jnp.zeros(EMBEDDING), batch)
        return Past(random_context(10 * k, buffer, steps=3) if k else None, jnp.zeros(EMBEDDING), batch)

    def inner_gradients(self):
        """g_1 and g_2, as numbers."""

        @jax.jit
        def gradients(p):
            stages = reference.second_order_stages(self.agent, p, self.rounds[:-1], self.fast)
            return [
                jax.tree.map(lambda a, b, rate: (a - b) / rate, before, after, p.rates)
                for before, after in pairwise(stages)
            ]

        return gradients(self.parameters)

    @property
    def experience(self):
        g1, g2 = self.gradients
        nothing, total = jax.tree.map(jnp.zeros_like, g1), jax.tree.map(jnp.add, g1, g2)
        history, sums = (tuple(self.rounds[:-1]), ()) if self.fast.second_order else ((), (nothing, g1))
        return Experience(self.rounds[-1], total, history, self.early, sums, jnp.asarray(self.weights))

    def objective(self, experience=None):
        """Ours, as a function of the parameters."""
        given = self.experience if experience is None else experience
        return lambda p: task_objective(self.condition, p, given, self.fast, META)[0]

    def by_reference(self, p):
        looking_back = {"agent": self.agent, "early": self.early, "weights": self.weights}
        if self.fast.second_order:
            return reference.second_order_objective(
                p, self.rounds[:-1], self.rounds[-1], self.fast, META, **looking_back
            )
        return reference.first_order_objective(p, self.gradients, self.rounds[-1], META, **looking_back)

    def edges(self):
        """How far the ratios of all rounds are from where they are clipped."""

        @jax.jit
        def ratios(p):
            stages = reference.first_order_stages(p, self.gradients)
            stages = [*stages[:1] * self.warmed_up, *stages]
            found = []
            for adapted, past in zip(stages, (*self.early, self.rounds[-1]), strict=True):
                policy, h = self.agent(adapted, p.shared, past.context)
                found.append(reference.ratios(policy, h, past.batch.episodes)[np.nonzero(past.batch.episodes.valid)])
            return jnp.concatenate(found)

        return np.abs(np.abs(np.asarray(ratios(self.parameters)) - 1) - META.clip)


@pytest.mark.parametrize(
    ("name", "second_order", "buffers"),
    [
        ("tesp", False, BEST),
        ("tesp", True, BEST),
        # The buffer of V1, which is only longer.
        pytest.param("tesp", False, ALL, marks=pytest.mark.long),
        ("meta-sgd", False, BEST),
        ("meta-sgd", True, BEST),
        ("adapt-sv", False, BEST),
    ],
    ids=lambda x: {BEST: "best", ALL: "all", False: "first order", True: "second order"}.get(x, x),
)
def test_value_and_gradient_are_those_of_the_reference(name, second_order, buffers):
    """By differences; with θ^k and h^k of every round among what is differentiated."""
    problem = Problem(name, second_order, buffers)
    assert problem.edges().min() > 1e-4, "differences know no kinks"
    value, gradient = jax.jit(jax.value_and_grad(problem.objective()))(problem.parameters)
    expected, differences = reference.central_differences(problem.by_reference, problem.parameters)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert_close(gradient, differences, rtol=1e-6, atol=1e-9)
    assert all(np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_every_round_has_a_part_in_every_gradient():
    """Each weight alone moves the value and, after the first fast-update, the gradients of θ, α and the policy."""
    objective = jax.jit(lambda p, e: jax.value_and_grad(lambda p: task_objective(condition, p, e, fast, META)[0])(p))
    problem = Problem("tesp")
    condition, fast, experience = problem.condition, problem.fast, problem.experience
    plain = objective(problem.parameters, experience._replace(early_weights=jnp.zeros(3)))
    for index in range(3):
        value, gradient = objective(problem.parameters, experience._replace(early_weights=jnp.eye(3)[index]))
        assert abs(value - plain[0]) > 1e-3
        moved = [
            max(np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, parts), strict=True)) > 1e-4
            for parts in zip(gradient, plain[1], strict=True)
        ]
        # The warm-up round knows no embedding, and round 1 comes before the first fast-update.
        assert moved == [index > 0, index > 1, True]


@pytest.mark.parametrize(("name", "second_order"), [("tesp", False), ("meta-sgd", False), ("meta-sgd", True)])
def test_without_weight_it_is_the_objective_of_the_last_round(name, second_order):
    problem = Problem(name, second_order, weights=(0.0, 0.0, 0.0))
    experience = problem.experience
    plain = experience._replace(early=(), early_sums=(), early_weights=None)
    found, expected = (
        jax.jit(jax.value_and_grad(problem.objective(e)))(problem.parameters) for e in (experience, plain)
    )
    assert_identical(found[0], expected[0])
    assert_close(found[1], expected[1], rtol=1e-13, atol=1e-15)
    at_all_weights = jax.jit(problem.objective(experience._replace(early_weights=jnp.ones(len(problem.early)))))
    assert abs(at_all_weights(problem.parameters) - expected[0]) > 1e-2


def test_a_round_without_weight_is_left_out():
    """Among those that one loop goes through, which skips it."""
    problem = Problem("meta-sgd", weights=(0.0, 0.0, 0.5))
    found = jax.jit(problem.objective())(problem.parameters)
    np.testing.assert_allclose(found, jax.jit(problem.by_reference)(problem.parameters), rtol=1e-12)
