"""What tasks contribute to a meta-update, wherever their experience lies."""

import abc
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tesp.adaptation.task_axis import gather, map_over_tasks, replicate, sum_in_order
from tesp.types import PyTree


class Answer(NamedTuple):
    """What one task, or all of them, say to a question.

    Attributes:
        summed: What is summed over tasks, in their order: one array, without entries if there is nothing to sum.
        own: What stays each task's own; of all tasks with leading axis ``task``.
    """

    summed: Float[Array, "*task entry"]
    own: PyTree


#: (question, what all tasks are given, what one task answers from) → its answer. Pure.
Answering = Callable[[str, PyTree, PyTree], Answer]


class Contributions(abc.ABC):
    """Asks all tasks of a meta-update.

    Attributes:
        count: T, how many there are.
    """

    count: int

    @abc.abstractmethod
    def ask(self, question: str, given: PyTree) -> Answer:
        """Return Σ_i of what is summed, from the first task to the last, and what is the tasks' own.

        Args:
            question: Which one; those that there are, the method says.
            given: What all tasks are given, a pytree of arrays.
        """


class OwnContributions(Contributions):
    """Asks tasks whose experience is here, spread over this process's devices."""

    def __init__(self, answering: Answering, material: PyTree, tasks_at_once: int):
        """Take what there is to answer from.

        Args:
            answering: Answers for one task; found by equality, for what is compiled.
            material: What tasks answer from, with leading axis ``task``, spread over devices.
            tasks_at_once: As for `map_over_tasks`.
        """
        self._answering, self._material, self._tasks_at_once = answering, material, tasks_at_once
        self.count = jax.tree.leaves(material)[0].shape[0]

    def ask(self, question, given):
        """Ask them."""
        answered = answers(self._answering, question, self._tasks_at_once, given, self._material)
        return Answer(gather(_summed(answered.summed)), gather(answered.own))


def answers(answering: Answering, question: str, tasks_at_once: int, given: PyTree, material: PyTree) -> Answer:
    """Return what every task answers, with leading axis ``task``; arguments as for `OwnContributions`."""
    leaves, structure = jax.tree.flatten(given)
    # Placing an array on all devices costs by the array, not by its size: numbers travel in one.
    single = [np.dtype(x.dtype) == np.float32 for x in leaves]
    layout = structure, tuple(x.shape if one else None for x, one in zip(leaves, single, strict=True))
    vector = _one_array([x for x, one in zip(leaves, single, strict=True) if one])
    rest = [x for x, one in zip(leaves, single, strict=True) if not one]
    count = jax.tree.leaves(material)[0].shape[0]
    return _answers(answering, question, tasks_at_once, layout, replicate((vector, rest), count), material)


@jax.jit
def _one_array(arrays: Sequence[Array]) -> Float[Array, " entry"]:
    return jnp.concatenate([jnp.ravel(x) for x in arrays]) if arrays else jnp.zeros(0, jnp.float32)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _answers(answering: Answering, question: str, tasks_at_once: int, layout: Any, placed: Any, material: PyTree):
    (structure, shapes), (vector, rest) = layout, placed
    ends = np.cumsum([math.prod(shape) for shape in shapes if shape is not None])
    parts, others = iter(jnp.split(vector, ends[:-1])), iter(rest)
    leaves = [next(others) if shape is None else next(parts).reshape(shape) for shape in shapes]
    given = jax.tree.unflatten(structure, leaves)
    return map_over_tasks(partial(answering, question), given, material, tasks_at_once)


_summed = jax.jit(sum_in_order)
