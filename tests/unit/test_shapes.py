"""The tests check annotated shapes themselves: a wrong one is found at the first call of a function."""

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from helpers.shapes import ALWAYS, THEN_EVERY, forget_calls
from tesp.tasks.goals.goals import distance_to_goal

RIGHT, WRONG = np.zeros((3, 2)), np.zeros((3, 2, 1))


def refused():
    try:
        distance_to_goal(WRONG, RIGHT)
    except TypeCheckError:
        return True
    except ValueError:
        return False
    return False


def test_the_first_calls_are_all_checked_and_later_ones_now_and_then():
    forget_calls()
    assert all(refused() for _ in range(ALWAYS))
    later = [refused() for _ in range(2 * THEN_EVERY)]
    assert sum(later) == 2
    forget_calls()
    with pytest.raises(TypeCheckError):
        distance_to_goal(WRONG, RIGHT)
