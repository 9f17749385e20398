import itertools

import numpy as np
import pytest

from helpers.stored import evaluations, read, reference
from tesp.errors import ConfigurationError, RunFolderError
from tesp.report.seeds import bootstrap_interval, curve, group_runs


def test_the_bootstrap_interval_is_that_of_all_possible_resamples():
    values = np.array([-40.0, -41.0, -43.0, -47.0, -60.0])
    means = [np.mean(drawn) for drawn in itertools.product(values, repeat=5)]
    found = np.array(bootstrap_interval(np.stack([values, 10 * values], axis=1)))
    np.testing.assert_allclose(found[:, 0], np.percentile(means, [2.5, 97.5]), atol=0.4)
    # whole seeds are drawn, so what is 10 times as much stays so
    np.testing.assert_allclose(found[:, 1], 10 * found[:, 0])


def test_the_bootstrap_interval_of_two_seeds_is_their_range_and_of_one_the_seed():
    values = np.array([[-10.0, 5.0, 2.0], [-20.0, 1.0, 2.0]])
    np.testing.assert_array_equal(bootstrap_interval(values), [[-20.0, 1.0, 2.0], [-10.0, 5.0, 2.0]])
    np.testing.assert_array_equal(bootstrap_interval(values[:1]), [values[0], values[0]])


def test_what_was_not_recorded_has_no_interval_and_takes_none_from_the_others():
    low, high = bootstrap_interval(np.array([[-10.0, np.nan], [-20.0, 3.0]]))
    np.testing.assert_array_equal([low, high], [[-20.0, np.nan], [-10.0, np.nan]])


def test_a_curve_is_the_mean_over_seeds_at_the_evaluations_all_of_them_have():
    runs = [read(evaluations(0, 25, 50)), read(evaluations(0, 25, seed=1, shift=4.0))]
    line = curve(runs, "train", "meta_updates", "range")
    np.testing.assert_array_equal(line.x, [0, 25])
    # −100 + meta_update + 10·1, and 4 more for the other seed
    np.testing.assert_array_equal(line.mean, [-88.0, -63.0])
    np.testing.assert_array_equal(line.low, [-90.0, -65.0])
    np.testing.assert_array_equal(line.high, [-86.0, -61.0])


def test_steps_and_seconds_are_means_over_seeds():
    runs = [read(evaluations(0, environment_steps=10)), read(evaluations(0, seed=1, environment_steps=30))]
    np.testing.assert_array_equal(curve(runs, "train", "environment_steps", "range").x, [20])


def test_runs_are_grouped_by_algorithm_in_the_order_given():
    runs = [
        read(evaluations(0, algorithm="tesp")),
        read(evaluations(0, algorithm="maml")),
        read(evaluations(0, algorithm="tesp", seed=1)),
    ]
    assert {name: len(found) for name, found in group_runs(runs).items()} == {"tesp": 2, "maml": 1}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"family": "ant", "seed": 1}, "several families: 'wheeled' .*, 'ant'"),
        ({"seed": 0}, "both have seed 0"),
        ({"seed": 1, "last": 3}, "different numbers of fast-updates"),
    ],
)
def test_runs_that_do_not_belong_together_are_refused(other, message):
    with pytest.raises(ConfigurationError, match=message):
        group_runs([read(evaluations(0)), read(evaluations(0, **other))])


def test_no_runs_and_runs_without_evaluation_are_refused():
    with pytest.raises(ConfigurationError, match="no run to draw"):
        group_runs([])
    with pytest.raises(RunFolderError, match="holds no evaluation"):
        group_runs([read([reference()])])
