import csv
import io

import pytest

from helpers.stored import TASK_SETS, evaluation, evaluations, read, reference
from tesp.errors import ConfigurationError
from tesp.report.comparison import comparison_csv, comparison_markdown, comparison_rows


def run(seed=0, shift=0.0, algorithm="tesp", still=-150.0, **other):
    references = [reference(task_set, still) for task_set in TASK_SETS]
    return read([*references, *evaluations(0, 25, algorithm=algorithm, seed=seed, shift=shift, **other)])


def row_of(rows, method, fast_update, task_set="train"):
    (row,) = [r for r in rows if (r.task_set, r.method, r.fast_update) == (task_set, method, fast_update)]
    return row


def test_rows_are_the_references_then_every_method_with_every_k():
    rows = comparison_rows([run(), run(1), run(algorithm="oracle"), run(algorithm="maml", last=0)])
    methods = [
        ("standing still", None, True),
        ("oracle", 0, False),
        ("oracle", 1, True),
        ("tesp", 0, False),
        ("tesp", 1, True),
        ("maml", 0, True),
    ]
    expected = [(task_set, *method) for task_set in TASK_SETS for method in methods]
    assert [(row.task_set, row.method, row.fast_update, row.last) for row in rows] == expected
    assert [row.count for row in rows[:6]] == [2, 1, 1, 2, 2, 1]


def test_standing_still_counts_once_for_every_seed():
    rows = comparison_rows([run(), run(1, still=-170.0), run(algorithm="maml"), run(algorithm="oracle")])
    still = row_of(rows, "standing still", None)
    assert still.count == 2
    assert still.estimates["average_return"] == (-160.0, -170.0, -150.0)
    assert (still.best_return, still.meta_update, still.environment_steps) == (None, None, None)


def test_runs_without_references_have_no_row_of_standing_still():
    assert {row.method for row in comparison_rows([read(evaluations(0))])} == {"tesp"}


def test_the_interval_of_two_seeds_is_their_range_around_the_mean():
    runs = [run(), run(1, 4.0, success_rate=0.75, final_distance=0.1, episode_length=80.0, environment_steps=30_000)]
    row = row_of(comparison_rows(runs), "tesp", 1)
    # −100 + 25 + 10·1, and 4 more for the other seed
    assert row.estimates["average_return"] == (-63.0, -65.0, -61.0)
    assert row.estimates["success_rate"] == (0.5, 0.25, 0.75)
    assert row.estimates["final_distance"] == pytest.approx((0.3, 0.1, 0.5))
    assert row.estimates["episode_length"] == (130.0, 80.0, 180.0)
    assert (row.meta_update, row.environment_steps) == (25, 27_500.0)
    assert row.best_return == -63.0


def test_the_best_three_are_chosen_on_the_training_tasks_after_the_last_fast_update():
    # Seeds 1, 2 and 4 are the best on D after K fast-updates, and the worst at everything else.
    last, first, new = (-50.0, -46.0, -42.0, -48.0, -44.0), (-60, -90, -91, -61, -92), (-70, -81, -82, -71, -83)
    runs = []
    for seed in range(5):
        returns = {("train", 0): first, ("train", 1): last}
        records = [
            evaluation(0, k, float(returns.get((name, k), new)[seed]), task_set=name, seed=seed)
            for name in TASK_SETS
            for k in (0, 1)
        ]
        runs.append(read(records))
    rows = comparison_rows(runs)
    best = {(row.task_set, row.fast_update): row.best_return for row in rows}
    assert best == {
        ("train", 0): -91.0,
        ("train", 1): -44.0,
        **{(name, k): -82.0 for name in TASK_SETS[1:] for k in (0, 1)},
    }
    assert row_of(rows, "tesp", 1).estimates["average_return"].mean == -46.0


def test_the_markdown_table_holds_intervals_over_seeds_and_the_last_k_in_bold():
    *_, first, last = comparison_markdown(comparison_rows([run(), run(1, 4.0)])).splitlines()
    assert first.startswith("| Outside the distribution D″ | TESP | 0 | −73.0 [−75.0, −71.0] | 25 % [25 %, 25 %] |")
    assert last.endswith(
        "| **−63.0 [−65.0, −61.0]** | 25 % [25 %, 25 %] | 0.500 [0.500, 0.500] | 180 [180, 180] | −63.0 | 2 | 25,000 |"
    )
    *_, alone = comparison_markdown(comparison_rows([run(algorithm="unheard_of")])).splitlines()
    assert alone.startswith("| Outside the distribution D″ | unheard_of | 1 | **−65.0** | 25 % | 0.500 | 180 |")


def test_returns_have_a_unit_where_distances_are_measured():
    with_distance, without = (comparison_markdown(comparison_rows([run(final_distance=x)])) for x in (0.5, None))
    assert "| return (m·steps) | success |" in with_distance
    assert "| return | success |" in without


def test_the_values_have_full_precision_under_their_names():
    rows = comparison_rows([run(), run(1, 1 / 3, final_distance=1 / 7)])
    stored = list(csv.DictReader(io.StringIO(comparison_csv(rows))))
    assert len(stored) == len(rows) == 9
    for row, values in zip(rows, stored, strict=True):
        assert (values["task_set"], values["method"], int(values["seeds"])) == (row.task_set, row.method, 2)
        assert values["fast_update"] == ("" if row.fast_update is None else str(row.fast_update))
        assert float(values["average_return"]) == row.estimates["average_return"].mean
    last = stored[2]
    assert float(last["average_return_low"]) == -65.0
    assert float(last["average_return_high"]) == -65.0 + 1 / 3
    assert float(last["final_distance_low"]) == 1 / 7
    assert (last["meta_update"], float(last["environment_steps"])) == ("25", 25_000.0)
    assert float(last["best_return"]) == pytest.approx(-65.0 + 1 / 6, rel=1e-15)
    assert stored[0]["meta_update"] == stored[0]["best_return"] == ""


@pytest.mark.parametrize("records", [evaluations(0, seed=1), evaluations(0, 2, seed=1)[:-7]], ids=["shorter", "torn"])
def test_runs_of_different_lengths_are_refused(records):
    whole = evaluations(0, 2)
    with pytest.raises(ConfigurationError, match="finish all of them with `tesp resume`"):
        comparison_rows([read(whole, "whole"), read(records, "stopped")])
