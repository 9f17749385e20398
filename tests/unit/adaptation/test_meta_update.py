"""The loop of PPO epochs against the same loop written by hand with optax."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from helpers import reference
from helpers.data import condition_of, random_batch, random_context, tiny_tesp, with_garbage
from helpers.trees import all_different, assert_close, assert_identical, random_like, task_slice
from tesp.adaptation import meta_update as module
from tesp.adaptation.fast_update import FastUpdateSettings
from tesp.adaptation.meta_update import Experience, MetaUpdateSettings, Round, optimiser, task_objective
from tesp.errors import ConfigurationError
from tesp.types import Parameters

TASKS, STEP_SIZE = 4, 0.1
ALGORITHM = tiny_tesp()
CONDITION = condition_of(ALGORITHM)
FAST = FastUpdateSettings()
META = MetaUpdateSettings(epochs=10, kl_bound=0.097, embedding_penalty=0.3)

meta_update = eqx.filter_jit(module.meta_update)
initial_state = jax.jit(optimiser().init)


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
    """The round of the meta-update, sampled with the adapted policy itself; and two early rounds."""
    gradients = random_like(jax.tree.map(lambda x: np.zeros((TASKS, *x.shape), x.dtype), parameters.adapted), 5)
    context, batch = random_context(10, TASKS, 3), random_batch(11, TASKS, 6)

    @jax.jit
    @jax.vmap
    def behaviour(gradient, buffer, observation):
        adapted = reference.descend(parameters.adapted, parameters.rates, gradient)
        h = reference.encode(adapted, buffer)
        return h, *reference.act(parameters.shared, observation, h)

    h, mean, log_std = behaviour(gradients, context.buffer, batch.episodes.observation)
    noise = np.random.default_rng(12).normal(size=mean.shape)
    action = jnp.asarray(np.asarray(mean) + np.exp(log_std) * noise, jnp.float32)
    sampled = dataclasses.replace(batch.episodes, action=action, mean=mean, log_std=log_std)
    early = tuple(
        Round(None, jnp.asarray(np.random.default_rng(seed).normal(size=(TASKS, 2)), jnp.float32), spare)
        for seed, spare in ((20, random_batch(20, TASKS, 3)), (30, random_batch(30, TASKS, 3)))
    )
    return Experience(Round(context, h, batch._replace(episodes=sampled)), gradients), early


def run(parameters, state, experience, meta=META, learned_rates=True, step_size=STEP_SIZE):
    return meta_update(CONDITION, parameters, state, experience, jnp.float32(step_size), learned_rates, FAST, meta)


@pytest.fixture(scope="module")
def updated(parameters, state, experience):
    return run(parameters, state, experience[0])


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
    """The rule of the specification, from the recorded terms."""
    losses, kls = (np.mean(x, axis=1)[1 : epochs + 1] for x in (terms.policy_loss, terms.kl))
    allowed = np.flatnonzero(kls < bound)
    return 0 if not allowed.size else 1 + allowed[np.argmin(losses[allowed])]


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


def test_an_admissible_epoch_is_kept_even_if_the_loss_rose(parameters, state, experience):
    """The candidates are the parameters after 1, 2, … steps; the ones from before are none of them."""
    actual = run(parameters, state, experience[0], step_size=-0.003)
    losses = np.mean(actual.terms.policy_loss, axis=1)
    assert losses[0] < losses[1:].min()
    assert int(actual.epoch_kept) == best_admissible(actual.terms, META.kl_bound, META.epochs) > 0


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
    whole = run(parameters, state, experience[0], one).parameters
    tenth = run(parameters, state, experience[0], dataclasses.replace(one, rates_step=0.1)).parameters
    assert_close(tenth.adapted, whole.adapted, rtol=1e-6)
    assert_close(tenth.shared, whole.shared, rtol=1e-6)
    expected = jax.tree.map(lambda old, new: old + 0.1 * (new - old), parameters.rates, whole.rates)
    assert_close(tenth.rates, expected, rtol=1e-3, atol=1e-7)
    assert all_different(tenth.rates, whole.rates)


def test_projected_rates_stay_inside_the_bound(parameters, state, experience):
    """A step of 0.1 takes most of them out of the bound of 0.1, where they would have no gradient any more."""
    free = run(parameters, state, experience[0], dataclasses.replace(META, kl_bound=1e9)).parameters.rates
    kept = run(parameters, state, experience[0], dataclasses.replace(META, kl_bound=1e9, project_rates=True))
    largest = [max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(tree)) for tree in (free, kept[0].rates)]
    assert largest[0] > FAST.rate_bound
    assert largest[1] == pytest.approx(FAST.rate_bound)


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


def test_embedding_penalty_is_the_mean_square(parameters, experience):
    """η · (1/d) Σ_j h_j²: twice the entries at the same size do not cost more."""
    one_task, last = task_slice(experience[0], 0), task_slice(experience[0].last, 0)
    adapted = reference.descend(parameters.adapted, parameters.rates, one_task.gradient_sum)
    h = np.asarray(jax.jit(lambda a: reference.encode(a, last.context.buffer))(adapted))

    loss, terms = jax.jit(lambda p: task_objective(CONDITION, p, one_task, FAST, META))(parameters)
    np.testing.assert_allclose(terms.penalty, np.mean(h**2), rtol=1e-5)
    np.testing.assert_allclose(loss, terms.policy_loss + META.embedding_penalty * np.mean(h**2), rtol=1e-5)
    assert META.embedding_penalty * np.mean(h**2) > 0.01


def test_early_rounds_train_the_shared_policy_only(parameters, experience):
    """w · Σ over early rounds of the clipped loss at the embedding of then, held constant."""
    early = experience[1]
    one_task = task_slice(experience[0]._replace(early=early), 0)
    weight = 0.3

    @jax.jit
    def gradients(parameters):
        weighted = dataclasses.replace(META, early_rounds_weight=weight)

        def gradient(meta):
            return jax.grad(lambda p: task_objective(CONDITION, p, one_task, FAST, meta)[0])(parameters)

        return gradient(weighted), gradient(META)

    def by_equation(shared):
        return sum(reference.surrogate(shared, past.embedding, *past.batch, META.clip) for past in one_task.early)

    added = jax.tree.map(np.subtract, *gradients(parameters))
    expected = jax.tree.map(lambda x: weight * np.asarray(x), jax.jit(jax.grad(by_equation))(parameters.shared))
    assert_close(added.shared, expected, rtol=1e-3, atol=1e-6)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves((added.adapted, added.rates)))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("tasks_at_once", -1),
        ("learning_rate", 0.0),
        ("clip", -0.1),
        ("kl_bound", float("nan")),
        ("embedding_penalty", -1.0),
        ("early_rounds_weight", float("nan")),
    ],
)
def test_impossible_settings(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} = {value}"):
        MetaUpdateSettings(**{name: value})
