"""Statistics of scores, against cases made by hand and against what is known of data that is drawn."""

import numpy as np
import pytest
import scipy

from tesp.report import statistics
from tesp.report.statistics import (
    improvement,
    interquartile_mean,
    interquartile_mean_interval,
    mean_interval,
    performance_profile,
    resampled,
)


class TestInterquartileMean:
    def test_of_one_to_eight_is_the_mean_of_three_to_six(self):
        assert interquartile_mean(np.array([8, 1, 6, 3, 5, 4, 7, 2])) == 4.5

    def test_of_a_matrix_is_that_of_all_its_entries(self):
        matrix = np.array([[1.0, 100.0, 3.0, 4.0], [-50.0, 2.0, 5.0, 6.0]])
        assert interquartile_mean(matrix) == np.mean([2.0, 3.0, 4.0, 5.0])
        np.testing.assert_array_equal(interquartile_mean(matrix, axis=1), [3.5, 3.5])

    @pytest.mark.parametrize(("count", "left"), [(1, 1), (3, 3), (4, 2), (5, 3), (7, 5), (10, 6)])
    def test_whole_scores_are_left_out(self, count, left):
        """As many below as above, and a quarter of them rounded down."""
        scores = np.arange(count) ** 2.0
        first = (count - left) // 2
        assert interquartile_mean(scores) == pytest.approx(scores[first : first + left].mean())


class TestImprovement:
    def test_ties_count_half(self):
        x, y = np.array([[1.0, 2.0], [3.0, 0.0]]), np.array([[0.0, 2.0], [4.0, 0.0]])
        np.testing.assert_array_equal(improvement(x, y), [[1.0, 0.5], [0.0, 0.5]])
        assert improvement(x, y).mean() + improvement(y, x).mean() == 1.0

    def test_with_one_run_of_each_on_one_task_it_is_the_statistic_of_mann_and_whitney(self):
        x, y = np.array([[3.0]]), np.array([[2.0]])
        assert improvement(x, y).mean() == scipy.stats.mannwhitneyu(x[0], y[0]).statistic


def test_the_profile_counts_what_is_above_each_threshold():
    scores = np.array([[0.0, 1.0], [2.0, 2.0]])
    above = performance_profile(scores, np.array([-1.0, 0.0, 1.0, 1.5, 2.0]))
    np.testing.assert_array_equal(above.mean(axis=(0, 1)), [1.0, 0.75, 0.5, 0.5, 0.0])
    # The area under a profile from below all scores is their mean distance from there.
    fine = np.linspace(-1.0, 3.0, 4001)
    area = scipy.integrate.trapezoid(performance_profile(scores, fine).mean(axis=(0, 1)), fine)
    assert area == pytest.approx(scores.mean() + 1.0, abs=1e-3)


class TestResamples:
    def test_draw_runs_and_then_tasks_of_each(self):
        drawn = resampled(3, 5)
        assert drawn.shape == (statistics.RESAMPLES, 15)
        runs = drawn.reshape(-1, 3, 5) // 5
        assert (runs == runs[..., :1]).all(), "all tasks of a drawn run are its own"
        assert len(np.unique(runs[..., 0], axis=0)) == 3**3, "with replacement"
        counts = np.bincount(drawn.ravel(), minlength=15) / drawn.size
        np.testing.assert_allclose(counts, 1 / 15, rtol=0.05)

    def test_of_one_run_are_resamples_of_its_tasks(self):
        scores = np.arange(20.0)[None]
        plain = scipy.stats.bootstrap(
            (scores[0],), interquartile_mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(1)
        ).confidence_interval
        np.testing.assert_allclose(interquartile_mean_interval(scores), plain, atol=0.4)

    def test_intervals_of_means_are_those_of_the_resamples(self):
        values = np.random.default_rng(0).normal(size=(2, 4, 3))
        means = values.reshape(8, 3)[resampled(2, 4)].mean(axis=1)
        expected = np.percentile(means, (2.5, 97.5), axis=0)
        np.testing.assert_allclose(mean_interval(values), expected, atol=1e-12)

    def test_of_equal_scores_have_no_width(self):
        assert interquartile_mean_interval(np.full((3, 4), 2.0)) == (2.0, 2.0)


def covered(interval, runs=10, tasks=12, trials=150):
    """How often an interval contains 0, the centre of scores in which a training and a task have an equal part."""
    generator = np.random.default_rng(2)
    inside = 0
    for _ in range(trials):
        scores = generator.normal(size=(runs, 1)) + generator.normal(size=(runs, tasks))
        low, high = interval(scores)
        inside += low <= 0.0 <= high
    return inside / trials


class TestCoverage:
    """A seed in which a training went well is good on all of its tasks."""

    @pytest.fixture(autouse=True)
    def few_resamples(self, monkeypatch):
        monkeypatch.setattr(statistics, "RESAMPLES", 400)

    @pytest.mark.parametrize("interval", [interquartile_mean_interval, mean_interval])
    def test_is_near_what_is_said(self, interval):
        assert 0.88 <= covered(interval) <= 0.99

    def test_is_far_below_where_columns_are_drawn_by_themselves(self):
        """As rliable does, whose columns are games that were trained apart."""
        generator = np.random.default_rng(3)

        def by_column(scores):
            runs, tasks = scores.shape
            rows = generator.integers(runs, size=(400, runs, tasks))
            means = interquartile_mean(scores[rows, np.arange(tasks)].reshape(400, -1), axis=1)
            return np.percentile(means, (2.5, 97.5))

        assert covered(by_column) < 0.7
