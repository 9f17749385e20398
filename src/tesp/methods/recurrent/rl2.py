"""RL²: a policy with memory, trained by reinforcement learning over whole trials, which is all that adapts."""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from tesp.adaptation.task_axis import replicate
from tesp.methods.recurrent.agent import Parameters
from tesp.methods.recurrent.method import RecurrentMethod, metrics_of, require_finite, step_size
from tesp.methods.recurrent.ppo import Heads, Updated, begun, estimated, update
from tesp.methods.recurrent.settings import PPOSettings, RecurrentNetworkSettings
from tesp.methods.recurrent.trials import Scaling, fresh_scaling, inputs_of, joined, measured
from tesp.networks.gru import GRU


class RL2Network(eqx.Module):
    """m_t = GRU(m_{t−1}; s_t, a_{t−1}, r_{t−1}, d_{t−1}) and the heads π(a | s_t, m_t), V(s_t, m_t)."""

    memory: GRU
    heads: Heads

    def context(self, state: Float[Array, "*batch units"]) -> Float[Array, "*batch units"]:
        """Return what the heads see of a memory: all of it."""
        return state


class State(NamedTuple):
    """What RL² trains.

    Attributes:
        parameters: Networks, and how what they see is scaled.
        optimiser_state: Adam's moments.
    """

    parameters: Parameters
    optimiser_state: optax.OptState


class RL2(RecurrentMethod):
    """PPO over whole trials, with gradients through the memory from a trial's last step to its first.

    Source: Duan et al. 2016, *RL²: Fast Reinforcement Learning via Slow Reinforcement Learning*; Wang et al. 2016.
    Theirs is TRPO, here PPO as in the comparisons of Zintgraf et al. 2020.
    """

    network: RecurrentNetworkSettings = eqx.field(static=True)
    ppo: PPOSettings = eqx.field(static=True)

    def init(self, key):
        """Draw the networks."""
        memory_key, head_key = jax.random.split(key)
        observation, action, units = self.interface.observation_size, self.action_size, self.network.memory_units
        memory = GRU.create(memory_key, observation + action + 2, units)
        network = RL2Network(memory, Heads.create(head_key, observation, units, action, self.network))
        return State(Parameters(network, fresh_scaling(observation)), begun(self.ppo, network))

    def meta_update(self, state, trials, done, total):
        """Join the episodes to whole trials and go through them with PPO."""
        used = step_size(self.ppo, done, total)
        count = len(trials[0].valid)
        given = replicate((state.parameters, state.optimiser_state), count)
        updated, scaling, finite = jax.block_until_ready(_learn(self, *given, trials, jnp.asarray(used, jnp.float32)))
        require_finite(updated, np.asarray(finite))
        return State(Parameters(updated.network, scaling), updated.optimiser_state), metrics_of(updated, used)

    def representation(self, parameters, belief):
        """Return the state of the memory."""
        return belief.state


def _contexts(network: RL2Network, given, valid) -> Float[Array, "trial step units"]:
    start = jnp.zeros((len(given), network.memory.recurrent_weight.shape[0]), given.dtype)
    return network.memory.states(start, given, valid)


@partial(jax.jit, static_argnums=0)
def _learn(method: RL2, parameters: Parameters, optimiser_state, trials, step_size) -> tuple[Updated, Scaling, Any]:
    network, scaling = parameters
    trial = jax.vmap(joined)(trials)
    seen = jax.vmap(partial(inputs_of, scaling))(trial)
    observation = scaling.observation.scaled(trial.observation)
    experience, returns = estimated(_contexts, network, trial, observation, seen, scaling.returns, method.ppo)
    updated = update(_contexts, network, optimiser_state, experience, step_size, method.ppo)
    return updated, measured(scaling, trial, returns), jnp.all(jnp.isfinite(experience.advantages), axis=1)
