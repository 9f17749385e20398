"""VariBAD: a policy that sees a distribution over tasks, which a recurrent encoder infers and a decoder teaches it."""

from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, UInt32

from tesp.adaptation.task_axis import map_over_tasks, mean_gradient_over_tasks, replicate
from tesp.errors import NonFiniteError
from tesp.methods.recurrent import elbo
from tesp.methods.recurrent.agent import Parameters
from tesp.methods.recurrent.method import RecurrentMethod, metrics_of, require_finite, step_size
from tesp.methods.recurrent.ppo import Heads, Updated, begun, divided, estimated, undivided, update
from tesp.methods.recurrent.replay import Replay, added, drawn, empty_replay, picked
from tesp.methods.recurrent.settings import BeliefSettings, PPOSettings, RecurrentNetworkSettings
from tesp.methods.recurrent.trials import Scaling, Trial, fresh_scaling, inputs_of, joined, measured
from tesp.networks.gru import GRU


class VariBADNetwork(eqx.Module):
    """q(z | τ_:t) = N(μ_t, σ_t²), the heads π(a | s_t, μ_t, σ_t) and V(s_t, μ_t, σ_t), and the decoder."""

    encoder: elbo.Encoder
    decoder: elbo.Decoder
    heads: Heads

    @property
    def memory(self) -> GRU:
        """What reads the steps."""
        return self.encoder.memory

    def context(self, state: Float[Array, "*batch units"]) -> Float[Array, "*batch context"]:
        """Return what the heads see of a memory: mean and standard deviation of the belief."""
        posterior = self.encoder.posterior(state)
        return jnp.concatenate([posterior.mean, jnp.exp(posterior.log_std)], axis=-1)


class State(NamedTuple):
    """What VariBAD trains.

    Attributes:
        parameters: Networks, and how what they see is scaled.
        optimiser_state: Adam's moments of the heads.
        belief_optimiser_state: Adam's moments of encoder and decoder.
        replay: Trials that these learn from.
        seed: What the draws of their training are seeded with, beside the number of the meta-update.
    """

    parameters: Parameters
    optimiser_state: optax.OptState
    belief_optimiser_state: optax.OptState
    replay: Replay
    seed: UInt32[Array, " word"]


class VariBAD(RecurrentMethod):
    """Two things are learned apart: what to believe, and how to act on it.

    Encoder and decoder maximise the evidence lower bound on trials of the replay, whoever acted in them. Policy and
    value function are trained by PPO over whole trials, with the beliefs as they were when the trials were sampled: no
    gradient goes from the policy into the encoder.

    Source: Zintgraf et al. 2020, *VariBAD: A Very Good Method for Bayes-Adaptive Deep RL via Meta-Learning*.
    """

    network: RecurrentNetworkSettings = eqx.field(static=True)
    belief: BeliefSettings = eqx.field(static=True)
    ppo: PPOSettings = eqx.field(static=True)

    def init(self, key):
        """Draw the networks; the replay is empty."""
        encoder_key, decoder_key, head_key, seed_key = jax.random.split(key, 4)
        observation, action, latent = self.interface.observation_size, self.action_size, self.belief.latent_size
        encoder = elbo.Encoder.create(encoder_key, observation + action + 2, self.network.memory_units, latent)
        units, states = self.belief.decoder_units, self.belief.decode_states
        decoder = elbo.Decoder.create(decoder_key, observation, action, latent, units, states)
        heads = Heads.create(head_key, observation, 2 * latent, action, self.network)
        parameters = Parameters(VariBADNetwork(encoder, decoder, heads), fresh_scaling(observation))
        replay = empty_replay(self.belief.replay_trials, self.trial_steps, observation, action)
        seed = jax.random.key_data(seed_key)
        return State(parameters, begun(self.ppo, _Acting(heads)), _begun((encoder, decoder)), replay, seed)

    def meta_update(self, state, trials, done, total):
        """Train the heads on the new trials, then encoder and decoder on those of the replay."""
        used = step_size(self.ppo, done, total)
        count = len(trials[0].valid)
        given = replicate((state.parameters, state.optimiser_state), count)
        rate = jnp.asarray(used, jnp.float32)
        updated, scaling, trial, finite = jax.block_until_ready(_learn_to_act(self, *given, trials, rate))
        require_finite(updated, np.asarray(finite))
        replay = added(state.replay, trial)
        network = eqx.tree_at(lambda n: n.heads, state.parameters.network, updated.network.heads)
        parameters, moments, learned = self._with_another_belief(
            Parameters(network, scaling), state, replay, done, total
        )
        metrics = {**metrics_of(updated, used), **learned}
        return State(parameters, updated.optimiser_state, moments, replay, state.seed), metrics

    def _with_another_belief(self, parameters: Parameters, state: State, replay: Replay, done: int, total: int):
        """Return parameters with another encoder and decoder, Adam's moments, and what is measured."""
        settings = self.belief
        generator = np.random.default_rng([*np.asarray(state.seed).tolist(), done])
        shape = settings.belief_updates, settings.belief_batch
        trials = drawn(replay, shape, generator)
        lengths = np.asarray(trials.valid).sum(axis=-1)
        picks = picked(lengths, settings.prefixes, settings.decoded_steps, settings.latent_size, generator)
        left = step_size(self.ppo, done, total) / self.ppo.learning_rate
        rate = jnp.asarray(left * settings.belief_learning_rate, jnp.float32)
        given = replicate((parameters, state.belief_optimiser_state), settings.belief_batch)
        found = jax.block_until_ready(_learn_to_believe(self, *given, trials, picks, rate))
        (encoder, decoder), moments, terms, norm = found
        metrics = _metrics(terms) | {"belief_gradient_norm": float(np.asarray(norm))}
        for name, values in terms._asdict().items():
            if not np.isfinite(np.asarray(values)).all():
                raise NonFiniteError(f"{name} term of the evidence lower bound", None, "in the updates of the belief")
        network = eqx.tree_at(lambda n: (n.encoder, n.decoder), parameters.network, (encoder, decoder))
        return Parameters(network, parameters.scaling), moments, metrics

    def representation(self, parameters, belief):
        """Return the mean of the belief."""
        return parameters.network.encoder.posterior(belief.state).mean


class _Acting(NamedTuple):
    """What PPO trains of the networks."""

    heads: Heads


def _contexts(_network: _Acting, given, _valid):
    return given


@partial(jax.jit, static_argnums=0)
def _learn_to_act(
    method: VariBAD, parameters: Parameters, optimiser_state, trials, step_size
) -> tuple[Updated, Scaling, Trial, Any]:
    network, scaling = parameters
    trial = jax.vmap(joined)(trials)
    seen = jax.vmap(partial(inputs_of, scaling))(trial)
    observation = scaling.observation.scaled(trial.observation)
    # What was believed when the trials were sampled, and stays so: nothing here is differentiated.
    grouped = jax.tree.map(lambda x: x[0], divided((seen, trial.valid), 1))
    believed = undivided(map_over_tasks(_beliefs, network, grouped, 1)[None])
    acting = _Acting(network.heads)
    experience, returns = estimated(_contexts, acting, trial, observation, believed, scaling.returns, method.ppo)
    updated = update(_contexts, acting, optimiser_state, experience, step_size, method.ppo)
    finite = jnp.all(jnp.isfinite(experience.advantages), axis=1)
    return updated, measured(scaling, trial, returns), trial, finite


def _beliefs(network: VariBADNetwork, data) -> Float[Array, "trial step context"]:
    seen, valid = data
    return network.context(_states(network.memory, seen, valid))


def _states(memory: GRU, seen, valid) -> Float[Array, "trial step units"]:
    return memory.states(jnp.zeros((len(seen), memory.candidate_bias.shape[0]), seen.dtype), seen, valid)


def _begun(networks: Any) -> optax.OptState:
    return _adam().init(networks)


def _adam() -> optax.GradientTransformation:
    return optax.scale_by_adam()


@partial(jax.jit, static_argnums=0)
def _learn_to_believe(method: VariBAD, parameters: Parameters, moments, trials: Trial, picks: elbo.Picked, step_size):
    """Take a step of Adam for each leading entry of the trials.

    Returns:
        (encoder and decoder, moments, terms of the last step, greatest norm of a gradient before clipping).
    """
    settings, (network, scaling) = method.belief, parameters

    def one_update(state, data):
        (encoder, decoder), moments = state
        loss = partial(_negative_bound, settings, scaling)
        gradient, terms = mean_gradient_over_tasks(loss, (encoder, decoder), _grouped(data), 1)
        norm = optax.tree.norm(gradient)
        if most := settings.belief_gradient_norm:
            gradient = jax.tree.map(lambda g: g * jnp.minimum(1.0, most / norm), gradient)
        with jax.numpy_dtype_promotion("standard"):
            steps, moments = _adam().update(gradient, moments)
        moved = jax.tree.map(lambda p, s: p - step_size * s, (encoder, decoder), steps)
        return (moved, moments), (jax.tree.map(jnp.mean, terms), norm)

    start = (network.encoder, network.decoder), moments
    (networks, moments), (terms, norms) = jax.lax.scan(one_update, start, (trials, picks))
    return networks, moments, jax.tree.map(lambda x: x[-1], terms), jnp.max(norms)


def _grouped(data):
    return jax.tree.map(lambda x: x[0], divided(data, 1))


def _negative_bound(settings: BeliefSettings, scaling: Scaling, networks, data) -> tuple[Float[Array, ""], elbo.Terms]:
    """−ELBO of a group of trials, the mean over trials and their prefixes."""
    (encoder, decoder), (trials, picks) = networks, data
    seen = jax.vmap(partial(inputs_of, scaling))(trials)
    observation, reward = scaling.observation.scaled(trials.observation), scaling.reward.scaled(trials.reward)
    states = _states(encoder.memory, seen, trials.valid)

    def of_trial(state, trial, observation, reward, picks):
        return elbo.bound(encoder, decoder, state, trial.valid, elbo.steps_of(trial, observation, reward), picks)

    terms = jax.vmap(of_trial)(states, trials, observation, reward, picks)
    terms = jax.tree.map(jnp.mean, terms)
    return terms.reward + terms.state + settings.kl_weight * terms.kl, terms


def _metrics(terms: elbo.Terms) -> dict[str, float]:
    found = {name: float(np.asarray(value)) for name, value in terms._asdict().items()}
    return {"reward_loss": found["reward"], "state_loss": found["state"], "latent_kl": found["kl"]}
