"""The agent of methods whose policy is conditioned on an embedding."""

from functools import partial

import equinox as eqx
import jax
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


def policy_agents(
    own_policies: bool, policy: ConditionalPolicy, embedding: Float[Array, "task embedding"]
) -> PolicyAgent:
    """Return the agents of many tasks, with what depends on the embedding alone computed.

    Args:
        own_policies: Whether ``policy`` has a leading axis ``task``; otherwise all tasks share one.
        policy: The policy.
        embedding: What each task's policy is conditioned on.
    """
    conditioned = _condition(own_policies, policy, embedding)
    if own_policies:
        return PolicyAgent(None, (policy, conditioned), by_task=True)
    return PolicyAgent(policy, conditioned, by_task=False)


@partial(jax.jit, static_argnums=(0,))
def _condition(own_policies: bool, policy: ConditionalPolicy, embedding: Float[Array, "task embedding"]) -> PyTree:
    return jax.vmap(lambda own, h: own.condition(h), in_axes=(0 if own_policies else None, 0))(policy, embedding)
