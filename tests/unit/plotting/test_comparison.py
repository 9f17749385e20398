import csv
import io

import numpy as np
import pytest

from tesp.errors import ConfigurationError
from tesp.plotting.comparison import comparison_csv, comparison_markdown, comparison_rows
from tesp.plotting.curves import plot_learning_curves
from tesp.plotting.seeds import curve

from .stored import TASK_SETS, evaluation, evaluations, read, reference

TOLD = "oracle (knows the task)"


def run(seed=0, shift=0.0, algorithm="tesp", still=-150.0, **other):
    references = [reference(task_set, still) for task_set in TASK_SETS]
    return read([*references, *evaluations(0, 25, algorithm=algorithm, seed=seed, shift=shift, **other)])


def row_of(rows, method, fast_update, task_set="train"):
    (row,) = [r for r in rows if (r.task_set, r.method, r.fast_update) == (task_set, method, fast_update)]
    return row


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


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
    assert [row.seeds for row in rows[:6]] == [2, 1, 1, 2, 2, 1]


def test_standing_still_counts_once_for_every_seed():
    rows = comparison_rows([run(), run(1, still=-170.0), run(algorithm="maml"), run(algorithm="oracle")])
    still = row_of(rows, "standing still", None)
    assert still.seeds == 2
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


def test_the_interval_of_many_seeds_lies_within_their_range_around_the_mean():
    runs = [run(seed, shift) for seed, shift in enumerate((0.0, 1.0, 3.0, 7.0, 20.0))]
    mean, low, high = row_of(comparison_rows(runs), "tesp", 0).estimates["average_return"]
    assert mean == pytest.approx(-75 + 31 / 5)
    assert -75 < low < mean < high < -55


def test_the_interval_of_one_seed_is_the_seed():
    assert row_of(comparison_rows([run()]), "tesp", 0).estimates["average_return"] == (-75.0, -75.0, -75.0)


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


def test_fewer_than_three_seeds_are_all_the_best():
    assert row_of(comparison_rows([run(), run(1, 4.0)]), "tesp", 1).best_return == -63.0


def test_runs_that_cannot_be_compared_are_refused():
    with pytest.raises(ConfigurationError, match="several families"):
        comparison_rows([run(), run(family="ant")])


def test_the_markdown_table_is_written_as_by_hand():
    rows = [row for row in comparison_rows([run(), run(1, 4.0)]) if row.task_set == "in_distribution"]
    assert comparison_markdown(rows) == (
        "| task set | method | k | return (m·steps) | success | final distance (m) | episode length "
        "| best 3 of n | n | training steps |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
        "| New tasks D′ | standing still |  | −150.0 [−150.0, −150.0] | – [–, –] | – [–, –] | – [–, –] | – | 2 |  |\n"
        "| New tasks D′ | TESP | 0 | −73.0 [−75.0, −71.0] | 25 % [25 %, 25 %] | 0.500 [0.500, 0.500] "
        "| 180 [180, 180] | −73.0 | 2 | 25,000 |\n"
        "| New tasks D′ | TESP | 1 | **−63.0 [−65.0, −61.0]** | 25 % [25 %, 25 %] | 0.500 [0.500, 0.500] "
        "| 180 [180, 180] | −63.0 | 2 | 25,000 |\n"
    )


def test_one_seed_has_no_interval_and_only_the_last_k_is_bold():
    *_, first, last = comparison_markdown(comparison_rows([run(algorithm="unheard_of")])).splitlines()
    assert first.startswith("| Outside the distribution D″ | unheard_of | 0 | −75.0 | 25 % | 0.500 | 180 |")
    assert last.startswith("| Outside the distribution D″ | unheard_of | 1 | **−65.0** | 25 % | 0.500 | 180 |")


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


def test_among_others_the_oracle_is_a_dashed_line_at_its_last_evaluation(tmp_path):
    runs = [run(algorithm="oracle", shift=40.0), run(), run(1, algorithm="oracle", shift=44.0)]
    figure = plot_learning_curves(runs, tmp_path / "a.png")
    for axes in figure.axes:
        drawn = lines(axes)
        assert set(drawn) == {"TESP (1 seed)", "standing still", TOLD}
        assert drawn[TOLD].get_linestyle() == "--"
        assert list(drawn[TOLD].get_ydata()) == [-23.0, -23.0]


def test_alone_the_oracle_has_a_curve(tmp_path):
    figure = plot_learning_curves([run(algorithm="oracle", shift=40.0)], tmp_path / "a.png")
    for axes in figure.axes:
        drawn = lines(axes)
        assert set(drawn) == {"Oracle (1 seed)", "standing still"}
        np.testing.assert_array_equal(drawn["Oracle (1 seed)"].get_ydata(), [-50.0, -25.0])


def test_the_band_can_be_the_bootstrap_interval(tmp_path):
    runs = [run(seed, shift) for seed, shift in enumerate((0.0, 1.0, 3.0, 7.0, 20.0))]
    figure = plot_learning_curves(runs, tmp_path / "a.png", band="bootstrap")
    (band,) = figure.axes[0].collections
    edges = band.get_paths()[0].vertices[:, 1]
    expected = curve(runs, "train", "meta_updates", "bootstrap")
    assert (edges.min(), edges.max()) == (expected.low[0], expected.high[1])
    # narrower than the range
    assert -90 < expected.low[0] < expected.mean[0] < expected.high[0] < -70
    assert "band: 95 % bootstrap interval of the mean" in figure.get_supxlabel().replace("\n", " ")


@pytest.mark.parametrize("records", [evaluations(0, seed=1), evaluations(0, 2, seed=1)[:-7]], ids=["shorter", "torn"])
def test_runs_of_different_lengths_are_refused(records):
    whole = evaluations(0, 2)
    with pytest.raises(ConfigurationError, match="finish all of them with `tesp resume`"):
        comparison_rows([read(whole, "whole"), read(records, "stopped")])
