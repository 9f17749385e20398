"""Imitates the newest best episodes of all rounds, which it keeps. Belief is where a round's best episode has ended."""

from collections import namedtuple
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp

from tesp import acting, register_method
from tesp.methods import base, settings

State = namedtuple("State", "weights replay")


@register_method("toy-replay")
@dataclass(frozen=True)
class ReplayConfig(settings.MethodConfig):
    replay_size: int = 64
    """Episodes that are kept."""
    last_round = 1

    def build(self, interface, sampling):
        return Replay((interface.observation_size, interface.action_size, interface.horizon, self.replay_size))


class Bang(namedtuple("Bang", "drive")):  # Every entry of an action is 1 with probability Φ(drive), and else −1.
    def mode(self):
        return jnp.sign(self.drive)

    def log_probability(self, action):
        return jnp.sum(jax.scipy.stats.norm.logcdf(action * self.drive), axis=-1)


class ReplayAgent(acting.Agent):
    shared: jax.Array
    own: jax.Array
    by_task = False

    def act(self, memory, seen, noise):
        drive = seen.observation @ self.shared[0] + self.own @ self.shared[1]
        return acting.Acted(jnp.sign(drive - noise), Bang(drive), memory)


class Replay(base.Method):
    sizes: tuple[int, int, int, int] = eqx.field(static=True)
    action_size = property(lambda self: self.sizes[1])
    plan = base.Plan(0, ReplayConfig.last_round)
    agent = staticmethod(ReplayAgent)
    prior = staticmethod(lambda weights, _: jnp.zeros(weights.shape[1]))
    # Which episode of a round is the best.
    estimate = staticmethod(lambda x: jnp.argmax(jnp.sum(x.reward, axis=1, where=x.valid) + jnp.log(x.valid[:, 0])))

    def init(self, key):
        seen, action, horizon, room = self.sizes
        shapes = (seen,), (horizon, seen), (horizon, action), (horizon,)
        return State(jnp.zeros((2, seen, action)), [jnp.zeros((room, *shape)) for shape in shapes])

    def parameters(self, state, evaluated=False):
        return state.weights

    def infer(self, parameters, belief, experience):
        x, _, best = experience
        return x.observation[best, jnp.sum(x.valid[best]) - 1]

    def keep(self, belief, experience):
        x, _, best = experience
        return [belief, x.observation[best], x.action[best], x.valid[best]]

    def meta_update(self, state, trials, done, total):
        replay = jax.tree.map(lambda *x: jnp.concatenate(x)[-self.sizes[-1] :], state.replay, *trials)
        loss, gradient = imitation(state.weights, *replay)
        return State(state.weights - 0.5 * gradient, replay), {"imitation_loss": float(loss)}


@jax.jit
@jax.value_and_grad
def imitation(weights, belief, observation, action, valid):
    behaviour = ReplayAgent(weights, belief[:, None]).act((), acting.Seen(observation), action).behaviour
    return -jnp.sum(valid * behaviour.log_probability(action)) / jnp.sum(valid)
