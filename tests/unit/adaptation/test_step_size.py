"""Schedules of the step size and the moving average of the parameters, by hand."""

import jax
import numpy as np
import pytest

from tesp.adaptation.settings import MetaUpdateSettings
from tesp.adaptation.step_size import admissible_share, averaged, following, step_size

FIRST, TOTAL = 0.02, 10


def settings(schedule="adaptive", **options):
    given = {"learning_rate_range": (0.001, 0.1), "learning_rate_ceiling": "constant", **options}
    return MetaUpdateSettings(learning_rate=FIRST, learning_rate_schedule=schedule, kl_bound=0.01, **given)


def divergences(below, steps=10):
    """Of candidate 0, which does not count, and of the candidates after each step."""
    return np.array([99.0, *[0.005] * below, *[0.02] * (steps - below)], np.float32)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", {0: 1, 5: 1, 9: 1}),
        ("linear", {0: 1, 5: 0.5, 9: 0.1}),
        ("last_third", {0: 1, 5: 1, 6: 1, 7: 0.9, 8: 0.6, 9: 0.3}),
    ],
)
def test_schedules(schedule, expected):
    for done, factor in expected.items():
        assert step_size(settings(schedule), 0.7, done, TOTAL) == pytest.approx(factor * FIRST), "found has no say"
    assert following(settings(schedule), 0.7, 0.02, divergences(0)) == 0.7


@pytest.mark.parametrize(("below", "factor"), [(0, 0.85), (5, 0.85), (6, 1.0), (9, 1.0), (10, 1.1)])
def test_the_adaptive_rule(below, factor):
    assert following(settings(), 0.02, 0.02, divergences(below)) == pytest.approx(0.02 * factor)


def test_it_goes_on_from_what_was_found():
    assert step_size(settings(), 0.037, 0, TOTAL) == 0.037


def test_a_divergence_at_the_bound_is_not_below_it():
    assert following(settings(), 0.02, 0.02, np.full(11, 0.01)) == pytest.approx(0.02 * 0.85)


def test_candidates_that_were_not_computed_count_as_too_far():
    """Where the epochs stop at the bound, the rest of the table is NaN."""
    stopped = np.array([0.0, 0.005, 0.005, 0.02, *[np.nan] * 7])
    assert admissible_share(settings(), stopped) == 0.2
    assert following(settings(), 0.02, 0.02, stopped) == pytest.approx(0.02 * 0.85)
    all_but_one = np.array([0.0, *[0.005] * 9, np.nan])
    assert following(settings(), 0.02, 0.02, all_but_one) == 0.02


def test_it_stays_inside_its_range():
    assert following(settings(), 0.0011, 0.0011, divergences(0)) == 0.001
    assert following(settings(), 0.095, 0.095, divergences(10)) == 0.1


def test_a_linear_ceiling_falls_to_the_least_step_size():
    falling = settings(learning_rate_ceiling="linear")
    for done, ceiling in ((0, 0.1), (5, 0.0505), (9, 0.0109), (10, 0.001)):
        assert step_size(falling, 0.09, done, TOTAL) == pytest.approx(min(0.09, ceiling))
    assert step_size(falling, 0.002, 5, TOTAL) == 0.002, "below the ceiling it has no say"


def test_under_a_ceiling_it_is_lowered_but_not_raised():
    """What was found stays, for a run that is given more meta-updates."""
    falling = settings(learning_rate_ceiling="linear")
    assert following(falling, 0.09, 0.0505, divergences(10)) == 0.09
    assert following(falling, 0.09, 0.0505, divergences(7)) == 0.09
    assert following(falling, 0.09, 0.0505, divergences(5)) == pytest.approx(0.0505 * 0.85)


def test_in_the_last_third_what_was_found_falls_to_the_least_step_size():
    settling = settings(learning_rate_ceiling="last_third")
    for done, share in ((0, 1.0), (6, 1.0), (7, 0.9), (8, 0.6), (9, 0.3), (10, 0.0), (11, 0.0)):
        assert step_size(settling, 0.02, done, TOTAL) == pytest.approx(0.001 + 0.019 * share)


def test_before_the_last_third_it_is_exactly_what_was_found():
    settling = settings(learning_rate_ceiling="last_third")
    assert all(
        step_size(settling, found, 3, TOTAL) == found for found in np.random.default_rng(0).uniform(0.001, 0.1, 99)
    )


def test_in_the_last_third_what_was_found_is_lowered_but_not_raised():
    """0.014 is what it is held down to; the fall itself must not be counted twice."""
    settling = settings(learning_rate_ceiling="last_third")
    assert following(settling, 0.02, 0.014, divergences(10)) == 0.02
    assert following(settling, 0.02, 0.014, divergences(5)) == pytest.approx(0.02 * 0.85)
    assert following(settling, 0.02, 0.02, divergences(10)) == pytest.approx(0.02 * 1.1)


class TestTheAverage:
    parameters = [{"w": np.float32([i, i**2])} for i in range(8)]  # noqa: RUF012

    def after(self, decay, count):
        average = self.parameters[0]
        for n in range(1, count):
            average = averaged(average, self.parameters[n], decay, n)
        return average["w"]

    def test_is_the_plain_mean_at_first(self):
        for count in range(1, 9):
            expected = np.mean([p["w"] for p in self.parameters[:count]], axis=0)
            np.testing.assert_allclose(self.after(0.99, count), expected, rtol=1e-5)

    def test_is_exponential_then(self):
        """With β = 3/4 from the fourth on, whose weight in the plain mean is a quarter."""
        expected = np.mean([p["w"] for p in self.parameters[:4]], axis=0)
        for p in self.parameters[4:]:
            expected = 0.75 * expected + 0.25 * p["w"]
        np.testing.assert_allclose(self.after(0.75, 8), expected, rtol=1e-5)
        assert abs(expected[0] - 3.5) > 0.1, "the plain mean is another"

    def test_keeps_kind_and_type(self):
        tree = {"a": jax.numpy.ones(3), "b": (jax.numpy.zeros((2, 2)),)}
        result = averaged(tree, tree, 0.9, 5)
        assert jax.tree.structure(result) == jax.tree.structure(tree)
        assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {np.dtype(np.float32)}
