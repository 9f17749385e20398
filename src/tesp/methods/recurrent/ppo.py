"""Proximal policy optimisation with a value function, over whole trials."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from tesp.adaptation.task_axis import map_over_tasks, mean_gradient_over_tasks, task_mesh
from tesp.distributions import Gaussian
from tesp.estimators.losses import clipped_surrogate_loss, masked_mean
from tesp.estimators.returns import generalised_advantages
from tesp.methods.recurrent.settings import PPOSettings, RecurrentNetworkSettings
from tesp.methods.recurrent.trials import Moments, Trial
from tesp.networks.gru import in_segments
from tesp.networks.hypernetwork import HyperPolicy
from tesp.networks.mlp import MLP
from tesp.networks.policy import ConditionalPolicy, Policy
from tesp.types import PyTree


class Heads(eqx.Module):
    """Policy and value function, both of the observation and of what is remembered."""

    policy: ConditionalPolicy
    value: MLP

    @classmethod
    def create(
        cls, key: PRNGKeyArray, observation: int, context: int, action: int, settings: RecurrentNetworkSettings
    ) -> "Heads":
        """Draw both.

        Args:
            key: Randomness.
            observation: Entries of an observation.
            context: Entries of what is remembered, as the policy sees it.
            action: Entries of an action.
            settings: Kinds and sizes.
        """
        policy_key, value_key = jax.random.split(key)
        units = settings.policy_units
        kind = {"mlp": Policy, "hypernetwork": HyperPolicy}[settings.head]
        policy = kind.create(policy_key, observation, context, action, units, settings.least_std)
        return cls(policy, MLP.create(value_key, observation + context, 1, units))

    def foretell(
        self, observation: Float[Array, "*batch observation"], context: Float[Array, "*batch context"]
    ) -> Float[Array, "*batch"]:
        """Return the value, in standard deviations of the returns from their mean."""
        return self.value(jnp.concatenate([observation, context], axis=-1))[..., 0]


class Experience(NamedTuple):
    """Trials as they are learned from, with axes (…, trial, step, …).

    Attributes:
        observation: s_t, scaled.
        given: What the context of a step is made of; see `Contexts`.
        action: a_t.
        behaviour: The distribution that a_t was drawn from.
        advantages: Â_t, standardised over all trials.
        targets: What the value function is to foretell, in standard deviations from the mean.
        valid: Whether the step exists; those that do come first.
    """

    observation: Float[Array, "*batch step observation"]
    given: Float[Array, "*batch step _"]
    action: Float[Array, "*batch step action"]
    behaviour: Gaussian
    advantages: Float[Array, "*batch step"]
    targets: Float[Array, "*batch step"]
    valid: Bool[Array, "*batch step"]


#: (networks that are trained, what is given, which steps exist), of several trials, → their heads' contexts.
Contexts = Callable[[Any, Float[Array, "trial step _"], Bool[Array, "trial step"]], Float[Array, "trial step context"]]


class Terms(NamedTuple):
    """Means over steps of what a meta-update measures.

    Attributes:
        policy_loss: PPO's clipped loss.
        value_loss: Half the mean squared error of the value function, in variances of the returns.
        entropy: Of the policy, per step.
        kl: Divergence from the policy that sampled.
        clipped: Share of the steps whose probability ratio was outside the clip range.
    """

    policy_loss: Float[Array, "*batch"]
    value_loss: Float[Array, "*batch"]
    entropy: Float[Array, "*batch"]
    kl: Float[Array, "*batch"]
    clipped: Float[Array, "*batch"]


class Updated(NamedTuple):
    """Result of the epochs of a meta-update.

    Attributes:
        network: The networks that are trained.
        optimiser_state: Adam's state.
        epochs: Epochs that were run.
        terms: Of the last epoch, the mean over its minibatches, each before its step.
        gradient_norm: Likewise of the gradient's global norm, before clipping.
    """

    network: Any
    optimiser_state: optax.OptState
    epochs: Int[Array, ""]
    terms: Terms
    gradient_norm: Float[Array, ""]


def optimiser(settings: PPOSettings) -> optax.GradientTransformation:
    """Adam on clipped gradients, without its step size, which may decay."""
    return optax.chain(optax.clip_by_global_norm(settings.gradient_norm), optax.scale_by_adam(eps=1e-5))


def begun(settings: PPOSettings, network: Any) -> optax.OptState:
    """Return the optimiser's state before the first step."""
    return optimiser(settings).init(network)


def divided(trials: PyTree, minibatches: int) -> PyTree:
    """Divide the axis ``task`` into (minibatch, group, trial), where every device has a group of each minibatch.

    Which tasks are drawn and in what order is random, so that these minibatches are as good as others.
    """
    count = jax.tree.leaves(trials)[0].shape[0]
    groups = task_mesh(count // minibatches).size

    def divide(x):
        x = x.reshape(groups, minibatches, count // (groups * minibatches), *x.shape[1:])
        return jnp.moveaxis(x, 1, 0)

    return jax.tree.map(divide, trials)


def undivided(trials: PyTree) -> PyTree:
    """Undo `divided`."""

    def join(x):
        return jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[3:])

    return jax.tree.map(join, trials)


def estimated(
    contexts: Contexts, network: Any, trial: Trial, observation, given, returns: Moments, settings: PPOSettings
) -> tuple[Experience, Float[Array, "task step"]]:
    """Return what PPO learns from, of all tasks, and what was got after every step: γλ-returns of the whole trials.

    Args:
        contexts: What the heads see.
        network: The networks that are trained.
        trial: The trials, (task, step, …).
        observation: Scaled observations.
        given: What contexts are made of.
        returns: Mean and variance of what the value function foretells.
        settings: Discount and λ.
    """

    def values(network, data):
        observation, given, valid = data
        return network.heads.foretell(observation, contexts(network, given, valid))

    grouped = jax.tree.map(lambda x: x[0], divided((observation, given, trial.valid), 1))
    scaled = map_over_tasks(values, network, grouped, 1)
    foretold = undivided(scaled[None]) * returns.std + returns.mean
    # Over the whole trial: what later episodes bring counts for the actions of earlier ones.
    advantages = jax.vmap(generalised_advantages, in_axes=(0, 0, 0, None, None))(
        trial.reward, foretold, trial.valid, settings.discount, settings.gae_lambda
    )
    got = jnp.where(trial.valid, advantages + foretold, 0.0)
    spread = Moments(*_mean_and_variance(advantages, trial.valid))
    standardised = jnp.where(trial.valid, (advantages - spread.mean) / spread.std, 0.0)
    targets = returns.scaled(got)
    return Experience(observation, given, trial.action, trial.behaviour, standardised, targets, trial.valid), got


def _mean_and_variance(x, valid):
    mean = jnp.mean(x, where=valid)
    return mean, jnp.mean((x - mean) ** 2, where=valid)


def update(
    contexts: Contexts,
    network: Any,
    optimiser_state: optax.OptState,
    experience: Experience,
    step_size: Float[Array, ""],
    settings: PPOSettings,
) -> Updated:
    """Go through the trials several times, a step of Adam for each minibatch.

    Args:
        contexts: What the heads see.
        network: The networks that are trained.
        optimiser_state: State of `optimiser`.
        experience: The trials, (task, step, …).
        step_size: Step size of Adam.
        settings: How much of it.
    """
    minibatches = divided(experience, settings.minibatches)
    loss = partial(_loss, contexts, settings)

    def one_minibatch(state, data):
        network, optimiser_state = state
        gradient, terms = mean_gradient_over_tasks(loss, network, (data, _weights(data)), 1)
        # Adam raises a float to its integer count, which strict promotion, if the caller set it, forbids.
        with jax.numpy_dtype_promotion("standard"):
            steps, optimiser_state = optimiser(settings).update(gradient, optimiser_state)
        network = jax.tree.map(lambda p, step: p - step_size * step, network, steps)
        terms = jax.tree.map(jnp.mean, terms)
        return (network, optimiser_state), (terms, optax.tree.norm(gradient))

    def one_epoch(loop):
        epoch, _, state, _, _ = loop
        state, (terms, norms) = jax.lax.scan(one_minibatch, state, minibatches)
        terms = jax.tree.map(jnp.mean, terms)
        far = (terms.kl > settings.kl_limit) if settings.kl_limit else jnp.zeros((), bool)
        return epoch + 1, far, state, terms, jnp.mean(norms)

    nothing = jnp.zeros((), experience.advantages.dtype)
    start = (jnp.zeros((), jnp.int32), jnp.zeros((), bool), (network, optimiser_state), Terms(*[nothing] * 5), nothing)
    epochs, _, (network, optimiser_state), terms, norm = jax.lax.while_loop(
        lambda loop: (loop[0] < settings.epochs) & ~loop[1], one_epoch, start
    )
    return Updated(network, optimiser_state, epochs, terms, norm)


def _weights(data: Experience) -> Float[Array, " group"]:
    """Return what sums over the steps of a group are multiplied with; the mean over groups is then that over steps."""
    groups, steps = len(data.valid), jnp.maximum(jnp.sum(data.valid), 1)
    return jnp.full(groups, groups / steps.astype(data.advantages.dtype))


def _loss(contexts: Contexts, settings: PPOSettings, network: Any, given) -> tuple[Float[Array, ""], Terms]:
    """Clipped loss + value loss − entropy bonus of a group of trials, and its share in the means over all steps."""
    data, weight = given
    context = contexts(network, data.given, data.valid)
    terms = _over_segments(partial(_terms, network.heads, settings.clip), data.valid, (context, data))
    terms = jax.tree.map(lambda total: weight * total, terms)
    loss = terms.policy_loss + settings.value_weight * terms.value_loss - settings.entropy_weight * terms.entropy
    return loss, terms


def _terms(heads: Heads, clip: float, steps) -> Terms:
    """Return sums over the steps of one segment, of all of its trials."""
    context, data = steps
    count = jnp.sum(data.valid).astype(data.advantages.dtype)
    distribution = heads.policy(data.observation, context)
    log_p, behaviour = (d.log_probability(data.action) for d in (distribution, data.behaviour))
    error = heads.foretell(data.observation, context) - data.targets
    clipped = (jnp.abs(jnp.exp(log_p - behaviour) - 1.0) > clip).astype(log_p.dtype)
    means = Terms(
        clipped_surrogate_loss(log_p, behaviour, data.advantages, data.valid, clip),
        *(
            masked_mean(x, data.valid)
            for x in (0.5 * error**2, distribution.entropy(), data.behaviour.kl_divergence(distribution), clipped)
        ),
    )
    return jax.tree.map(lambda mean: count * mean, means)


def _over_segments(function: Callable, valid: Bool[Array, "trial step"], data: PyTree) -> PyTree:
    """Sum a function of some steps of all trials over the segments of steps in which one exists."""
    segments = jax.tree.map(in_segments, data)
    first = jax.tree.map(lambda x: x[0], segments)
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, first))

    def add(so_far, xs):
        segment, exists = xs

        def compute(so_far):
            return jax.tree.map(jnp.add, so_far, function(segment))

        return jax.lax.cond(jnp.any(exists), compute, lambda so_far: so_far, so_far), None

    return jax.lax.scan(add, start, (segments, in_segments(valid)))[0]
