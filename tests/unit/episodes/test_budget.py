"""Which episodes count is decided by their numbers and lengths alone, and whatever begins counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesp.episodes.budget import Budget, judged, places_of


def by_brute_force(lengths, limit):
    """The first n episodes that have ``limit`` steps together, or all."""
    steps = 0
    for n, length in enumerate(lengths):
        if steps >= limit:
            return n
        steps += int(length)
    return len(lengths)


@given(
    seed=st.integers(0, 2**16),
    tasks=st.integers(1, 3),
    at_once=st.integers(1, 6),
    multiple=st.integers(1, 5),
    horizon=st.integers(1, 8),
    most=st.sampled_from([None, 1, 3]),
)
def test_those_that_begin_are_those_that_count_whatever_ends_first(seed, tasks, at_once, multiple, horizon, most):
    generator, capacity = np.random.default_rng(seed), multiple * at_once
    lengths = generator.integers(1, generator.integers(1, horizon + 1) + 1, tasks * capacity)
    budget = Budget(tasks, at_once, capacity, horizon)
    running, begun = list(budget.take(most)), []
    begun += running
    while running:
        # As many as like end at once, in any order.
        generator.shuffle(running)
        over = np.array(running[: generator.integers(1, len(running) + 1)])
        running = running[len(over) :]
        budget.over(over, lengths[over])
        following = budget.take(most)
        begun += list(following)
        running += list(following)
        assert max(np.bincount(np.array(running, int) // capacity, minlength=tasks)) <= at_once
    expected = [
        task * capacity + number
        for task in range(tasks)
        for number in range(by_brute_force(lengths[task * capacity :][:capacity], at_once * horizon))
    ]
    assert sorted(begun) == expected
    assert len(expected) >= tasks * at_once


def test_an_episode_begins_as_soon_as_it_is_certain_to_count():
    budget = Budget(1, 2, 8, 10)
    assert budget.take().tolist() == [0, 1]
    budget.over(np.array([1]), np.array([10]))
    assert budget.take().tolist() == []
    # 0 may take 10 steps and 1 has taken 10: only now that 0 took 4 is one more certain.
    budget.over(np.array([0]), np.array([4]))
    assert budget.take().tolist() == [2]
    budget.over(np.array([2]), np.array([5]))
    assert budget.take().tolist() == [3]
    budget.over(np.array([3]), np.array([1]))
    assert budget.take().tolist() == []


def test_without_more_room_there_are_n_episodes():
    budget = Budget(2, 3, 3, 10)
    assert budget.take(4).tolist() == [0, 1, 2, 3]
    budget.over(np.arange(4), np.ones(4, int))
    assert budget.take().tolist() == [4, 5]
    budget.over(np.array([4, 5]), np.ones(2, int))
    assert budget.take().tolist() == []


def test_the_first_n_are_judged():
    np.testing.assert_array_equal(judged(2, 1, 3), [[True, False, False]] * 2)


@pytest.mark.parametrize(
    ("rows", "free", "expected"), [([8, 9, 16], [0, 3, 4, 5, 8], [3, 4, 8]), ([2, 20], [1, 2, 6], [1, 6])]
)
def test_places_are_those_of_the_task(rows, free, expected):
    assert places_of(np.array(rows), 8, np.array(free), 3).tolist() == expected
