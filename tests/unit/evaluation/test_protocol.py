import dataclasses

import jax
import numpy as np
import pytest

from helpers.running import TINY, records, shared_learner, tiny_config
from tesp.building import build_family
from tesp.episodes.collect import Outcomes
from tesp.episodes.rollout import Adaptation, RoundResult
from tesp.errors import ConfigurationError
from tesp.evaluation.protocol import Evaluator, outcome_columns, returns_of_tasks, stand_still, summarise
from tesp.runs import load_run
from tesp.task_sets import TASK_SETS
from tesp.tasks.point import PointSimulation

HORIZON = TINY["horizon"]


def outcomes(average_return) -> Outcomes:
    """Two tasks with three episodes each."""
    average_return = np.array(average_return, float)
    shape = average_return.shape
    return Outcomes(
        judged=np.ones(shape, bool),
        average_return=average_return,
        success=np.array([[True, False, False], [True, True, False]]),
        final_distance=np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]),
        length=np.array([[4, 6, 6], [1, 2, 6]]),
        unhealthy=np.array([[False, False, True], [False, False, False]]),
        start=np.zeros((*shape, 2)),
        position=np.zeros((*shape, HORIZON, 2)),
    )


def test_columns_of_outcomes_made_by_hand():
    assert outcome_columns(outcomes([[-1, -2, -3], [-4, -6, -8]])) == {
        "average_return": pytest.approx(-4.0),
        # The deviation is that of the tasks' means, −2 and −6.
        "average_return_std": pytest.approx(2.0),
        "success_rate": pytest.approx(0.5),
        "final_distance": pytest.approx(1.0),
        "episode_length": pytest.approx(25 / 6),
        "unhealthy_rate": pytest.approx(1 / 6),
        "tasks": 2,
        "episodes_per_task": 3,
    }


def rounds(*fast_updates) -> Adaptation:
    return Adaptation([RoundResult(k, None, None, outcomes(np.full((2, 3), -10.0 - k))) for k in fast_updates])


def test_one_row_for_every_number_of_fast_updates():
    rows = summarise(rounds(-1, 0, 1, 2))
    assert [(row["fast_update"], row["average_return"]) for row in rows] == [(0, -10), (1, -11), (2, -12)]
    assert [row.get("warm_up_return") for row in rows] == [-9, None, None]


def test_the_returns_of_tasks_stand_beside_what_was_used_before():
    made = outcomes([[-1, -2, -3], [-4, -6, -8]])
    # Of three places for episodes the first task used two.
    before = dataclasses.replace(made, length=np.array([[4, 6, 0], [1, 2, 6]]))
    warmed = returns_of_tasks(Adaptation([RoundResult(-1, None, None, before), RoundResult(0, None, None, made)]))
    begun = returns_of_tasks(Adaptation([RoundResult(k, None, None, x) for k, x in enumerate((before, made))]))
    assert [(row["fast_update"], row["episodes_used"], row["steps_used"]) for row in warmed] == [(0, 2.5, 9.5)]
    assert [(row["fast_update"], row["episodes_used"], row["steps_used"]) for row in begun] == [
        (0, 0, 0),
        (1, 2.5, 9.5),
    ]
    assert warmed[0]["average_return"] == [-2.0, -6.0]
    assert warmed[0]["success_rate"] == pytest.approx([1 / 3, 2 / 3])


def test_a_row_tells_how_the_tasks_are_spread():
    result = RoundResult(0, None, None, outcomes([[-1, -2, -3], [-4, -6, -8]]))
    [row] = summarise(Adaptation([result]))
    found = row["average_return_quantiles"]
    assert list(found) == ["0", "5", "25", "50", "75", "95", "100"]
    # The tasks' means are −2 and −6.
    assert [found[name] for name in ("0", "25", "50", "100")] == [-6.0, -5.0, -4.0, -2.0]


def test_algorithms_without_a_warm_up_round_report_none():
    assert "warm_up_return" not in summarise(rounds(0, 1))[0]


class TestTinyRun:
    @pytest.fixture
    def loaded(self, reference, monkeypatch):
        monkeypatch.setattr("tesp.building.build_learner", shared_learner)
        return load_run(reference.path, "latest")

    def test_average_return_is_the_sum_of_the_distance_reward_alone(self, loaded):
        learner, tasks = loaded.learner, loaded.task_sets["train"].tasks[:2]
        simulation = loaded.family.simulate(2 * TINY["episodes_per_round"])
        adaptation = learner.adapt(loaded.parameters, simulation, tasks, HORIZON, jax.random.key(5), keep_beliefs=True)
        rows = summarise(adaptation)
        for row, result in zip(rows, adaptation.rounds[1:], strict=True):
            episodes = jax.device_get(result.round.episodes)
            valid = episodes.valid
            expected = np.where(valid, episodes.distance_reward, 0).sum(axis=-1, dtype=float).mean()
            full = np.where(valid, episodes.reward, 0).sum(axis=-1, dtype=float).mean()
            assert row["average_return"] == pytest.approx(expected, rel=1e-6)
            assert abs(row["average_return"] - full) > 1e-3
            assert row["episode_length"] == valid.sum(axis=-1).mean()

    def test_the_same_numbers_as_while_training(self, loaded, reference):
        stored = [r for r in records(reference.path, "evaluation") if r["meta_update"] == TINY["meta_updates"]]
        rows = loaded.evaluate()
        assert rows == [{name: record[name] for name in row} for record, row in zip(stored, rows, strict=True)]
        assert rows == loaded.evaluate()

    def test_of_single_tasks_the_mean_is_the_same(self, loaded):
        evaluator = Evaluator(loaded.learner, loaded.family, loaded.task_sets, loaded.config.seed)
        rows = evaluator.evaluate_tasks(loaded.parameters, loaded.state.meta_update)
        expected = [(r["task_set"], r["fast_update"], r["average_return"]) for r in loaded.evaluate()]
        found = [(r["task_set"], r["fast_update"], pytest.approx(np.mean(r["average_return"]))) for r in rows]
        assert found == expected
        per_round = TINY["episodes_per_round"]
        assert [r["episodes_used"] for r in rows[:4]] == [per_round * k for k in (1, 2, 3, 4)]

    def test_every_set_has_noise_of_its_own(self, loaded):
        same = dict.fromkeys(TASK_SETS, loaded.task_sets["train"])
        evaluator = type(loaded)(loaded.folder, loaded.config, loaded.family, same, loaded.learner, loaded.state)
        returns = {row["task_set"]: row["average_return"] for row in evaluator.evaluate()}
        assert len(set(returns.values())) == 3

    def test_rows_carry_the_noise_of_the_dynamics_which_changes_results_and_repeats(self, loaded):
        rows = {sigma: loaded.evaluate(sigma) for sigma in (0.0, 0.05, 0.1)}
        for sigma, found in rows.items():
            assert [row["dynamics_noise"] for row in found] == [sigma] * len(found)
            assert loaded.evaluate(sigma) == found
        assert rows[0.0] == loaded.evaluate()
        for returns in zip(*([row["average_return"] for row in found] for found in rows.values()), strict=True):
            assert len(set(returns)) == 3

    def test_the_same_evaluator_evaluates_the_same_whatever_the_noise_was_before(self, loaded):
        def fresh():
            return Evaluator(loaded.learner, loaded.family, loaded.task_sets, loaded.config.seed)

        evaluator = fresh()
        for sigma in (0.0, 0.1, 0.05, 0.0, 0.1):
            assert evaluator.evaluate(loaded.parameters, 4, sigma) == fresh().evaluate(loaded.parameters, 4, sigma)

    def test_the_noise_of_the_dynamics_is_of_the_seed_the_meta_update_and_the_set(self, loaded, monkeypatch):
        seeds = []
        monkeypatch.setattr(PointSimulation, "disturb", lambda _, sigma, seed: seeds.append((sigma, *seed[1:])))
        evaluator = Evaluator(loaded.learner, loaded.family, loaded.task_sets, 7)
        evaluator.evaluate(loaded.parameters, 4, 0.1)
        assert seeds == [(0.1, 7, 4, 0), (0.1, 7, 4, 1), (0.1, 7, 4, 2)]

    def test_a_family_without_such_noise_is_refused_only_where_there_is_some(self, loaded, monkeypatch):
        expected = loaded.evaluate()
        monkeypatch.delattr(PointSimulation, "disturb")
        assert loaded.evaluate() == expected
        with pytest.raises(ConfigurationError, match="PointSimulation has no dynamics noise"):
            loaded.evaluate(0.1)

    @pytest.mark.parametrize("sigma", [-0.1, float("nan")])
    def test_noise_that_is_not_possible_is_refused_by_name(self, loaded, sigma):
        with pytest.raises(ConfigurationError, match=f"dynamics_noise = {sigma} is not possible"):
            loaded.evaluate(sigma)


def test_standing_still_on_the_point_has_a_closed_form():
    family = build_family(tiny_config())
    for task_set in family.sample_task_sets(3).values():
        distance = np.linalg.norm(task_set.tasks, axis=1)
        columns = stand_still(family, task_set)
        assert columns["average_return"] == pytest.approx(-HORIZON * distance.mean())
        assert columns["average_return_std"] == pytest.approx(HORIZON * distance.std())
        assert columns["final_distance"] == pytest.approx(distance.mean())
        assert columns["episode_length"] == HORIZON
        assert columns["success_rate"] == 0
        assert (columns["tasks"], columns["episodes_per_task"]) == (TINY["tasks_per_set"], 1)
