"""Random parameters as tasks: masses, inertias, damping and friction of a body, each with a factor of its own."""

# The engine's binary modules have no type stubs.
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Bool, Float

#: By model field the base b of its factors b^u, in the order in which the exponents u stand in a task.
BASES = {"body_mass": 1.5, "body_inertia": 1.5, "dof_damping": 1.3, "geom_friction": 1.5}

#: Bounds of the exponents: |u| in D and D′ is below, and in D″ between these two.
TRAINED_LIMIT, OUTER_LIMIT = 3.0, 4.0


def changed_entries(model: mujoco.MjModel, field: str) -> Bool[np.ndarray, "..."]:
    """Tell which entries of a field tasks change: those that are not zero."""
    return getattr(model, field) != 0


def parameter_count(model: mujoco.MjModel) -> int:
    """Return the number of parameters of a task."""
    return sum(int(changed_entries(model, field).sum()) for field in BASES)


@dataclass(frozen=True)
class Scaled:
    """What a task makes of a model field: every entry that is not zero is multiplied by b^u.

    Attributes:
        field: The field's name, one of `BASES`.
    """

    field: str

    def __call__(self, tasks: Float[np.ndarray, "task parameter"], model: mujoco.MjModel) -> np.ndarray:
        """Return the field's values for all tasks."""
        exponents, first = {}, 0
        for field in BASES:
            changed = changed_entries(model, field)
            rows = exponents[field] = np.zeros((len(tasks), *changed.shape))
            last = first + int(changed.sum())
            rows[:, changed] = tasks[:, first:last]
            first = last
        return getattr(model, self.field) * BASES[self.field] ** exponents[self.field]


#: The dynamics of a family of random parameters.
DYNAMICS = {field: Scaled(field) for field in BASES}


@dataclass(frozen=True)
class Exponents:
    """Draws tasks: every exponent uniformly from [−3, 3] for D and D′, from ±[3, 4] for D″.

    Attributes:
        count: Number of exponents of a task.
    """

    count: int

    def __call__(
        self, generator: np.random.Generator, count: int, task_set: str
    ) -> Float[np.ndarray, "task parameter"]:
        """Draw tasks of a set."""
        shape = (count, self.count)
        if task_set == "out_of_distribution":
            return generator.choice((-1.0, 1.0), shape) * generator.uniform(TRAINED_LIMIT, OUTER_LIMIT, shape)
        return generator.uniform(-TRAINED_LIMIT, TRAINED_LIMIT, shape)
