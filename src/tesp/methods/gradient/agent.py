"""The agent of methods whose policy is conditioned on an embedding."""

import equinox as eqx
from jaxtyping import Array, Float

from tesp.acting import Acted, Agent
from tesp.networks.policy import ConditionalPolicy
from tesp.types import PyTree


class PolicyAgent(Agent):
    """Acts by a policy under one embedding, without memory.

    Attributes:
        shared: The policy, where all tasks share one; otherwise None.
        own: What the embedding contributes; where every task has a policy of its own, that policy and this.
        by_task: Whether every task has a policy of its own.
    """

    shared: ConditionalPolicy | None
    own: PyTree
    by_task: bool = eqx.field(static=True)

    def act(self, memory, seen, noise):
        """Draw an action from the policy's distribution."""
        policy, conditioned = self.own if self.by_task else (self.shared, self.own)
        assert policy is not None
        distribution = policy.respond(seen.observation, conditioned)
        return Acted(distribution.sample(noise), distribution, memory)


def policy_agent(own_policy: bool, policy: ConditionalPolicy, embedding: Float[Array, " embedding"]) -> PolicyAgent:
    """Return the agent of one task, with what depends on the embedding alone computed.

    Args:
        own_policy: Whether the policy is the task's own; otherwise all tasks share it.
        policy: The policy.
        embedding: What it is conditioned on.
    """
    conditioned = policy.condition(embedding)
    if own_policy:
        return PolicyAgent(None, (policy, conditioned), by_task=True)
    return PolicyAgent(policy, conditioned, by_task=False)
