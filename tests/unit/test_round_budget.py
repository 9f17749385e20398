"""Adapting with rounds that are measured in steps."""

from functools import cache

import jax
import numpy as np
import pytest

from helpers.learners import ALGORITHM, GOALS, HORIZON, adapt, fresh, make_learner
from helpers.point import PointSimulation
from helpers.running import assert_same_run, options, records, tesp, tiny_config
from tesp import runs
from tesp.agents.records import adaptation_records
from tesp.agents.rounds import round_of
from tesp.config import override
from tesp.episodes import rollout
from tesp.episodes.budget import ROUND_CAPACITY
from tesp.errors import ConfigurationError
from tesp.evaluation.protocol import mean_return, outcome_columns, summarise
from tesp.methods.gradient.maml import MAML
from tesp.tasks import registry
from tesp.tasks.point import PointFamily
from tesp.tasks.point import PointSimulation as WholePoint
from tesp.tasks.simulation import Simulation

N = 3
#: Nearer, so that episodes end early.
NEAR = 0.4 * GOALS


def make(algorithm, **sampling):
    fast, meta = {"fast_updates": 1}, {"epochs": 2, "judge_last_epoch": False}
    return make_learner(algorithm, fast, meta, episodes_per_round=N, round_budget="steps", **sampling)


@cache
def learner():
    return make(ALGORITHM, buffer_size=2)


@cache
def adapted():
    return adapt(learner(), fresh()[0], goals=NEAR)


def lengths():
    return [r.outcomes.length for r in adapted().rounds]


def test_every_round_has_room_for_the_same_number_and_meets_its_budget():
    for length in lengths():
        assert length.shape == (len(NEAR), ROUND_CAPACITY * N)
        full = (length > 0).all(axis=1)
        assert ((length.sum(axis=1) >= N * HORIZON) | full).all()
    begun = np.array([(length > 0).sum(axis=1) for length in lengths()])
    assert begun.min() >= N
    assert len(np.unique(begun)) > 2
    assert adapted().steps == sum(int(length.sum()) for length in lengths())


def test_the_noise_of_an_episode_belongs_to_round_task_and_number():
    """Not to how many there is room for, and not to when it begins."""
    for number, result in enumerate(adapted().rounds):
        sampled = result.round.episodes
        valid = np.asarray(sampled.valid)
        assert valid[:, N].any()
        found = np.asarray((sampled.action - sampled.behaviour.mean) / np.exp(sampled.behaviour.log_std))
        for task, episode in np.argwhere(valid.any(axis=-1)):
            key = jax.random.key(0)
            for name in (number, task, episode):
                key = jax.random.fold_in(key, name)
            expected, steps = np.asarray(jax.random.normal(key, (HORIZON, 2))), valid[task, episode]
            np.testing.assert_allclose(found[task, episode][steps], expected[steps], rtol=1e-3, atol=1e-5)


def test_seeds_belong_to_the_number_too():
    few, many = (rollout._seeds(jax.random.key(0), np.arange(2), 1, count, True) for count in (3, 8))
    np.testing.assert_array_equal(few, many[:, :3])
    assert len(np.unique(many)) == many.size


def test_the_buffer_holds_none_that_was_not_sampled_and_advantages_are_of_steps_that_exist():
    assert np.asarray(adapted().progress.belief.buffer.valid).any(axis=-1).all()
    for result in adapted().rounds:
        assert np.all((np.asarray(result.round.estimates) != 0) <= np.asarray(result.round.episodes.valid))


def test_averages_are_over_the_first_n():
    outcomes = adapted().rounds[-1].outcomes
    columns = outcome_columns(outcomes)
    assert columns["episodes_per_task"] == N
    assert columns["average_return"] == pytest.approx(outcomes.average_return[:, :N].mean())
    assert columns["episode_length"] == pytest.approx(outcomes.length[:, :N].mean())
    assert columns["episode_length"] != pytest.approx(outcomes.length.mean())
    warm_up = adapted().rounds[0].outcomes
    assert mean_return(warm_up) == summarise(adapted())[0]["warm_up_return"]
    assert mean_return(warm_up) == pytest.approx(warm_up.average_return[:, :N].mean())


def test_nothing_is_compiled_anew_when_lengths_change():
    own, compiled = learner(), []
    adapted()
    jax.monitoring.register_event_duration_secs_listener(
        listen := lambda event, _, **__: compiled.append(event) if "backend_compile" in event else None
    )
    try:
        # Acting aside, which is compiled for halves of the rows: here all of them fit the smallest.
        other = adapt(own, fresh()[0], seed=7, goals=0.8 * NEAR)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not np.array_equal(other.rounds[0].outcomes.length, lengths()[0])
    assert compiled == []


def test_extra_episodes_are_two_parts():
    algorithm = MAML(2, 2, (4,), 0.5)
    parameters = jax.jit(algorithm.init)(jax.random.key(0))
    more = make(algorithm, extra_episodes=True)
    adaptation = more.adapt(parameters, PointSimulation(), NEAR, HORIZON, jax.random.key(0), last=0)
    length = adaptation.rounds[0].outcomes.length
    room = ROUND_CAPACITY * N
    assert length.shape == (len(NEAR), 2 * room)
    for part in (length[:, :room], length[:, room:]):
        assert ((part.sum(axis=1) >= N * HORIZON) | (part > 0).all(axis=1)).all()
    assert [row["episodes_per_task"] for row in summarise(adaptation)] == [2 * N]


def test_history_and_records_of_one_task_have_the_episodes_that_exist():
    result = adapted().rounds[-1]
    begun = (result.outcomes.length > 0).sum(axis=1)
    task = int(begun.argmax())
    assert (count := int(begun[task])) > N
    alone, outcomes = jax.tree.map(lambda x: x[task : task + 1], (result.round, result.outcomes))
    past = round_of(result._replace(round=alone, outcomes=outcomes))
    assert past.episodes == len(past.successes) == len(past.lengths) == past.outcomes.length.shape[1] == count
    assert len(past.judged_returns) == N
    assert past.environment_steps == outcomes.length.sum()
    for told in (past.outcomes, outcomes):
        record = adaptation_records([(1, told)], PointFamily(), NEAR[task])[0]
        assert (record["episodes_per_task"], len(record["episodes"])) == (N, count)
        assert all(path["position"] for path in record["episodes"])


@pytest.fixture
def near():
    """A run whose goals are so near that some episodes end early."""
    return options(
        round_budget="steps", inner_radius=0.0, boundary_radius=0.02, spacing=0.0, meta_updates=2, fast_updates=1
    )


def test_an_interrupted_run_resumes_bit_for_bit(near, tmp_path, monkeypatch):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert tesp("train", "point", *near, "--output", whole).code == 0
    steps = [record["steps_sampled"] for record in records(whole, "train")]
    assert min(steps) >= 2 * 3 * 3 * 6
    assert max(steps) > 2 * 3 * 3 * 6
    assert all(record["episodes_per_task"] == 3 for record in records(whole, "evaluation"))
    collect, calls = rollout.collect, []

    def interrupted(*arguments, **named):
        calls.append(named)
        # In the middle of the second meta-update, after the three task sets and the first.
        if len(calls) == 4 * 3 + 2:
            raise KeyboardInterrupt
        return collect(*arguments, **named)

    monkeypatch.setattr(rollout, "collect", interrupted)
    assert tesp("train", "point", *near, "--output", parted).code == 130
    monkeypatch.undo()
    assert tesp("resume", parted).code == 0
    assert calls[0] == {"at_once": 3}
    assert_same_run(parted, whole)


class Once(WholePoint):
    restart = Simulation.restart


class OnceFamily(PointFamily):
    def simulate(self, count, threads=0):
        return Once(self, count)


def test_a_family_whose_simulations_cannot_be_restarted_is_refused_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_FACTORIES", {**registry._FACTORIES, "once": OnceFamily})
    config = tiny_config("once", round_budget="steps")
    with pytest.raises(ConfigurationError, match="Once has no method restart"):
        runs.train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    runs.check_restart(override(config, round_budget="episodes"), OnceFamily(), {})
