"""A latent z ~ N(μ, σ²) is drawn for every episode; μ and σ move to the z of the episodes with high returns."""

from collections import namedtuple
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from tesp import acting, distributions, register_method
from tesp.methods import base, settings

ADAM = optax.adam(0.02)
State, Belief = namedtuple("State", "weights moments"), namedtuple("Belief", "mean spread")


@register_method("toy-latent")
@dataclass(frozen=True)
class LatentConfig(settings.MethodConfig):
    latents: int = 2
    """Entries of z."""
    last_round = 2

    def build(self, interface, sampling):
        return Latent((interface.observation_size, interface.action_size, self.latents))


class LatentAgent(acting.Agent):
    shared: tuple[jax.Array, jax.Array]
    own: Belief
    by_task, remembers = False, True

    def start(self, key):
        return self.own.mean + self.own.spread * jax.random.normal(key, self.own.mean.shape, self.own.mean.dtype)

    def act(self, memory, seen, noise):
        mean = seen.observation @ self.shared[0] + memory @ self.shared[1]
        behaviour = distributions.Gaussian(mean, jnp.full_like(mean, -0.5))
        return acting.Acted(behaviour.sample(noise), behaviour, memory)


class Latent(base.Method):
    sizes: tuple[int, int, int] = eqx.field(static=True)
    action_size = property(lambda self: self.sizes[1])
    plan = base.Plan(0, LatentConfig.last_round)
    prior = staticmethod(lambda weights, _: Belief(jnp.zeros(len(weights[1])), jnp.ones(len(weights[1]))))
    agent = staticmethod(LatentAgent)

    def init(self, key):
        weights = jnp.zeros(self.sizes[:2]), 0.3 * jax.random.normal(key, (self.sizes[2], self.sizes[1]))
        return State(weights, ADAM.init(weights))

    def parameters(self, state, evaluated=False):
        return state.weights

    def estimate(self, episodes):
        returns, exists = jnp.sum(episodes.reward, axis=1, where=episodes.valid), episodes.valid[:, 0]
        centred = jnp.where(exists, returns - jnp.mean(returns, where=exists), 0.0)
        return centred / (jnp.std(centred, where=exists) + 1e-6)

    def infer(self, parameters, belief, experience):
        weights = jax.nn.softmax(2.0 * experience.estimates, where=experience.episodes.valid[:, 0])
        mean = weights @ experience.memory
        return Belief(mean, jnp.sqrt(weights @ (experience.memory - mean) ** 2) + 0.1)

    def meta_update(self, state, trials, done, total):
        loss, gradient = surrogate(state.weights, trials)
        step, moments = ADAM.update(gradient, state.moments)
        return State(optax.apply_updates(state.weights, step), moments), {"latent_loss": float(loss)}


@jax.jit
@jax.value_and_grad
def surrogate(weights, trials):
    total = 0.0
    for _, (x, z, advantage) in trials:
        behaviour = LatentAgent(weights, None).act(z[..., None, :], acting.Seen(x.observation), x.action).behaviour
        total -= jnp.mean(advantage[..., None] * behaviour.log_probability(x.action), where=x.valid)
    return total
