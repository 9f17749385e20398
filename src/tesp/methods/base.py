"""What a method is: how experience changes what is believed about a task, and how it learns from many tasks."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tesp.acting import Agent
from tesp.adaptation.contributions import Answer, Contributions, OwnContributions
from tesp.errors import ConfigurationError
from tesp.types import Episodes, PyTree

#: What a meta-update measured: columns of its record, JSON-able.
Metrics = dict[str, Any]


class Plan(NamedTuple):
    """Which rounds an adaptation has: one before each inference, and one after the last.

    Attributes:
        first: Number of the first round: 0, or −1 if a round in which nothing is known yet only fills the belief.
        last: Number of the last round: K, how often the method infers after round 0.
        twice: Whether the first round has twice as many episodes as the others.
        episodes: How many episodes every round has, where the method leaves no choice.
    """

    first: int
    last: int
    twice: bool = False
    episodes: int | None = None


class Round(NamedTuple):
    """Complete episodes of one task, sampled under one belief.

    Attributes:
        episodes: The episodes, (episode, step, …).
        memory: What the agent remembered at the end of each, (episode, …).
        estimates: What `Method.estimate` made of them.
    """

    episodes: Episodes
    memory: PyTree
    estimates: PyTree


class Method(eqx.Module):
    """How one family of methods adapts and learns. It owns its state and its metrics; training never asks which it is.

    All but `init`, `parameters`, `begun_from`, `meta_update` and `describe` is written for **one** task and is pure;
    the task axis is added outside, where tasks are sharded over devices and computed one at a time on a CPU. All fields
    are static: a method is part of what compiled programs are found by.
    """

    @property
    @abc.abstractmethod
    def action_size(self) -> int:
        """Entries of an action."""

    @property
    @abc.abstractmethod
    def plan(self) -> Plan:
        """The rounds of an adaptation."""

    @property
    def tasks_at_once(self) -> int:
        """How many tasks a device computes in one vectorised call (0: one on a CPU, all on an accelerator)."""
        return 0

    @property
    def sees_task(self) -> bool:
        """Whether `prior` looks at the task, which only an oracle may."""
        return False

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray) -> PyTree:
        """Draw the state of a fresh meta-learner: parameters, optimisers, targets, replay, whatever there is.

        A NamedTuple of pytrees of arrays and numbers; all of it is stored in checkpoints, field by field.
        """

    @abc.abstractmethod
    def parameters(self, state: PyTree, evaluated: bool = False) -> PyTree:
        """Return what acting and inferring depend on.

        Args:
            state: The method's state.
            evaluated: Whether they are to be evaluated, adapted or saved, rather than trained on.
        """

    def begun_from(self, state: PyTree, parameters: PyTree) -> PyTree:
        """Return a fresh state that begins with parameters that were learned before.

        By default they take the place of the state's fields ``parameters`` and ``average``, and all else, like the
        moments of an optimiser, is fresh.

        Args:
            state: What `init` returned.
            parameters: What `parameters` returned of a state of the same shapes.

        Raises:
            ConfigurationError: The method's state has no field ``parameters``; such a method says itself how.
        """
        if getattr(state, "parameters", None) is None:
            raise ConfigurationError(
                f"{type(self).__name__} cannot begin from learned parameters: its state has no field `parameters`, and "
                "it has no begun_from of its own."
            )
        names = [name for name in ("parameters", "average") if getattr(state, name, None) is not None]
        return state._replace(**dict.fromkeys(names, parameters))

    @abc.abstractmethod
    def prior(self, parameters: PyTree, task: Float[Array, " parameter"]) -> PyTree:
        """Return the belief about a task before anything is known of it; a pytree of arrays.

        Args:
            parameters: See `parameters`.
            task: The task itself; only an oracle may look at it.
        """

    @abc.abstractmethod
    def agent(self, parameters: PyTree, belief: PyTree) -> Agent:
        """Return what acts under a belief. Its ``shared`` must not depend on the belief."""

    def estimate(self, episodes: Episodes) -> PyTree:
        """Return what is computed of a round's episodes once, in double precision where it is asked for.

        By default nothing; for policy gradients the advantages.
        """
        return ()

    @abc.abstractmethod
    def infer(self, parameters: PyTree, belief: PyTree, experience: Round) -> PyTree:
        """Return the belief after a round of experience that was sampled under ``belief``."""

    def measured(self, belief: PyTree) -> Mapping[str, Float[Array, ""]]:
        """Return numbers by name that must be finite after an inference; others stop what runs, with the name."""
        return {}

    def keep(self, belief: PyTree, experience: Round) -> PyTree:
        """Return what a meta-update needs of a round and the belief that it was sampled under."""
        return belief, experience

    @abc.abstractmethod
    def meta_update(self, state: PyTree, trials: Sequence[PyTree], done: int, total: int) -> tuple[PyTree, Metrics]:
        """Learn from what many tasks experienced.

        Args:
            state: The method's state.
            trials: What `keep` returned for each round, first to last, with leading axis ``task``, over devices.
            done: Meta-updates done before this one.
            total: Meta-updates of the run.

        Returns:
            The state after, and what was measured.

        Raises:
            NonFiniteError: A loss or gradient became NaN or infinite; it names the task by its place in the trials.
        """

    def representation(self, parameters: PyTree, belief: PyTree) -> Float[Array, " d"]:
        """Return what a belief says about its task as a vector, for figures; by default without entries."""
        return jnp.zeros(0)

    def describe(self, parameters: PyTree, fresh: PyTree) -> Iterable[dict[str, Any]]:
        """Yield records that say what was learned, each with a ``kind``, for figures.

        Args:
            parameters: What was learned.
            fresh: The same of a meta-learner that has learned nothing.
        """
        return ()


class SplitMethod(Method):
    """A method whose meta-update asks tasks for sums, so that it can be done where the tasks are on several hosts.

    What a task experienced stays where it was sampled. The meta-update sends parameters there and gets back what the
    tasks contribute; so all that it does with them is written for one task, in `answer`.
    """

    @property
    def splits(self) -> bool:
        """Whether this very method can; its options may say otherwise."""
        return True

    @abc.abstractmethod
    def material(self, trials: Sequence[PyTree], done: int, total: int) -> PyTree:
        """Return what a meta-update's questions are answered from, with leading axis ``task``.

        Args:
            trials: As for `meta_update`.
            done: As for `meta_update`.
            total: As for `meta_update`.
        """

    @abc.abstractmethod
    def answer(self, question: str, given: PyTree, material: PyTree) -> Answer:
        """Return what one task answers to a question of `learn`. Pure.

        Args:
            question: Which one.
            given: What `learn` gives all tasks.
            material: What `material` returned, of this task.
        """

    @abc.abstractmethod
    def learn(self, state: PyTree, contributions: Contributions, done: int, total: int) -> tuple[PyTree, Metrics]:
        """Learn from what tasks contribute; arguments and results besides as for `meta_update`."""

    def meta_update(self, state, trials, done, total):
        """Learn from tasks whose experience is here."""
        own = OwnContributions(self.answer, self.material(trials, done, total), self.tasks_at_once)
        return self.learn(state, own, done, total)
