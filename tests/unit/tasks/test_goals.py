import time

import numpy as np
import pytest

from tesp.errors import ConfigurationError
from tesp.tasks.goals.annulus import Annulus
from tesp.tasks.goals.goals import Goals, distance_to_goal, reward
from tesp.tasks.goals.sampling import sample_goals, sample_task_sets

TRAINING, OUTSIDE = Annulus(0.2, 1.1), Annulus(1.1, 1.5)

# Drawn once with this code: changing them would change the tasks of every published run.
GOLDEN_TRAIN = (1.0738154260616932, 0.01790223097588739)
GOLDEN_OUTSIDE = (0.8802238916640257, -1.1904070743116195)


def test_uniform_by_area():
    goals = sample_goals(np.random.default_rng(0), 4000, TRAINING, 1.5, 0.0)
    radius = np.linalg.norm(goals, axis=1)
    angle = np.arctan2(goals[:, 1], goals[:, 0])
    share = (radius**2 - 0.04) / (1.21 - 0.04)
    for uniform in (share, (angle + np.pi) / (2 * np.pi)):
        ranks = np.sort(uniform)
        # Kolmogorov–Smirnov: 1.95/√n is exceeded once in a thousand draws.
        assert np.abs(ranks - np.linspace(0, 1, 4000)).max() < 1.95 / np.sqrt(4000)


def test_equals_drawing_one_candidate_at_a_time():
    many = sample_goals(np.random.default_rng(5), 60, TRAINING, 1.5, 0.1)
    generator = np.random.default_rng(5)
    kept: list[np.ndarray] = []
    while len(kept) < 60:
        candidate = generator.uniform(-1.5, 1.5, 2)
        far = all(np.linalg.norm(candidate - other) >= 0.1 for other in kept)
        if 0.2 < np.linalg.norm(candidate) < 1.1 and far:
            kept.append(candidate)
    np.testing.assert_array_equal(many, kept)


def test_known_goals():
    """The goals of a run can be drawn again years later, on another machine."""
    sets = sample_task_sets("wheeled", 0, 100, TRAINING, OUTSIDE, 0.1)
    again = sample_task_sets("wheeled", 0, 100, TRAINING, OUTSIDE, 0.1)
    other = sample_task_sets("ant", 0, 100, TRAINING, OUTSIDE, 0.1)
    np.testing.assert_array_equal(sets["train"].tasks, again["train"].tasks)
    assert not np.array_equal(sets["train"].tasks, other["train"].tasks)
    np.testing.assert_allclose(sets["train"].tasks[0], GOLDEN_TRAIN, rtol=1e-12)
    np.testing.assert_allclose(sets["out_of_distribution"].tasks[-1], GOLDEN_OUTSIDE, rtol=1e-12)


def test_the_four_link_spacing_can_be_met_for_many_seeds():
    for seed in range(25):
        sample_task_sets("reacher4", seed, 100, TRAINING, OUTSIDE, 0.11)


@pytest.mark.parametrize(("count", "spacing"), [(100, 0.2), (100, 0.13), (10_000, 0.1), (1, 5.0)])
def test_spacing_that_cannot_be_met(count, spacing):
    begin = time.perf_counter()
    with pytest.raises(ConfigurationError) as caught:
        sample_task_sets("point", 0, count, TRAINING, OUTSIDE, spacing)
    assert time.perf_counter() - begin < 20
    for words in (f"{2 * count} goals", f"{spacing:g} m apart", "0.2 < ρ < 1.1", "lower spacing"):
        assert words in str(caught.value)


@pytest.mark.parametrize("seed", [-1, True])
def test_bad_seed(seed):
    with pytest.raises(ConfigurationError, match="seed is"):
        sample_task_sets("point", seed, 3, TRAINING, OUTSIDE, 0.1)


def test_reward_by_hand():
    distance = distance_to_goal(np.array([[1.0, 2.0]]), np.array([[4.0, 6.0]]))
    assert distance == [5.0]
    assert reward(distance, np.array([[1.0, -0.5]])) == pytest.approx(-5.0 - 0.001 * 1.25)


def test_leading_axes_are_kept():
    generator = np.random.default_rng(0)
    position, goal = generator.normal(size=(2, 3, 4, 2))
    action = generator.normal(size=(3, 4, 5))
    rewards = reward(distance_to_goal(position, goal), action)
    assert rewards.shape == (3, 4)
    one = reward(distance_to_goal(position[2, 1:2], goal[2, 1:2]), action[2, 1:2])
    assert rewards[2, 1] == one[0]


def test_an_approach_by_hand():
    goals = Goals(arrival=0.5, outer_radius=2.0)
    found = goals.approach(np.array([[1.0, 2.0], [0.1, 0.0]]), np.array([[4.0, 6.0], [0.0, 0.0]]), np.full((2, 2), 0.5))
    np.testing.assert_allclose(found.distance, [5.0, 0.1])
    np.testing.assert_allclose(found.reward, -found.distance - 0.001 * 0.5)
    np.testing.assert_array_equal(found.success, [False, True])
    assert goals.options == {"inner_radius": 0.2, "boundary_radius": 1.1, "outer_radius": 2.0, "spacing": 0.1}
    assert Goals(arrival=0.5, **goals.options) == goals
