"""A recurrent policy: what it remembers after a round, the next begins with. REINFORCE goes back through its memory."""

from collections import namedtuple
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from tesp import acting, distributions, register_method
from tesp.methods import base, settings

ADAM = optax.adam(0.01)
State = namedtuple("State", "agent moments")


@register_method("toy-recurrent")
@dataclass(frozen=True)
class RecurrentConfig(settings.MethodConfig):
    units: int = 8
    """Entries of the memory."""
    last_round = 2

    def build(self, interface, sampling):
        return Recurrent((interface.observation_size, interface.action_size, self.units))


class RecurrentAgent(acting.Agent):
    shared: tuple[jax.Array, jax.Array, jax.Array]
    own: jax.Array
    by_task, remembers = False, True

    def start(self, key):
        return self.own

    def act(self, memory, seen, noise):
        recur, mean, log_std = self.shared
        memory = jnp.tanh(jnp.hstack([seen.observation, seen.action, seen.reward, seen.start, memory]) @ recur)
        behaviour = distributions.Gaussian(memory @ mean, log_std)
        return acting.Acted(behaviour.sample(noise), behaviour, memory)


class Recurrent(base.Method):
    sizes: tuple[int, int, int] = eqx.field(static=True)
    action_size = property(lambda self: self.sizes[1])
    plan = base.Plan(0, RecurrentConfig.last_round)
    prior = staticmethod(lambda agent, _: agent.own)
    agent = staticmethod(RecurrentAgent.of)

    def init(self, key):
        seen, action, units = self.sizes
        recur = 0.3 * jax.random.normal(key, (seen + action + 2 + units, units))
        agent = RecurrentAgent((recur, jnp.zeros((units, action)), jnp.zeros(action)), jnp.zeros(units))
        return State(agent, ADAM.init(agent))

    def parameters(self, state, evaluated=False):
        return state.agent

    def infer(self, parameters, belief, experience):
        return jnp.mean(experience.memory, axis=0, where=experience.episodes.valid[:, :1])

    def meta_update(self, state, trials, done, total):
        loss, gradient = surrogate(state.agent, trials)
        step, moments = ADAM.update(gradient, state.moments)
        return State(optax.apply_updates(state.agent, step), moments), {"surrogate": float(loss)}


@jax.jit
@jax.value_and_grad
def surrogate(agent, trials):
    def of_task(memory, x):  # Of what `act` returns, the last two in turn: memory, behaviour.
        before = [jnp.roll(y, 1, axis=1).at[:, 0].set(0.0) for y in (x.action, x.reward)]
        told = acting.Seen(x.observation, *before, jnp.cumsum(x.valid, axis=1) == 1)
        along = jax.vmap(lambda t: jax.lax.scan(lambda m, s: agent.act(m, s, s.action)[:0:-1], memory, t)[1])(told)
        returns = jnp.sum(x.reward, axis=1, where=x.valid)
        likely = jnp.sum(along.log_probability(x.action), axis=1, where=x.valid)
        return -jnp.mean((returns - jnp.mean(returns, where=x.valid[:, 0])) * likely)

    return sum(jnp.mean(jax.vmap(of_task)(memory, done.episodes)) for memory, done in trials)
