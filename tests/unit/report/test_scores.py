"""What single tasks returned, grouped over seeds: which points there are, and which of them stand in which table."""

import csv
import io

import numpy as np
import pytest

from helpers.stored import TASK_SETS, scores, still_scores, write_scores
from tesp.report.by_episodes import COLUMNS, by_episodes_csv, by_episodes_markdown
from tesp.report.scores import along, as_trained, improvement_of, read_scores, write_score_matrices


@pytest.fixture
def read(tmp_path):
    """Return the scores that would be read of these records, all in one folder."""
    return lambda *records: read_scores([write_scores(tmp_path / "run", [r for some in records for r in some])])


@pytest.fixture
def several(read):
    """TESP with N = 1, 2 and, as trained, 5; RL² with one episode a round; the oracle; standing still twice a seed."""
    return read(
        *(scores("tesp", n, warm_up=1, as_trained=n == 5) for n in (5, 1, 2)),
        scores("rl2", 1, last=3, as_trained=True, shift=1.0),
        scores("oracle", 5, last=0, as_trained=True, shift=30.0),
        *(still_scores(seed, method) for seed in (0, 1) for method in ("tesp", "rl2")),
    )


def test_standing_still_comes_first_then_the_oracle_and_each_is_a_matrix(several):
    assert list(dict.fromkeys(s.method for s in several)) == ["standing still", "oracle", "tesp", "rl2"]
    assert {(s.seeds, s.returns.shape) for s in several} == {((0, 1), (2, 4))}
    still, told = several[0], several[3]
    np.testing.assert_array_equal(still.returns, [[-60.0] * 4, [-61.0] * 4])
    # −40 + 5 + 30 + task + seed
    np.testing.assert_array_equal(told.returns, [[-5.0, -4.0, -3.0, -2.0], [-4.0, -3.0, -2.0, -1.0]])
    assert told.interquartile_mean == -3.0
    assert (told.environment_steps, told.used) == (26_000.0, 0.0)


def test_a_line_grows_by_rounds_of_the_fewest_episodes_and_then_by_episodes(several):
    for task_set in TASK_SETS:
        points = [(s.episodes, s.fast_update, s.used) for s in along(several, task_set, "tesp")]
        assert points == [(1, 0, 1), (1, 1, 2), (1, 2, 3), (2, 2, 6), (5, 2, 15)]
        assert [s.used for s in along(several, task_set, "rl2")] == [0, 1, 2, 3]
    assert along(several, "train", "maml") == []


def test_a_number_of_episodes_that_one_of_the_runs_lacks_is_left_out(read):
    found = read(scores("tesp", 1), scores("tesp", 2, seeds=(0,)), scores("tesp", 5, seeds=(1, 0)))
    assert {s.episodes for s in found} == {1, 5}


def test_what_methods_come_to_is_after_their_last_round_with_the_episodes_of_training(several):
    found = as_trained(several, "in_distribution")
    assert {name: (s.episodes, s.fast_update) for name, s in found.items()} == {
        "standing still": (None, 0),
        "oracle": (5, 0),
        "tesp": (5, 2),
        "rl2": (1, 3),
    }


class TestImprovement:
    def test_only_seeds_that_both_have_are_compared(self, read):
        found = read(scores("tesp", 1, as_trained=True), scores("maml", 1, seeds=(1, 2), as_trained=True))
        one, other = (as_trained(found, "train")[name] for name in ("tesp", "maml"))
        # On the tasks of seed 1 both return the same.
        assert improvement_of(one, other) == (0.5, 0.5, 0.5, 1)

    def test_is_one_where_all_tasks_are_better(self, several):
        found = as_trained(several, "train")
        assert improvement_of(found["oracle"], found["tesp"]) == (1.0, 1.0, 1.0, 2)
        assert improvement_of(found["tesp"], found["oracle"]) == (0.0, 0.0, 0.0, 2)

    def test_is_unknown_without_common_tasks(self, read):
        found = read(
            scores("tesp", 1, as_trained=True),
            scores("maml", 1, seeds=(2,), as_trained=True),
            scores("cavia", 1, tasks=3, as_trained=True),
        )
        own = as_trained(found, "train")
        assert improvement_of(own["tesp"], own["maml"]) is None
        assert improvement_of(own["tesp"], own["cavia"]) is None


def test_matrices_are_as_rliable_takes_them(several, tmp_path):
    write_score_matrices(several, "train", tmp_path / "scores.npz")
    found = dict(np.load(tmp_path / "scores.npz"))
    assert list(found) == ["oracle", "tesp", "rl2"]
    # −40 + 10·2 + 5 + task + seed
    np.testing.assert_array_equal(found["tesp"], [[-15, -14, -13, -12], [-14, -13, -12, -11]])


class TestTables:
    def test_points(self, several):
        lines = by_episodes_markdown(several).splitlines()
        assert lines[0] == (
            "| method | N | k | episodes used | D | D′ | D″ | success D, D′, D″ | seeds | training steps |"
        )
        assert lines[2].startswith("| standing still |  |  |  | −60.5 [−61.0, −60.0] |")
        assert lines[3].startswith("| Oracle | **5** | 0 | 0 | −3.0 [")
        assert [line.split(" | ")[1:4] for line in lines[4:9]] == [
            *(["1", str(k), str(k + 1)] for k in range(3)),
            ["2", "2", "6"],
            ["**5**", "2", "15"],
        ]
        assert lines[8].endswith(" | 50 %, 50 %, 50 % | 2 | 26,000 |")

    def test_pairs(self, several):
        text = by_episodes_markdown(several)
        # RL² returns −9 + task + seed, and TESP −15 + task + seed.
        assert text.splitlines()[-3:] == [
            "| better | than | D | D′ | D″ | seeds |",
            "| --- | --- | --- | --- | --- | --- |",
            "| TESP | RL² | 0 % [0 %, 0 %] | 0 % [0 %, 0 %] | 0 % [0 %, 0 %] | 2 |",
        ]
        alone = by_episodes_markdown([s for s in several if s.method != "rl2"])
        assert "better" not in alone

    def test_values_hold_every_number_of_episodes_with_every_fast_update(self, several):
        rows = list(csv.DictReader(io.StringIO(by_episodes_csv(several))))
        assert tuple(rows[0]) == COLUMNS
        assert len(rows) == len(several) == 3 * (1 + 1 + 3 * 3 + 4)
        [row] = [
            r
            for r in rows
            if (r["task_set"], r["method"], r["episodes_per_round"], r["fast_update"]) == ("train", "tesp", "2", "1")
        ]
        assert (row["as_trained"], row["episodes_used"], row["seeds"], row["tasks"]) == ("False", "4.0", "2", "4")
        # −40 + 10 + 2 + task + seed
        assert float(row["mean_return"]) == float(row["iqm_return"]) == -26.0
        assert float(row["iqm_return_low"]) < -26.0 < float(row["iqm_return_high"])
