"""The loop of PPO epochs against the same loop written by hand with optax."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import reference
from helpers.data import condition_of, random_batch, random_context, tiny_tesp, with_garbage
from helpers.trees import all_different, assert_close, assert_identical, random_like, task_slice
from tesp.adaptation.contributions import Answer, OwnContributions
from tesp.adaptation.meta_update import meta_update, optimiser
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.adaptation.task_objective import (
    Experience,
    Past,
    early_weights,
    gradient_of_task,
    pack_experience,
    task_objective,
)
from tesp.distributions import Gaussian
from tesp.errors import ConfigurationError
from tesp.methods.gradient.metrics import Summary, metrics_of
from tesp.types import Parameters

TASKS, STEP_SIZE = 4, 0.1
ALGORITHM = tiny_tesp()
CONDITION = condition_of(ALGORITHM)
FAST = FastUpdateSettings()
META = MetaUpdateSettings(epochs=10, kl_bound=0.097, embedding_penalty=0.3, judge_last_epoch=True)
#: w_k of the warm-up round and of round 1.
WEIGHTS = (0.4, 2.0)

initial_state = jax.jit(optimiser().init)
packed = jax.jit(lambda experience: pack_experience(experience, 0))


@pytest.fixture(scope="module")
def parameters():
    start = jax.jit(ALGORITHM.init)(jax.random.key(0))
    rates = random_like(start.adapted, 3, 0.02)
    return Parameters(random_like(start.adapted, 1, 0.5), rates, random_like(start.shared, 2, 0.2))


@pytest.fixture(scope="module")
def state(parameters):
    """Adam's state after a step that has nothing to do with this experience."""
    fresh = initial_state(parameters)
    with jax.numpy_dtype_promotion("standard"):
        return jax.jit(optimiser().update)(random_like(parameters, 4, 0.1), fresh)[1]


@pytest.fixture(scope="module")
def experience(parameters):
    """The round of the meta-update, and the same with a warm-up round and round 1; all sampled as they would be."""
    gradients = random_like(jax.tree.map(lambda x: np.zeros((TASKS, *x.shape), x.dtype), parameters.adapted), 5)
    nothing = jax.tree.map(jnp.zeros_like, gradients)
    last = sampled(parameters, gradients, random_context(10, TASKS, 3), random_batch(11, TASKS, 6), 12)
    warm_up = sampled(parameters, nothing, None, random_batch(20, TASKS, 3), 21)
    first = sampled(parameters, nothing, random_context(30, TASKS, 3), random_batch(31, TASKS, 3), 32)
    plain = Experience(last, gradients)
    weights = jnp.tile(jnp.asarray(WEIGHTS, jnp.float32), (TASKS, 1))
    return plain, plain._replace(early=(warm_up, first), early_sums=(nothing,), early_weights=weights)


def sampled(parameters, gradients, context, batch, seed):
    """A round whose actions are those of the policy at θ^k = θ − α ∘ Σ g and h^k."""

    @jax.jit
    @jax.vmap
    def behaviour(gradient, context, observation):
        adapted = reference.descend(parameters.adapted, parameters.rates, gradient)
        policy, h = reference.tesp(adapted, parameters.shared, context)
        return h, *reference.act(policy, observation, h)

    h, mean, log_std = behaviour(gradients, context, batch.episodes.observation)
    noise = np.random.default_rng(seed).normal(size=mean.shape)
    action = jnp.asarray(np.asarray(mean) + np.exp(log_std) * noise, jnp.float32)
    own = dataclasses.replace(batch.episodes, action=action, behaviour=Gaussian(mean, log_std))
    return Past(context, h, batch._replace(episodes=own))


@dataclasses.dataclass(frozen=True)
class Answering:
    """Answers as a method does; equal ones share what is compiled."""

    meta: MetaUpdateSettings
    learned_rates: bool

    def __call__(self, question, given, experience):
        parameters, count = given
        if question == "gradient":
            return Answer(
                *gradient_of_task(CONDITION, parameters, experience, count, self.learned_rates, FAST, self.meta)
            )
        return Answer(jnp.zeros(0), task_objective(CONDITION, parameters, experience, FAST, self.meta)[1])


def run(parameters, state, experience, meta=META, learned_rates=True, step_size=STEP_SIZE):
    # The length of the loop and the bound are no business of the tasks.
    asked = dataclasses.replace(META, embedding_penalty=meta.embedding_penalty, clip=meta.clip)
    own = OwnContributions(Answering(asked, learned_rates), packed(experience), 0)
    weights = experience.early_weights
    total_weight = np.float32(1.0 if weights is None else 1.0 + weights[0].sum())
    return meta_update(own, parameters, state, jnp.float32(step_size), total_weight, FAST, meta)


@pytest.fixture(scope="module")
def updated(parameters, state, experience):
    return run(parameters, state, experience[0])


@pytest.fixture(scope="module")
def updated_on_every_round(parameters, state, experience):
    return run(parameters, state, experience[1])


@pytest.fixture(scope="module")
def by_hand(parameters, state, experience):
    """Parameters, Adam's state, terms and gradient norms after 0, 1, … epochs."""
    adam = optax.adam(STEP_SIZE)

    def mean_loss(p):
        losses, terms = jax.vmap(lambda own: task_objective(CONDITION, p, own, FAST, META))(experience[0])
        return jnp.mean(losses), terms

    @jax.jit
    def step(parameters, gradient, optimiser_state):
        updates, optimiser_state = adam.update(gradient, optimiser_state)
        return optax.apply_updates(parameters, updates), optimiser_state

    gradient_of = jax.jit(jax.grad(mean_loss, has_aux=True))
    optimiser_state, history = (state, optax.EmptyState()), []
    for _ in range(META.epochs + 1):
        gradient, terms = gradient_of(parameters)
        norms = [np.sqrt(sum(np.sum(np.asarray(x) ** 2) for x in jax.tree.leaves(part))) for part in gradient]
        history.append((parameters, optimiser_state[0], terms, norms))
        with jax.numpy_dtype_promotion("standard"):
            parameters, optimiser_state = step(parameters, gradient, optimiser_state)
    return history


def best_admissible(terms, bound, epochs):
    """The rule of the specification, from the recorded terms; the unchanged parameters are a candidate too."""
    losses, kls = (np.mean(x, axis=1)[: epochs + 1] for x in (terms.policy_loss, terms.kl))
    allowed = np.flatnonzero(kls < bound)
    return allowed[np.argmin(losses[allowed])]


def test_every_epoch_is_a_step_of_adam(updated, by_hand):
    assert int(updated.epochs_run) == META.epochs
    rows = jax.tree.map(lambda *x: np.stack(x), *(terms for _, _, terms, _ in by_hand))
    assert_close(updated.terms, rows, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(updated.gradient_norms, [norms for *_, norms in by_hand[:-1]], rtol=1e-3)


def test_keeps_the_best_epoch_below_the_kl_bound(updated, by_hand):
    """With the Adam state that belongs to it."""
    kls = np.mean(updated.terms.kl, axis=1)
    admissible = 1 + np.flatnonzero(kls[1:] < META.kl_bound)
    best_of_all = best_admissible(updated.terms, np.inf, META.epochs)
    expected = best_admissible(updated.terms, META.kl_bound, META.epochs)
    assert best_of_all != expected not in (admissible[0], admissible[-1]), "another rule must give another epoch"
    assert int(updated.epoch_kept) == expected
    parameters, adam, _, _ = by_hand[expected]
    assert_close(updated.parameters, parameters, rtol=1e-3, atol=1e-4)
    assert_close(updated.optimiser_state, adam, rtol=1e-3, atol=1e-5)
    assert int(updated.optimiser_state.count) == expected + 1, "the state came with one step already made"


def test_all_rejected_leaves_everything_as_it_was(parameters, state, experience):
    actual = run(parameters, state, experience[0], step_size=5.0)
    assert np.all(np.isfinite(actual.terms.policy_loss))
    assert np.mean(actual.terms.kl, axis=1)[1:].min() > META.kl_bound
    assert int(actual.epoch_kept) == 0
    assert int(actual.epochs_run) == META.epochs
    assert_identical(actual.parameters, parameters)
    assert_identical(actual.optimiser_state, state)


def test_unchanged_parameters_are_kept_where_the_loss_rose(parameters, state, experience):
    """They compete with the parameters after 1, 2, … steps, the first of which are admissible."""
    actual = run(parameters, state, experience[0], step_size=-0.003)
    losses, kls = (np.mean(x, axis=1) for x in (actual.terms.policy_loss, actual.terms.kl))
    assert losses[0] < losses[1:].min()
    assert kls[1] < META.kl_bound
    assert int(actual.epoch_kept) == 0
    assert_identical(actual.parameters, parameters)
    assert_identical(actual.optimiser_state, state)


@pytest.mark.parametrize("early", [False, True], ids=["last round", "every round"])
def test_the_divergence_that_was_judged_is_told(updated, updated_on_every_round, early):
    """The mean over tasks, and over rounds with the weights of the losses; zero where nothing has changed."""
    actual = updated_on_every_round if early else updated
    kl = np.mean(actual.terms.kl + actual.terms.early_kl, axis=1) / (1 + early * sum(WEIGHTS))
    np.testing.assert_allclose(actual.kl, kl, rtol=1e-5, atol=1e-7)
    assert np.any(actual.terms.early_kl) == early
    assert abs(actual.kl[0]) < 1e-6 < np.abs(actual.kl[1:]).min()


def test_with_a_loss_on_every_round_the_best_mean_over_rounds_is_kept(
    parameters, state, experience, updated_on_every_round
):
    """Weighted as in the objective, for the loss and for the bound; the last round alone would choose otherwise."""
    table, terms = updated_on_every_round, updated_on_every_round.terms
    losses = np.mean(terms.policy_loss + terms.early_loss, axis=1)

    def best(bound):
        allowed = np.flatnonzero(np.asarray(table.kl) < bound)
        return allowed[np.argmin(losses[allowed])]

    assert int(table.epoch_kept) == best(META.kl_bound)
    # Between two candidates, at the first such bound under which the last round alone would choose another epoch.
    middles = np.convolve(np.sort(table.kl), [0.5, 0.5], "valid")
    bound = next(x for x in middles if best(x) != best_admissible(terms, x, META.epochs))
    actual = run(parameters, state, experience[1], dataclasses.replace(META, kl_bound=float(bound)))
    assert int(actual.epoch_kept) == best(bound)


def test_by_default_the_last_step_is_not_taken(parameters, state, experience, updated):
    """It could not be kept; all that is judged is the same."""
    actual = run(parameters, state, experience[0], dataclasses.replace(META, judge_last_epoch=False))
    assert int(actual.epochs_run) == META.epochs - 1
    assert actual.terms.kl.shape == (META.epochs, TASKS)
    assert actual.gradient_norms.shape == (META.epochs - 1, 3)
    assert_close(actual.terms, jax.tree.map(lambda x: x[:-1], updated.terms), rtol=1e-4, atol=1e-6)
    assert int(actual.epoch_kept) == best_admissible(updated.terms, META.kl_bound, META.epochs - 1)


def test_a_loss_that_is_not_a_number_is_never_kept(parameters, state, experience):
    last = experience[0].last
    broken = last.batch._replace(advantages=last.batch.advantages.at[1].set(jnp.nan))
    actual = run(parameters, state, experience[0]._replace(last=last._replace(batch=broken)))
    assert int(actual.epoch_kept) == 0
    assert_identical(actual.parameters, parameters)
    assert_identical(actual.optimiser_state, state)


def test_stops_at_the_kl_bound(parameters, state, experience, updated):
    """The epochs that are run are the same ones; the rest of the table stays empty."""
    actual = run(parameters, state, experience[0], dataclasses.replace(META, stop_at_kl_bound=True))
    crossing = np.flatnonzero(np.mean(updated.terms.kl, axis=1) >= META.kl_bound)[0]
    ran = int(actual.epochs_run)
    assert 0 < ran == crossing < META.epochs
    for row, full in zip(actual.terms, updated.terms, strict=True):
        np.testing.assert_allclose(row[: ran + 1], full[: ran + 1], rtol=1e-5)
        assert np.isnan(row[ran + 1 :]).all()
    assert np.isfinite(actual.gradient_norms[:ran]).all()
    assert np.isnan(actual.gradient_norms[ran:]).all()
    assert int(actual.epoch_kept) == best_admissible(updated.terms, META.kl_bound, ran)


def test_rates_may_take_smaller_steps(parameters, state, experience):
    """After one epoch the rates have moved a tenth as far, and everything else just as far."""
    one = dataclasses.replace(META, epochs=1, kl_bound=1e9)
    small = {"step_size": 1e-3}
    whole = run(parameters, state, experience[0], one, **small).parameters
    tenth = run(parameters, state, experience[0], dataclasses.replace(one, rates_step=0.1), **small).parameters
    assert_close(tenth.adapted, whole.adapted, rtol=1e-6)
    assert_close(tenth.shared, whole.shared, rtol=1e-6)
    expected = jax.tree.map(lambda old, new: old + 0.1 * (new - old), parameters.rates, whole.rates)
    assert_close(tenth.rates, expected, rtol=1e-3, atol=1e-7)
    assert all_different(tenth.rates, whole.rates)


def test_the_first_gradient_of_the_rates_may_serve_all_epochs(parameters, experience):
    """Adam moves by the same step for the same gradient; others have a gradient of their own in each epoch."""
    one = dataclasses.replace(META, epochs=1, kl_bound=1e9)
    three = dataclasses.replace(one, epochs=3, rates_gradient="first_epoch")
    fresh, small = initial_state(parameters), {"step_size": 1e-2}
    after_one = run(parameters, fresh, experience[0], one, **small).parameters
    held = run(parameters, fresh, experience[0], three, **small)
    every = run(parameters, fresh, experience[0], dataclasses.replace(three, rates_gradient="every_epoch"), **small)
    assert int(held.epoch_kept) == int(every.epoch_kept) == 3
    threefold = jax.tree.map(lambda old, new: old + 3.0 * (new - old), parameters.rates, after_one.rates)
    assert_close(held.parameters.rates, threefold, rtol=1e-3, atol=1e-6)
    assert all_different(held.parameters.rates, every.parameters.rates)
    assert all_different(held.parameters.adapted, after_one.adapted)


def test_projected_rates_stay_inside_the_bound(parameters, state, experience):
    """A step of 0.1 takes most of them out of the bound of 0.1, where they would have no gradient any more."""
    free = run(parameters, state, experience[0], dataclasses.replace(META, kl_bound=1e9)).parameters.rates
    kept = run(parameters, state, experience[0], dataclasses.replace(META, kl_bound=1e9, project_rates=True))
    largest = [max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree)) for tree in (free, kept[0].rates)]
    assert largest[0] > FAST.rate_bound
    assert largest[1] == pytest.approx(FAST.rate_bound)


def test_the_record_counts_negative_rates(parameters, state, experience):
    updated = run(parameters, state, experience[0], dataclasses.replace(META, epochs=1))
    summary = Summary(np.ones((TASKS, 1)), np.ones((TASKS, 2)), np.zeros(TASKS), np.ones(TASKS, int))

    def told(rates):
        found = metrics_of(updated._replace(parameters=updated.parameters._replace(rates=rates)), summary)
        return found["share_of_negative_rates"], found["mean_absolute_rate"]

    assert told({"a": jnp.array([-0.1, 0.2, 0.3]), "b": jnp.array([[-0.2]])}) == pytest.approx((0.5, 0.2))
    assert told(jnp.float32(0.05)) == pytest.approx((0.0, 0.05))
    assert told(()) == (0.0, 0.0)


def test_fixed_rates_stay_bit_identical(parameters, experience):
    meta = dataclasses.replace(META, epochs=3, kl_bound=1e6)
    parameters = parameters._replace(rates=jnp.float32(0.05))
    actual = run(parameters, initial_state(parameters), experience[0], meta, learned_rates=False)
    assert int(actual.epoch_kept) > 0
    assert_identical(actual.parameters.rates, parameters.rates)
    assert not np.any(np.asarray(actual.gradient_norms)[:, 1])
    for before, after in zip(parameters[::2], actual.parameters[::2], strict=True):
        assert all_different(before, after)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_padding_changes_nothing(parameters, state, experience, updated, garbage):
    assert_identical(run(parameters, state, with_garbage(experience[0], garbage)), updated)


def test_padding_of_early_rounds_changes_nothing(parameters, state, experience, updated_on_every_round):
    spoilt = run(parameters, state, with_garbage(experience[1], np.nan))
    assert_identical(spoilt, updated_on_every_round)
    assert np.isfinite(spoilt.terms.early_loss).all()


def test_embedding_penalty_is_the_mean_square(parameters, experience):
    """η · (1/d) Σ_j h_j²: twice the entries at the same size do not cost more."""
    one_task, last = task_slice(experience[0], 0), task_slice(experience[0].last, 0)
    adapted = reference.descend(parameters.adapted, parameters.rates, one_task.gradient_sum)
    h = np.asarray(jax.jit(lambda a: reference.encode(a, last.context.buffer))(adapted))

    loss, terms = jax.jit(lambda p: task_objective(CONDITION, p, one_task, FAST, META))(parameters)
    np.testing.assert_allclose(terms.penalty, np.mean(h**2), rtol=1e-5)
    np.testing.assert_allclose(loss, terms.policy_loss + META.embedding_penalty * np.mean(h**2), rtol=1e-5)
    assert META.embedding_penalty * np.mean(h**2) > 0.01


def test_weights_of_early_rounds():
    """w · (share left) · ratio^(rounds from the end − 1), first round first."""
    settings = MetaUpdateSettings(early_loss_weight=0.4, early_loss_ratio=0.5, early_loss_final=0.25)
    for progress, left in ((0.0, 1.0), (0.5, 0.625), (1.0, 0.25)):
        weights = early_weights(settings, 3, progress)
        assert weights.dtype == np.float32
        np.testing.assert_allclose(weights, left * np.array([0.1, 0.2, 0.4]), rtol=1e-6)
    np.testing.assert_allclose(early_weights(MetaUpdateSettings(early_loss_weight=0.3), 4, 0.9), [0.3] * 4, rtol=1e-6)
    nearest = MetaUpdateSettings(early_loss_weight=0.3, early_loss_ratio=0.0)
    np.testing.assert_allclose(early_weights(nearest, 3, 0.0), [0, 0, 0.3], rtol=1e-6)
    assert early_weights(settings, 0, 0.0).shape == (0,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("tasks_at_once", -1),
        ("learning_rate", 0.0),
        ("clip", -0.1),
        ("kl_bound", float("nan")),
        ("embedding_penalty", -1.0),
        ("early_loss_weight", float("nan")),
        ("early_loss_ratio", 1.1),
        ("early_loss_final", -0.1),
        ("parameter_average", 1.0),
        ("epochs", 1),
    ],
)
def test_impossible_settings(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} = {value}"):
        MetaUpdateSettings(**{name: value})
