"""Tasks that a user names: those that cannot be are refused, and those far from all others are questioned."""

import warnings

import numpy as np
import pytest

from helpers.pictures import FAMILY, Walker
from tesp.agents.given_task import TaskWarning, checked_task, warn_if_far
from tesp.errors import ConfigurationError
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks.goals.goals import Goals
from tesp.tasks.reacher import reacher2, reacher4

ARMS = {"reacher2": reacher2(engine="closed-form"), "reacher4": reacher4(engine="closed-form")}

#: Of tasks of three parameters, the second of which is always the same.
SETS = {name: TaskSet(name, np.array([[-1.0, 5.0, 0.0], [1.0, 5.0, 1.0 + n]])) for n, name in enumerate(TASK_SETS)}


def questioned(family, task, sets=SETS):
    """What is said of a task that is possible."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_if_far(family, np.array(task, float), sets)
    assert all(warning.category is TaskWarning for warning in caught)
    return " ".join(str(warning.message) for warning in caught)


@pytest.mark.parametrize("task", [(0.5,), (1.0, 2.0, 3.0), (np.nan, 0.0), (np.inf, 0.0), (1e39, 0.0), (0.0, -1e308)])
@pytest.mark.parametrize("family", [FAMILY, Walker(), *ARMS.values()])
def test_what_is_no_task_is_refused(family, task):
    with pytest.raises(
        ConfigurationError, match=rf"a task of '{family.name}' has 2 finite numbers(, up to .*e.\d\d in size)?\.$"
    ):
        checked_task(family, task)


def test_distances_to_a_goal_are_numbers_in_single_precision():
    checked_task(Walker(), (1e30, 0.0))
    with pytest.raises(ConfigurationError, match=r"has 2 finite numbers, up to 1\.0e\+15 in size\.$"):
        checked_task(FAMILY, (1e30, 0.0))
    checked_task(FAMILY, (1e15, 0.0))


@pytest.mark.parametrize("name", ARMS)
def test_an_arm_never_reaches_further_than_it_is_long(name):
    family = ARMS[name]
    reach, arrival = {"reacher2": (1.70, 0.06), "reacher4": (2.0, 0.11)}[name]
    assert family.goals.reach == pytest.approx(reach)
    for angle in np.linspace(0.0, 6.0, 7):
        towards = np.array([np.cos(angle), np.sin(angle)])
        checked_task(family, (reach + arrival - 1e-6) * towards)
        for far in (reach + arrival + 1e-6, 1e6):
            with pytest.raises(ConfigurationError, match=rf"'{name}' reaches {reach:g} m\. Goals of D and D′ lie"):
                checked_task(family, far * towards)


def test_what_the_family_itself_draws_is_never_refused():
    wide = reacher2(engine="closed-form", outer_radius=9.0)
    assert wide.goals.within_reach(np.array([8.9, 0.0]))
    assert Goals(arrival=0.1).within_reach(np.array([1e6, 0.0]))
    assert "reach" not in wide.options
    assert wide.with_options(horizon=3).goals.reach == wide.goals.reach


@pytest.mark.parametrize("value", [-1.0, float("inf"), float("nan")])
def test_a_reach_is_a_length(value):
    with pytest.raises(ConfigurationError, match="reach is"):
        Goals(arrival=0.1, reach=value)


def test_goals_beyond_all_others_are_questioned():
    assert questioned(FAMILY, (0.9, 1.1)) == ""
    assert questioned(FAMILY, (0.0, 0.0)) == ""
    said = (
        "The goal (1e+06, 0) lies 1e+06 m from the origin, further than any other. Goals of D and D′ lie 0.2 to 1.1 m "
    )
    said += "from it, those of D″ 1.1 to 1.5 m. What was learned may be of no use for it."
    assert questioned(FAMILY, (1e6, 0.0)) == said
    assert "lies 1.6 m" in questioned(FAMILY, (0.0, -1.6))


def test_other_tasks_are_questioned_by_their_parameters():
    family = Walker(task_size=3)
    assert questioned(family, (-3.0, 5.0, 6.0)) == ""
    assert "Parameter 2 is 5.5, and those of D lie between 5 and 5," in questioned(family, (0.0, 5.5, 0.0))
    said = questioned(family, (-3.1, 5.0, 6.1))
    assert said.startswith(
        "The task (-3.1, 5, 6.1) lies far outside of those that the run has. Parameter 1 is -3.1, and "
    )
    assert "Parameter 3 is 6.1, and those of D lie between 0 and 1, of D′ lie between 0 and 2, of D″" in said
