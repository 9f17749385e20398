"""A task that a user names: whether it is possible at all, and whether it is like those that were learned."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from tesp.errors import ConfigurationError
from tesp.report.words import SIGNS
from tesp.task_sets import TaskSet, told
from tesp.tasks.checks import finite_numbers
from tesp.tasks.family import Family
from tesp.tasks.goals.goals import Goals

#: Metres. The square of a distance has to be a number in single precision too.
_FURTHEST = 1e15


class TaskWarning(UserWarning):
    """A task lies far from all those that its family draws."""


def checked_task(family: Family, task: Sequence[float] | np.ndarray) -> Float[np.ndarray, " parameter"]:
    """Return a task as a row of numbers.

    Raises:
        ConfigurationError: It has another number of parameters than the family's, is not finite in single precision,
            or is a goal that the body can never reach.
    """
    row, most = np.asarray(task, np.float64), float(np.finfo(np.float32).max)
    if family.goals is not None:
        most = _FURTHEST
    if row.shape != (family.task_size,) or not (np.abs(row) <= most).all():
        size = f", up to {most:.1e} in size" if np.isfinite(row).all() else ""
        raise ConfigurationError(
            f"The task {row.tolist()} is not possible; a task of {family.name!r} has "
            f"{finite_numbers(family.task_size)}{size}."
        )
    if family.goals is not None and not family.goals.within_reach(row):
        raise ConfigurationError(
            f"The goal {told(row)} is not possible: it lies {np.hypot(*row):g} m from the origin, and "
            f"{family.name!r} reaches {family.goals.reach:g} m. {_areas(family.goals)}; give one within reach."
        )
    return row


def warn_if_far(
    family: Family, task: Float[np.ndarray, " parameter"], task_sets: Mapping[str, TaskSet], stacklevel: int = 3
) -> None:
    """Warn if a task lies far from those of D, D′ and D″.

    A goal in the plane does so beyond the outer boundary of D″. Any other task does if one of its parameters is further
    outside of the range of those in the sets than this range is wide.

    Args:
        family: The family.
        task: The task.
        task_sets: D, D′ and D″.
        stacklevel: Whose line the warning names, counted as `warnings.warn` does.
    """
    if family.goals is not None:
        distance = float(np.hypot(*task))
        far = distance > family.goals.outer_radius
        said = f"The goal {told(task)} lies {distance:g} m from the origin, further than any other. "
        said += _areas(family.goals)
    else:
        drawn = np.concatenate([tasks.tasks for tasks in task_sets.values()])
        low, high = drawn.min(axis=0), drawn.max(axis=0)
        outside = np.flatnonzero((task < 2 * low - high) | (task > 2 * high - low)).tolist()
        far = len(outside) > 0
        said = f"The task {told(task)} lies far outside of those that the run has. " + "; ".join(
            f"Parameter {place + 1} is {task[place]:g}, and those of {_ranges(task_sets, place)}" for place in outside
        )
    if far:
        warnings.warn(f"{said}. What was learned may be of no use for it.", TaskWarning, stacklevel=stacklevel)


def _areas(goals: Goals) -> str:
    inner, boundary, outer = goals.inner_radius, goals.boundary_radius, goals.outer_radius
    return f"Goals of D and D′ lie {inner:g} to {boundary:g} m from it, those of D″ {boundary:g} to {outer:g} m"


def _ranges(task_sets: Mapping[str, TaskSet], place: int) -> str:
    found = []
    for name, sign in SIGNS.items():
        column = task_sets[name].tasks[:, place]
        found.append(f"{sign} lie between {column.min():g} and {column.max():g}")
    return ", of ".join(found)
