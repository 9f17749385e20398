"""The first round of a method that takes twice as many episodes, in place of a warm-up round."""

from functools import cache

import jax
import numpy as np
import pytest

from helpers.learners import GOALS, HORIZON, adapt, make_learner, meta_update
from helpers.trees import assert_identical, named_leaves, task_slice
from tesp.adaptation.meta_update import optimiser
from tesp.evaluation.protocol import summarise
from tesp.methods.gradient.adapt_sv import AdaptSV
from tesp.methods.gradient.maml import MAML

N, K = 5, 2
ALGORITHMS = {"adapt-sv": AdaptSV(2, 2, 2, (4,), 0.5), "maml": MAML(2, 2, (4,), 0.5)}
#: A loss on every round looks back on rounds that are not of one size, as does MAML's second order.
EARLY = {"early_loss_weight": 0.3}
IDS = np.array([7, 2, 11, 5])

both = pytest.mark.parametrize("name", ALGORITHMS)


@cache
def learner(name, extra):
    fast, meta = {"fast_updates": K, "second_order": name == "maml"}, {"epochs": 2, "kl_bound": 0.01, **EARLY}
    return make_learner(ALGORITHMS[name], fast, meta, extra, episodes_per_round=N)


@cache
def parameters(name):
    return jax.jit(ALGORITHMS[name].init)(jax.random.key(0))


@cache
def adapted(name, extra=True):
    return adapt(learner(name, extra), parameters(name), ids=IDS)


def episodes(adaptation, index):
    return adaptation.rounds[index].round.episodes


def noise(sampled):
    """What the actions were moved by, as far as it can be told from the actions themselves."""
    return np.asarray((sampled.action - sampled.behaviour.mean) / np.exp(sampled.behaviour.log_std))


def drawn(number):
    """Standard normal noise of a round by its number: 0 for the warm-up round, k for round k."""
    key = jax.random.fold_in(jax.random.key(0), number)
    return np.stack([jax.random.normal(jax.random.fold_in(key, task), (N, HORIZON, 2)) for task in IDS])


def assert_noise(sampled, expected):
    valid = np.asarray(sampled.valid)
    np.testing.assert_allclose(noise(sampled)[valid], expected[valid], rtol=1e-4, atol=1e-5)


@both
def test_the_first_round_and_only_it_is_twice_as_large(name):
    for extra, sizes in ((True, [2 * N, N, N]), (False, [N, N, N])):
        adaptation = adapted(name, extra)
        assert [r.fast_update for r in adaptation.rounds] == [0, 1, 2]
        for index, size in enumerate(sizes):
            shape = (len(GOALS), size)
            assert episodes(adaptation, index).valid.shape == (*shape, HORIZON)
            assert adaptation.rounds[index].round.estimates.shape == (*shape, HORIZON)
            assert {leaf.shape[:2] for _, leaf in named_leaves(adaptation.rounds[index].outcomes)} == {shape}


@both
def test_the_extra_episodes_come_first_with_the_noise_of_a_warm_up_round(name):
    first = episodes(adapted(name), 0)
    assert_noise(task_slice(first, np.s_[:, :N]), drawn(0))
    assert_noise(task_slice(first, np.s_[:, N:]), drawn(1))


@both
def test_the_others_are_those_of_a_round_without_extra_episodes(name):
    more, plain = adapted(name), adapted(name, extra=False)
    assert_identical(task_slice(episodes(more, 0), np.s_[:, N:]), jax.tree.map(jax.numpy.asarray, episodes(plain, 0)))
    outcomes = jax.tree.map(lambda x: x[:, N:], more.rounds[0].outcomes)
    assert_identical(outcomes, plain.rounds[0].outcomes)


@both
def test_later_rounds_keep_their_noise(name):
    for extra in (True, False):
        for k in range(1, K + 1):
            assert_noise(episodes(adapted(name, extra), k), drawn(k + 1))


@both
def test_the_fast_update_learns_from_all_of_them(name):
    """Both halves alike would leave the gradient of the vanilla loss as it is; other episodes change it."""
    norms = [adapted(name, extra).rounds[1].belief.norm for extra in (True, False)]
    assert norms[0].shape == norms[1].shape == (len(GOALS),)
    assert np.all(np.abs(norms[0] - norms[1]) > 1e-4)


@both
def test_every_step_is_counted(name):
    adaptation = adapted(name)
    lengths = [int(np.asarray(episodes(adaptation, k).valid).sum()) for k in range(K + 1)]
    assert adaptation.steps == sum(lengths)
    first = int(np.asarray(episodes(adapted(name, extra=False), 0).valid).sum())
    assert first < lengths[0] <= 2 * N * len(GOALS) * HORIZON


@both
def test_the_same_again(name):
    again = adapt(learner(name, True), parameters(name), ids=IDS)
    assert_identical(episodes(again, 0), episodes(adapted(name), 0))
    assert_identical(again.progress.belief.adapted, adapted(name).progress.belief.adapted)


@both
def test_an_evaluation_says_how_many_episodes_there_were(name):
    rows = summarise(adapted(name))
    assert [row["episodes_per_task"] for row in rows] == [2 * N, N, N]
    assert not any("warm_up_return" in row for row in rows)


@both
def test_a_meta_update_looks_back_on_rounds_of_two_sizes(name):
    """AdaptSV in first order, MAML in second."""
    state = jax.jit(optimiser().init)(parameters(name))
    updated = meta_update(learner(name, True), parameters(name), state, adapted(name))
    assert updated.epochs_run == 2
    assert all(np.isfinite(leaf).all() for _, leaf in named_leaves(updated))
    assert np.all(updated.terms.early_loss != 0)
