"""What a host does with a block of tasks: it samples their rounds, and answers a meta-update's questions for them."""

import dataclasses
from collections.abc import Callable
from functools import wraps
from time import perf_counter, process_time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tesp.adaptation.contributions import answers
from tesp.adaptation.task_axis import gather
from tesp.cluster.blocks import Block, Job, spread
from tesp.episodes.collect import Outcomes
from tesp.episodes.executor import LocalExecutor
from tesp.episodes.rollout import Learner
from tesp.errors import LocatedError
from tesp.methods.base import Method, SplitMethod
from tesp.numerics import with_usual_numerics
from tesp.sampling import SamplingSettings
from tesp.tasks.family import Family
from tesp.types import PyTree


class Sampled(NamedTuple):
    """What became of a block's episodes.

    Attributes:
        numbers: The numbers of the rounds.
        outcomes: Of each round; where the bodies went is left out.
        seconds: What they were spent on.
    """

    numbers: list[int]
    outcomes: list[Outcomes]
    seconds: dict[str, float]


class Answered(NamedTuple):
    """What a block's tasks answer.

    Attributes:
        own: What is each task's own, with leading axis ``task``.
        entries: How many entries what is summed has; it stays here until it is added to a sum.
    """

    own: PyTree
    entries: int


class Done(NamedTuple):
    """A result, and what it took.

    Attributes:
        result: `Sampled` or `Answered`.
        seconds: Since it was begun.
        cpu_seconds: Of all cores.
    """

    result: Any
    seconds: float
    cpu_seconds: float


def _timed(function: Callable) -> Callable[..., Done]:
    @wraps(function)
    def timed(*given):
        began, cpu_began = perf_counter(), process_time()
        result = function(*given)
        return Done(result, perf_counter() - began, process_time() - cpu_began)

    return timed


class BlockWork:
    """Works on blocks of the newest job. It may be asked about any of them, sampled here before or not.

    Args:
        family: The family of tasks.
        method: The method.
        sampling: How much is sampled.
        cores: How many cores there are.
    """

    def __init__(self, family: Family, method: Method, sampling: SamplingSettings, cores: int):
        self._method = method
        self._learner, self._horizon = Learner(method, sampling), family.horizon
        self._simulations = LocalExecutor(
            self._learner, family.horizon, lambda count: family.simulate(count, threads=cores)
        )
        self._job = -1
        # Of every block what its rounds left, then what questions are answered from, and the newest answers.
        self._trials: dict[Block, list[PyTree]] = {}
        self._material: dict[Block, PyTree] = {}
        self._answers: dict[Block, Float[Array, "task entry"]] = {}

    @_timed
    @with_usual_numerics
    def sample(self, job: Job, parameters: PyTree, block: Block) -> Sampled:
        """Adapt to a block of tasks.

        Args:
            job: What it is a block of.
            parameters: What acting and inferring depend on.
            block: Which tasks.

        Raises:
            LocatedError: Something went wrong; it names the task by its place in the job.
        """
        return self._sample(job, parameters, block)

    @_timed
    @with_usual_numerics
    def ask(
        self,
        job: Job,
        parameters: PyTree,
        block: Block,
        question: str,
        given: PyTree,
        done: int,
        total: int,
    ) -> Answered:
        """Answer a question for every task of a block; see `tesp.methods.base.SplitMethod.answer`.

        Args:
            job: As for `sample`.
            parameters: As for `sample`.
            block: As for `sample`.
            question: Which question.
            given: What goes with it.
            done: Meta-updates done before.
            total: Meta-updates of the run.
        """
        method = self._method
        assert isinstance(method, SplitMethod)
        self._turn_to(job)
        if block not in self._material:
            if block not in self._trials:
                self._sample(job, parameters, block)
            self._material[block] = method.material(self._trials.pop(block), done, total)
        answered = answers(method.answer, question, method.tasks_at_once, given, self._material[block])
        self._answers[block] = gather(answered.summed)[: block.count]
        own = jax.tree.map(lambda x: np.asarray(x)[: block.count], answered.own)
        return Answered(own, self._answers[block].shape[1])

    def add(self, block: Block, total: Float[np.ndarray, " entry"] | None) -> Float[np.ndarray, " entry"]:
        """Return a sum to which the last answers of a block are added, in the order of its tasks.

        Args:
            block: The block.
            total: The sum of all tasks before; None if there are none.
        """
        answers = self._answers[block]
        before = jnp.zeros(answers.shape[1:], answers.dtype) if total is None else jnp.asarray(total)
        return np.asarray(_added(before, answers))

    def _turn_to(self, job: Job) -> None:
        if job.number != self._job:
            self._trials, self._material, self._answers = {}, {}, {}
            self._job = job.number

    def _sample(self, job: Job, parameters: PyTree, block: Block) -> Sampled:
        self._turn_to(job)
        places = spread(block, len(jax.devices()))
        simulation = self._simulations.simulation(len(places), block.first, job.disturbance)
        key = jax.random.wrap_key_data(jnp.asarray(job.key))
        given = parameters, simulation, job.tasks[places], self._horizon, key, job.task_ids[places], job.kept
        try:
            adaptation = self._learner.adapt(*given)
        except LocatedError as error:
            place = None if error.task is None else int(places[error.task])
            raise error.at("", place) from error
        if job.kept:
            self._trials[block] = adaptation.trials
        rounds = adaptation.rounds
        outcomes = [_without_positions(done.outcomes, block.count) for done in rounds]
        return Sampled([done.fast_update for done in rounds], outcomes, adaptation.stopwatch.seconds)


@jax.jit
def _added(total: Float[Array, " entry"], answers: Float[Array, "task entry"]) -> Float[Array, " entry"]:
    """Add as `tesp.adaptation.task_axis.sum_in_order` does, by the same arithmetic: it takes tiny numbers for 0."""
    return jax.lax.fori_loop(0, answers.shape[0], lambda i, total: total + answers[i], total)


def _without_positions(outcomes: Outcomes, count: int) -> Outcomes:
    """Return the outcomes of the first tasks: positions are most of it, and nobody asks for them."""
    shorter = dataclasses.replace(outcomes, position=outcomes.position[:, :, :0])
    return jax.tree.map(lambda x: x[:count], shorter)
