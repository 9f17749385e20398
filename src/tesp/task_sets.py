"""Task sets: D, D′ and D″ of the paper."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

#: The names of the three task sets: D, D′ and D″ of the paper.
TASK_SETS = ("train", "in_distribution", "out_of_distribution")


def told(task: Float[np.ndarray, " parameter"]) -> str:
    """Return a task's parameters as messages tell them."""
    return f"({', '.join(f'{x:g}' for x in np.atleast_1d(task))})"


@dataclass(frozen=True)
class TaskSet:
    """Named tasks of one family.

    Attributes:
        name: ``train``, ``in_distribution`` or ``out_of_distribution``.
        tasks: One row of task parameters per task; for the five families the goal (x, y) in metres.
    """

    name: str
    tasks: Float[np.ndarray, "task parameter"]
