import numpy as np
import pytest
from scipy import stats

from tesp.errors import ConfigurationError, RunFolderError
from tesp.plotting.seeds import curve, group_runs, half_width, student_quantile

from .stored import evaluations, read, reference


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 10, 11, 20, 100])
def test_the_quantile_is_students(freedom):
    assert student_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-3)


def test_the_half_width_is_that_of_the_95_percent_interval():
    values = np.array([[-10.0, 1.0], [-20.0, 5.0], [-33.0, 4.0]])
    low, high = stats.t.interval(0.95, 2, values.mean(axis=0), stats.sem(values))
    np.testing.assert_allclose(2 * half_width(values), high - low, rtol=1e-4)
    np.testing.assert_array_equal(half_width(values[:1]), [0.0, 0.0])


def test_a_curve_is_the_mean_over_seeds_at_the_evaluations_all_of_them_have():
    runs = [read(evaluations(0, 25, 50)), read(evaluations(0, 25, seed=1, shift=4.0))]
    line = curve(runs, "train", "meta_updates", "range")
    np.testing.assert_array_equal(line.x, [0, 25])
    # −100 + meta_update + 10·1, and 4 more for the other seed
    np.testing.assert_array_equal(line.mean, [-88.0, -63.0])
    np.testing.assert_array_equal(line.low, [-90.0, -65.0])
    np.testing.assert_array_equal(line.high, [-86.0, -61.0])
    interval = curve(runs, "train", "meta_updates", "interval")
    np.testing.assert_allclose(interval.high - interval.mean, 12.7062 * 2.0)


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
