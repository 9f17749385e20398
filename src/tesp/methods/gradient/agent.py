"""The agents of methods whose policy is conditioned on an embedding."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
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
        return _acted(self, seen.observation, noise, memory)


class NoisyPolicyAgent(Agent):
    """Acts likewise, by a policy that sees noise beside the observation, which is drawn once for every episode.

    Attributes:
        shared: As for `PolicyAgent`.
        own: As for `PolicyAgent`.
        by_task: As for `PolicyAgent`.
        noise_size: Entries of the noise, which is what the agent remembers.
    """

    remembers: ClassVar[bool] = True

    shared: ConditionalPolicy | None
    own: PyTree
    by_task: bool = eqx.field(static=True)
    noise_size: int = eqx.field(static=True)

    def start(self, key):
        """Draw standard normal noise."""
        return jax.random.normal(key, (self.noise_size,), jnp.float32)

    def act(self, memory, seen, noise):
        """Draw an action from the policy's distribution under the episode's noise."""
        return _acted(self, jnp.concatenate([seen.observation, memory], axis=-1), noise, memory)


def _acted(agent: PolicyAgent | NoisyPolicyAgent, observation, noise, memory) -> Acted:
    policy, conditioned = agent.own if agent.by_task else (agent.shared, agent.own)
    assert policy is not None
    distribution = policy.respond(observation, conditioned)
    return Acted(distribution.sample(noise), distribution, memory)


def beside(
    observation: Float[Array, "episode step observation"], noise: Float[Array, "episode noise"]
) -> Float[Array, "episode step both"]:
    """Return observations with the noise of their episodes behind them: what a `NoisyPolicyAgent` responds to."""
    every_step = jnp.broadcast_to(noise[:, None], (*observation.shape[:2], noise.shape[-1]))
    return jnp.concatenate([observation, every_step], axis=-1)


def policy_agent(
    own_policy: bool, policy: ConditionalPolicy, embedding: Float[Array, " embedding"], noise_size: int = 0
) -> PolicyAgent | NoisyPolicyAgent:
    """Return the agent of one task, with what depends on the embedding alone computed.

    Args:
        own_policy: Whether the policy is the task's own; otherwise all tasks share it.
        policy: The policy.
        embedding: What it is conditioned on.
        noise_size: Entries of the noise that the policy sees beside the observation, if any.
    """
    conditioned = policy.condition(embedding)
    shared, own = (None, (policy, conditioned)) if own_policy else (policy, conditioned)
    if noise_size:
        return NoisyPolicyAgent(shared, own, own_policy, noise_size)
    return PolicyAgent(shared, own, own_policy)
