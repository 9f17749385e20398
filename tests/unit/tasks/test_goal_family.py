import numpy as np
import pytest

from tesp.errors import ConfigurationError
from tesp.tasks.goal_family import checked_count, checked_length, distance_to_goal, reward


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


@pytest.mark.parametrize("value", [0, -3, 2.5, True, "many", None])
def test_counts(value):
    with pytest.raises(ConfigurationError, match=r"horizon is .*; it must be an integer of at least 1"):
        checked_count("horizon", value)
    assert checked_count("horizon", np.int64(3)) == 3


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), False, "wide", None])
def test_lengths(value):
    with pytest.raises(ConfigurationError, match=r"spacing is .*; it must be a finite length"):
        checked_length("spacing", value)
    assert checked_length("spacing", 0) == 0.0
