"""What tasks contribute to a meta-update, wherever their experience lies."""

import abc
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
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
        answered = self._ask(question, given)
        return answered._replace(summed=gather(_summed(answered.summed)))

    def _ask(self, question, given):
        given = replicate(given, self.count)
        answered = answers(self._answering, question, self._tasks_at_once, given, self._material)
        return answered._replace(own=gather(answered.own))


@partial(jax.jit, static_argnums=(0, 1, 2))
def answers(answering: Answering, question: str, tasks_at_once: int, given: PyTree, material: PyTree) -> Answer:
    """Return what every task answers, with leading axis ``task``."""
    return map_over_tasks(partial(answering, question), given, material, tasks_at_once)


_summed = jax.jit(sum_in_order)
