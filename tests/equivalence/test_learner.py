"""The rounds of adaptation on a small simulation: what must hold whatever is learned."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.monitoring
import numpy as np
import pytest

from helpers import meta_update_on_devices
from helpers.learners import (
    GOALS,
    HORIZON,
    STEP_SIZE,
    adapt,
    first_meta_updates,
    fresh,
    make_learner,
    meta_update,
    with_options,
)
from helpers.point import PointSimulation
from helpers.trees import all_different, assert_close, assert_identical, task_slice
from tesp.adaptation import buffer
from tesp.errors import ConfigurationError, NonFiniteError
from tesp.sampling import SamplingSettings

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def learner():
    return make_learner()


@pytest.fixture(scope="module")
def parameters():
    return fresh()[0]


@pytest.fixture(scope="module")
def adaptation(learner, parameters):
    return adapt(learner, parameters)


def results(adaptation):
    """Everything but the stopwatch and the compiled-in order of tasks."""
    rounds = [(r.belief.embedding, r.round, r.belief.norm) for r in adaptation.rounds]
    outcomes = [vars(r.outcomes) for r in adaptation.rounds]
    return adaptation.progress.belief.adapted, adaptation.progress.belief.gradient_sum, rounds, outcomes


def test_rounds(parameters, adaptation):
    """Warm-up with h = 0, then rounds 1 … K+1; a gradient after each but the first and the last."""
    assert [r.fast_update for r in adaptation.rounds] == [-1, 0, 1, 2]
    assert [bool(np.all(r.belief.norm)) for r in adaptation.rounds] == [False, False, True, True]
    assert [kept.past.context is not None for kept in adaptation.trials] == [False, True, True, True]
    assert not np.any(adaptation.rounds[0].belief.embedding)
    assert adaptation.steps == sum(int(r.round.episodes.valid.sum()) for r in adaptation.rounds)
    rates, theta = parameters.rates, parameters.adapted
    expected = jax.tree.map(
        lambda p, a, g: np.asarray(p) - np.asarray(a) * np.asarray(g),
        theta,
        rates,
        adaptation.progress.belief.gradient_sum,
    )
    assert_close(adaptation.progress.belief.adapted, expected, rtol=1e-5, atol=1e-6)


def test_embeddings_and_buffers(adaptation):
    """h^k is of B^{k−1}, which holds the best episodes of all rounds before."""
    task = 1
    seen = [task_slice(r.round.episodes, task) for r in adaptation.rounds]
    update = jax.jit(buffer.update, static_argnames="size")
    expected = None
    for k, sampled in enumerate(seen[:-1]):
        expected = update(expected, sampled, size=3)
        assert_identical(task_slice(adaptation.rounds[k + 1].belief.buffer, task), expected)
    h = jax.jit(lambda encoder, b: encoder(b))(task_slice(adaptation.progress.belief.adapted, task), expected)
    np.testing.assert_allclose(adaptation.rounds[-1].belief.embedding[task], h, rtol=1e-4, atol=1e-7)


def test_actions_come_from_the_recorded_gaussian(parameters, adaptation):
    act = jax.jit(jax.vmap(parameters.shared.__call__))
    for r in adaptation.rounds:
        episodes, valid = r.round.episodes, np.asarray(r.round.episodes.valid)
        mean, log_std = act(episodes.observation, r.belief.embedding)
        np.testing.assert_allclose(np.asarray(episodes.behaviour.mean)[valid], np.asarray(mean)[valid], atol=1e-6)
        np.testing.assert_allclose(np.asarray(episodes.behaviour.log_std)[valid], np.asarray(log_std)[valid], atol=1e-6)
    noise = [
        ((np.asarray(e.action) - np.asarray(e.behaviour.mean)) / np.exp(e.behaviour.log_std))[np.asarray(e.valid)]
        for e in (r.round.episodes for r in adaptation.rounds)
    ]
    every = np.concatenate(noise)
    assert len(np.unique(every.round(5))) > 0.99 * every.size, "no two steps share their noise"
    assert abs(every.std() - 1) < 0.1


def test_the_same_key_gives_the_same_bits(learner, parameters, adaptation):
    assert_identical(results(adapt(learner, parameters)), results(adaptation))


def test_another_key_gives_other_episodes(learner, parameters, adaptation):
    other = adapt(learner, parameters, seed=1)
    assert not np.allclose(other.rounds[0].outcomes.average_return, adaptation.rounds[0].outcomes.average_return)


def test_order_of_the_tasks_does_not_matter(learner, parameters):
    """With its identity a task carries its noise along."""
    ids, order = np.array([7, 3, 11, 5]), np.array([2, 0, 3, 1])
    straight = adapt(learner, parameters, ids=ids)
    shuffled = adapt(learner, parameters, goals=GOALS[order], ids=ids[order])
    assert_close(results(shuffled), task_slice(results(straight), order), rtol=1e-4, atol=1e-5)


def test_a_broken_observation_names_its_task(learner, parameters):
    with pytest.raises(NonFiniteError, match="observation became NaN or infinite in task 2") as error:
        adapt(learner, parameters, simulation=PointSimulation(broken=GOALS[2]))
    assert error.value.task == 2


def test_a_broken_gradient_names_its_task(learner, parameters):
    class Immeasurable(PointSimulation):
        """Rewards beyond float32 in round 1, whose episodes the encoder has not seen when they are sampled."""

        rounds = 0

        def reset(self, tasks):
            self.rounds += 1
            return super().reset(tasks)

        def step(self, ids, actions):
            done = super().step(ids, actions)
            if self.rounds == 2:
                done.reward[(self.goals[ids] == GOALS[1]).all(axis=1)] *= 3e38
            return done

    with pytest.raises(NonFiniteError, match=r"gradient of the fast-update .* in task 1") as error:
        adapt(learner, parameters, simulation=Immeasurable())
    assert error.value.task == 1


@contextmanager
def compilations():
    """A list that grows with every compilation."""
    compiled = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_nothing_is_compiled_after_the_first_meta_update(learner):
    parameters, state = fresh()
    with compilations() as compiled:
        counts = []
        for update in range(3):
            adapted = adapt(learner, parameters, seed=update, ids=np.arange(4) + update)
            updated = meta_update(learner, parameters, state, adapted, STEP_SIZE / (1 + update))
            parameters, state = updated.parameters, updated.optimiser_state
            counts.append(len(compiled))
        assert counts == [counts[0]] * 3
        jax.jit(lambda x: x + 1)(0.0)
        assert len(compiled) == counts[0] + 1, "compilations must be heard of"


def test_shorter_episodes_compile_nothing(learner):
    """Also where whole chunks and segments of steps are left out."""
    parameters, state = fresh()
    meta_update(learner, parameters, state, adapt(learner, parameters), STEP_SIZE)
    with compilations() as compiled:
        # Just out of reach at the start, so that most first or second steps arrive.
        near = 0.105 * GOALS / np.linalg.norm(GOALS, axis=1, keepdims=True)
        adaptation = adapt(learner, parameters, goals=near)
        meta_update(learner, parameters, state, adaptation, STEP_SIZE)
    lengths = np.concatenate([np.ravel(r.outcomes.length) for r in adaptation.rounds])
    assert np.mean(lengths < HORIZON) > 0.5
    assert not compiled


def as_an_accelerator_would(_):
    """All tasks of a device at once, where nothing can be skipped."""
    return {"tasks_at_once": 4}


def in_small_pieces(monkeypatch):
    """Several chunks and segments instead of the one that so few steps fit in; some of them are skipped."""
    monkeypatch.setattr("tesp.adaptation.chunks.ROWS", 4)
    monkeypatch.setattr("tesp.networks.gru.SEGMENT", 2)
    # Another bound that nothing comes near: equal methods would share what was compiled before.
    return {"kl_bound": 11.0}


# Every combination would compile for minutes; each way of dividing and each order is here once.
@pytest.mark.parametrize(
    ("options", "differently"),
    [
        pytest.param({}, in_small_pieces, id="first order in small pieces"),
        # Both alone are here and in other tests; together they take a sixth of a minute to compile.
        pytest.param(
            {"second_order": True},
            as_an_accelerator_would,
            id="second order as an accelerator would",
            marks=pytest.mark.long,
        ),
        pytest.param({}, as_an_accelerator_would, id="first order as an accelerator would"),
    ],
)
def test_how_the_work_is_divided_does_not_matter(monkeypatch, options, differently):
    """One task after the other equals all at once, and one chunk of steps equals several."""

    def results(**meta):
        learner = make_learner(fast=options, meta={"epochs": 2, "early_loss_weight": 0.3, **meta})
        parameters, state = fresh()
        adaptation = adapt(learner, parameters, goals=0.5 * GOALS)
        updated = meta_update(learner, parameters, state, adaptation, STEP_SIZE)
        return updated.parameters, updated.terms, updated.gradient_norms, adaptation.progress.belief.gradient_sum

    plain = results()
    assert_close(results(**differently(monkeypatch)), plain, rtol=1e-3, atol=1e-5)


def test_every_parameter_is_trained(learner):
    """Every leaf of θ_TE, α and θ_policy moves: each has a gradient."""
    before, _ = fresh()
    _, updated = first_meta_updates(learner, 1)
    assert int(updated.epoch_kept) >= 1
    for name in before._fields:
        assert all_different(getattr(before, name), getattr(updated.parameters, name)), name
    assert np.all(np.asarray(updated.gradient_norms) > 0)


def test_no_fast_updates(learner):
    """K = 0 is a plain policy gradient on embeddings: nothing adapts and the rates have no gradient."""
    learner = with_options(learner, fast={"fast_updates": 0}, meta={"epochs": 2})
    parameters, state = fresh()
    adaptation = adapt(learner, parameters)
    assert [r.fast_update for r in adaptation.rounds] == [-1, 0]
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(adaptation.progress.belief.gradient_sum))
    for task in range(len(GOALS)):
        assert_identical(task_slice(adaptation.progress.belief.adapted, task), parameters.adapted)
    updated = meta_update(learner, parameters, state, adaptation, STEP_SIZE)
    assert int(updated.epoch_kept) > 0
    assert_identical(updated.parameters.rates, parameters.rates)
    norms = np.asarray(updated.gradient_norms)
    assert np.all(norms[:, [0, 2]] > 0)
    assert not np.any(norms[:, 1])


def test_options_of_the_meta_update(learner):
    """Second order and a loss on the early rounds work on what a learner gathers."""
    learner = with_options(learner, {"second_order": True}, {"epochs": 2, "early_loss_weight": 0.3})
    parameters, state = fresh()
    adaptation = adapt(learner, parameters)
    experience = learner.method.experience(adaptation.trials)
    assert len(experience.history) == 2
    assert len(experience.early) == 3
    updated = meta_update(learner, parameters, state, adaptation, STEP_SIZE)
    assert int(updated.epoch_kept) > 0
    assert np.all(np.asarray(updated.gradient_norms) > 0)
    assert np.all(updated.terms.early_loss)
    np.testing.assert_allclose(updated.terms.kl[0], 0, atol=1e-5, err_msg="θ^{K+1} is found again")


def test_a_learner_finds_every_round_again(learner):
    """What it gathers for the loss on every round are the θ^k and h^k that the rounds were sampled with."""
    learner = with_options(learner, meta={"epochs": 2, "early_loss_weight": 0.3, "early_loss_ratio": 0.5})
    parameters, state = fresh()
    adaptation = adapt(learner, parameters)
    experience = learner.method.experience(adaptation.trials, progress=0.5)
    assert [past.context is None for past in experience.early] == [True, False, False]
    assert experience.history == ()
    np.testing.assert_allclose(experience.early_weights, np.tile([0.075, 0.15, 0.3], (len(GOALS), 1)), rtol=1e-6)
    assert len(experience.early_sums) == 2
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(experience.early_sums[0]))
    assert all(np.any(leaf) for leaf in jax.tree.leaves(experience.early_sums[1]))
    updated = meta_update(learner, parameters, state, adaptation, STEP_SIZE)
    np.testing.assert_allclose(updated.terms.kl[0], 0, atol=1e-5)
    np.testing.assert_allclose(updated.terms.early_kl[0], 0, atol=1e-5)
    assert np.all(updated.terms.early_kl[-1] > 0)


def test_a_loss_on_every_round_that_has_run_out_is_none(learner):
    parameters, state = fresh()
    gone = with_options(learner, meta={"epochs": 2, "early_loss_weight": 0.3, "early_loss_final": 0.0})
    plain = with_options(learner, meta={"epochs": 2})
    results = [meta_update(made, parameters, state, adapt(made, parameters), progress=1.0) for made in (gone, plain)]
    assert_close(results[0].parameters, results[1].parameters, rtol=1e-5, atol=1e-7)
    assert not np.any(results[0].terms.early_loss)


def test_two_devices_equal_one(learner, tmp_path):
    """Tasks spread over several devices give the bits that one gives."""
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-m", "helpers.meta_update_on_devices", str(tmp_path / "two.npz")],
        env={**os.environ, "PYTHONPATH": path, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2"], "the tasks were spread over both devices"
    one = meta_update_on_devices.results(learner)
    with np.load(tmp_path / "two.npz") as two:
        assert set(two) == set(one)
        for name, value in one.items():
            np.testing.assert_array_equal(two[name], value, err_msg=name)


def test_rounds_are_handed_on_only_where_asked_for(learner, adaptation):
    experience = learner.method.experience(adaptation.trials)
    assert experience.history == experience.early == ()
    assert experience.last is adaptation.trials[-1].past


@pytest.mark.parametrize("name", ["tasks_per_update", "episodes_per_round"])
def test_impossible_sampling(name):
    with pytest.raises(ConfigurationError, match=f"{name} = 0"):
        SamplingSettings(**{name: 0})
