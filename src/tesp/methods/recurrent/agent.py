"""The agent of methods with a recurrent memory."""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp

from tesp.acting import Acted, Agent
from tesp.methods.recurrent.trials import Carried, Scaling, inputs


class Parameters(NamedTuple):
    """What a meta-learner with a recurrent memory has learned.

    Attributes:
        network: Its networks: ``memory``, a GRU; ``context``, what the policy sees of the memory's states; ``heads``,
            policy and value function.
        scaling: How what they see is scaled.
    """

    network: Any
    scaling: Scaling


class RecurrentAgent(Agent):
    """Acts by what it remembers. An episode begins with what the one before has left.

    Attributes:
        shared: What was learned.
        own: What is remembered of the task's episodes so far.
    """

    remembers: ClassVar[bool] = True

    shared: Parameters
    own: Carried
    by_task: bool = eqx.field(static=True, default=False)

    def start(self, key):
        """Return what is remembered of the episodes before."""
        return self.own

    def resumed(self, memory, action, reward):
        """Return what is remembered after an episode that ended with an action and a reward."""
        return Carried(memory.state, action, reward)

    def act(self, memory, seen, noise):
        """Take note of what is seen, and draw an action."""
        network, scaling = self.shared
        assert seen.action is not None
        assert seen.reward is not None
        assert seen.start is not None
        action = jnp.where(seen.start, memory.action, seen.action)
        reward = jnp.where(seen.start, memory.reward, seen.reward)
        state = network.memory.step(memory.state, inputs(scaling, seen.observation, action, reward, seen.start))
        observation = scaling.observation.scaled(seen.observation)
        distribution = network.heads.policy(observation, network.context(state))
        return Acted(distribution.sample(noise), distribution, memory._replace(state=state))
