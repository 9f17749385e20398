"""The tests check annotated shapes themselves: a wrong one is found at the first call of a function."""

from dataclasses import dataclass

import beartype
import jaxtyping
import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError

from helpers.shapes import ALWAYS, DEFINITIONS, THEN_EVERY, forget_calls
from tesp.tasks.goals.goals import distance_to_goal
from tesp.tasks.simulation import Transition

RIGHT, WRONG = np.zeros((3, 2)), np.zeros((3, 2, 1))


def refused(call=lambda: distance_to_goal(WRONG, RIGHT)):
    try:
        call()
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


def test_instances_are_checked_as_calls_are():
    forget_calls()
    wrong = dict.fromkeys(Transition.__dataclass_fields__, WRONG)
    assert all(refused(lambda: Transition(**wrong)) for _ in range(ALWAYS))
    assert sum(refused(lambda: Transition(**wrong)) for _ in range(2 * THEN_EVERY)) == 2


def test_so_are_those_of_a_class_whose_fields_are_another_ones():
    @jaxtyping.jaxtyped(typechecker=beartype.beartype)
    @dataclass
    class Line:
        points: Float[np.ndarray, "point 2"]

    class Named(Line):
        pass

    forget_calls()
    assert refused(lambda: Named(WRONG))
    assert not refused(lambda: Named(RIGHT))


def test_functions_inside_others_are_checked_where_they_are_first_defined():
    def defined():
        @jaxtyping.jaxtyped(typechecker=beartype.beartype)
        def length(x: Float[np.ndarray, "point 2"]):
            return len(x)

        return lambda: length(WRONG)

    forget_calls()
    assert [refused(defined()) for _ in range(DEFINITIONS + 2)] == [True] * DEFINITIONS + [False] * 2
