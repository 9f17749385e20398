"""What acts: an agent under one belief about one task."""

import abc
import dataclasses
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
from jaxtyping import Bool, Float, PRNGKeyArray

from tesp.types import PyTree


class Seen(NamedTuple):
    """What an agent is told at a step.

    Attributes:
        observation: s_t.
        action: a_{t−1} as sampled, zero at the first step of an episode; None for agents without memory.
        reward: r_{t−1}, likewise.
        start: Whether this is the first step of an episode; likewise.
    """

    observation: Float[Any, "*batch observation"]
    action: Float[Any, "*batch action"] | None = None
    reward: Float[Any, "*batch"] | None = None
    start: Bool[Any, "*batch"] | None = None


class Acted(NamedTuple):
    """What an agent does at a step.

    Attributes:
        action: a_t, before clipping to [−1, 1].
        behaviour: The distribution that it was drawn from, a pytree of arrays such as `tesp.distributions.Gaussian`.
        memory: What the agent is to be given at the next step.
    """

    action: Float[Any, "*batch action"]
    behaviour: PyTree
    memory: PyTree


class Agent(eqx.Module):
    """Acts in the episodes of one task, under what is believed about it. Pure: what it remembers is an argument.

    Many agents act at once, one for every task. So that what they have in common exists once, an agent has two parts.

    Attributes:
        shared: What the agents of all tasks have in common: arrays that do not depend on the belief.
        own: What belongs to this task alone. In agents of many tasks it has a leading axis ``task``.
        by_task: Whether ``own`` is large, as a policy of its own is. The rows of a task are then computed together;
            otherwise every row gets its task's ``own``.
        remembers: Whether the agent has memory. Only then is it told the action and the reward before.
    """

    remembers: ClassVar[bool] = False

    shared: eqx.AbstractVar[PyTree]
    own: eqx.AbstractVar[PyTree]
    by_task: eqx.AbstractVar[bool]

    def start(self, key: PRNGKeyArray) -> PyTree:
        """Return the memory that an episode begins with, a pytree of arrays; ``key`` is the episode's own."""
        return ()

    def resumed(self, memory: PyTree, action: Float[Any, " action"], reward: Float[Any, ""]) -> PyTree:
        """Return the memory that the next episode begins with, where memory goes on from one to the next.

        Args:
            memory: What the last step of an episode returned.
            action: The action of that step, as sampled.
            reward: What it brought.
        """
        return memory

    @abc.abstractmethod
    def act(self, memory: PyTree, seen: Seen, noise: Float[Any, " action"]) -> Acted:
        """Act at one step.

        Args:
            memory: What `start` or the step before returned.
            seen: What there is to see.
            noise: Standard normal numbers, one for each entry of an action: all the randomness that there is.
        """

    def of(self, own: PyTree) -> "Agent":
        """Return the agent of another task."""
        return dataclasses.replace(self, own=own)


def act_as(agent: Agent, own: PyTree, memory: PyTree, seen: Seen, noise: Float[Any, " action"]) -> Acted:
    """Act at one step as the agent of a task: what is vectorised over rows and tasks, ``agent`` the same for all."""
    return agent.of(own).act(memory, seen, noise)
