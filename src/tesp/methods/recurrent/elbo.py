"""What is believed of a task as a distribution, and how well it foretells rewards: the evidence lower bound."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from tesp.distributions import Gaussian, kl_divergence
from tesp.estimators.losses import masked_mean
from tesp.methods.recurrent.trials import Trial
from tesp.networks.gru import GRU
from tesp.networks.mlp import MLP
from tesp.networks.policy import Linear


class Encoder(eqx.Module):
    """q(z | τ_:t): a GRU over the steps of a trial, and a linear layer that gives mean and log standard deviation.

    A fresh one believes N(0, I) before it has read anything.
    """

    memory: GRU
    output: Linear

    @classmethod
    def create(cls, key: PRNGKeyArray, inputs: int, units: int, latent_size: int) -> "Encoder":
        """Draw one with ``units`` GRU units and a latent of ``latent_size`` entries."""
        memory_key, output_key = jax.random.split(key)
        return cls(GRU.create(memory_key, inputs, units), Linear.create(output_key, units, 2 * latent_size))

    def posterior(self, state: Float[Array, "*batch units"]) -> Gaussian:
        """Return q for states of the memory."""
        mean, log_std = jnp.split(self.output(state), 2, axis=-1)
        return Gaussian(mean, log_std)


class Decoder(eqx.Module):
    """r̂(s_i, a_i, s_{i+1}, z) and, if wanted, ŝ_{i+1}(s_i, a_i, z): what a step brings in a task with latent z."""

    reward: MLP
    state: MLP | None

    @classmethod
    def create(
        cls, key: PRNGKeyArray, observation: int, action: int, latent: int, units: tuple[int, ...], states: bool
    ) -> "Decoder":
        """Draw one; with ``states`` it foretells observations too."""
        reward_key, state_key = jax.random.split(key)
        reward = MLP.create(reward_key, latent + 2 * observation + action, 1, units)
        return cls(reward, MLP.create(state_key, latent + observation + action, observation, units) if states else None)


class Steps(NamedTuple):
    """Steps of one trial that can be decoded, scaled.

    Attributes:
        observation: s_i.
        action: a_i, clipped to [−1, 1].
        following: s_{i+1}.
        reward: r_i.
        known: Whether the step exists and is not the last one of its episode, what follows upon which is not stored.
    """

    observation: Float[Array, "*batch step observation"]
    action: Float[Array, "*batch step action"]
    following: Float[Array, "*batch step observation"]
    reward: Float[Array, "*batch step"]
    known: Bool[Array, "*batch step"]


class Picked(NamedTuple):
    """Of which prefixes of a trial, and at which of its steps, the reconstruction is computed.

    Attributes:
        prefix: Numbers t of the last steps that were read.
        step: Numbers i of the steps that are decoded.
        noise: Standard normal numbers, from which z is drawn for every prefix.
    """

    prefix: Int[Any, "*batch prefix"]
    step: Int[Any, "*batch decoded"]
    noise: Float[Any, "*batch prefix latent"]


class Terms(NamedTuple):
    """The bound of one trial, divided by the number of its prefixes.

    Attributes:
        reward: Σ_i ½ (r_i − r̂_i)², the mean over prefixes.
        state: Likewise of ½ ‖s_{i+1} − ŝ_{i+1}‖²; 0 without that decoder.
        kl: KL(q_t ‖ q_{t−1}), the mean over prefixes; q_{−1} is N(0, I).
    """

    reward: Float[Array, "*batch"]
    state: Float[Array, "*batch"]
    kl: Float[Array, "*batch"]


def steps_of(trial: Trial, observation: Float[Array, "step observation"], reward: Float[Array, " step"]) -> Steps:
    """Return what can be decoded of one trial, from its scaled observations and rewards."""
    follows = jnp.concatenate([trial.valid[1:] & ~trial.start[1:], jnp.zeros(1, bool)])
    following = jnp.concatenate([observation[1:], observation[:1]])
    return Steps(observation, jnp.clip(trial.action, -1.0, 1.0), following, reward, trial.valid & follows)


def bound(
    encoder: Encoder,
    decoder: Decoder,
    state: Float[Array, "step units"],
    valid: Bool[Array, " step"],
    steps: Steps,
    picked: Picked,
) -> Terms:
    """Return the terms of the negative evidence lower bound of one trial, over its prefixes.

    ELBO_t = E_{z ~ q_t}[ Σ_i log p(r_i | s_i, a_i, s_{i+1}, z) ] − β KL(q_t ‖ q_{t−1}),  p = N(r̂, 1), i over the trial

    What a prefix believes is to foretell the whole trial, what came and what is yet to come. The sums over picked steps
    are scaled up to all that are known.

    Args:
        encoder: What the posterior is made by.
        decoder: What foretells.
        state: Its memory after every step.
        valid: Which steps exist.
        steps: What is foretold.
        picked: Prefixes and steps; each of them exists, and may be there more than once.

    Source: Zintgraf et al. 2020, equations 6 to 8.
    """
    posterior = encoder.posterior(state)
    before = Gaussian(*(jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]]) for x in posterior))
    kl = masked_mean(kl_divergence(*posterior, *before), valid)
    chosen = Gaussian(*(x[picked.prefix] for x in posterior))
    z = chosen.sample(picked.noise)
    some = jax.tree.map(lambda x: x[picked.step], steps)
    many = jnp.sum(steps.known).astype(z.dtype)

    def foretold(network: MLP, *given) -> Float[Array, "prefix decoded outputs"]:
        """Apply a network to every z and every step; the first layer's products are computed once for each."""
        first, *others = network.hidden
        size = z.shape[-1]
        seen = jnp.concatenate(given, axis=-1) @ first.weight[size:] + first.bias
        x = jnp.tanh((z @ first.weight[:size])[:, None] + seen[None])
        for layer in others:
            x = jnp.tanh(layer(x))
        return network.output(x)

    def missed(found, target):
        squares = 0.5 * jnp.sum((found - target) ** 2, axis=-1)
        return many * masked_mean(squares, jnp.broadcast_to(some.known, squares.shape))

    reward = foretold(decoder.reward, some.observation, some.action, some.following)
    nothing = jnp.zeros((), z.dtype)
    return Terms(
        missed(reward, some.reward[:, None]),
        nothing
        if decoder.state is None
        else missed(foretold(decoder.state, some.observation, some.action), some.following),
        kl,
    )
