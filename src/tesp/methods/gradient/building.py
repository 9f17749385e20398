"""From options to a method that adapts by gradients."""

import functools
import inspect
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from tesp.distributions import Gaussian
from tesp.errors import ConfigurationError
from tesp.interface import Interface
from tesp.methods.gradient.algorithm import Algorithm
from tesp.methods.gradient.method import GradientMethod
from tesp.methods.gradient.settings import GradientConfig
from tesp.networks.policy import ConditionalPolicy
from tesp.sampling import SamplingSettings


def build(
    config: GradientConfig,
    algorithm: Callable[..., Algorithm],
    name: str,
    interface: Interface,
    sampling: SamplingSettings,
) -> GradientMethod:
    """Make the method of an algorithm.

    Args:
        config: The options.
        algorithm: What makes the algorithm; it is called with those of the sizes and rates that its signature names.
        name: What it is called in errors.
        interface: What agents see and do.
        sampling: How much is sampled.

    Raises:
        ConfigurationError: An option has no meaning for the algorithm, or its policy is of another kind.
    """
    made = make_algorithm(config, algorithm, interface)
    _require_conditional_policy(made, name, interface.observation_size)
    size, extra = config.experience.buffer_size, config.experience.extra_episodes
    if made.warm_up and not made.keep_all and size > sampling.episodes_per_round:
        raise ConfigurationError(
            f"buffer_size = {size} is not possible with episodes_per_round = {sampling.episodes_per_round}: the "
            f"warm-up round must fill the buffer. Give a buffer_size of at most {sampling.episodes_per_round} or more "
            "episodes_per_round."
        )
    if extra and (made.warm_up or not config.fast.fast_updates):
        raise ConfigurationError(
            f"extra_episodes is not possible with the algorithm {name!r}: it stands in for the warm-up round of "
            "methods that adapt without one. Leave it out."
        )
    return GradientMethod(made, config.fast, config.meta, config.estimation, size, extra)


def make_algorithm(config: GradientConfig, algorithm: Callable[..., Algorithm], interface: Interface) -> Algorithm:
    """Make an algorithm with those of the sizes and rates that its signature names."""
    network, ablation = config.network, config.ablation
    wanted = inspect.signature(algorithm).parameters
    values = {
        "observation_size": interface.observation_size,
        "action_size": interface.action_size,
        "task_size": interface.task_size,
        "embedding_size": network.embedding_size,
        "latent_size": network.embedding_size,
        "policy_units": tuple(network.policy_units),
        "encoder_units": network.encoder_units,
        "initial_rate": config.fast.initial_rate if ablation.fast_update else 0.0,
        "conditioning": network.conditioning,
        "policies": network.policies,
        "least_std": network.least_std,
    }
    if ablation.buffer == "all":
        values["keep_all"] = True
    if ablation.adapt_policy:
        values["adapts_policy"] = True
    if ablation.fixed_rate or not ablation.fast_update:
        values["learned_rates"] = False
    return algorithm(**{name: value for name, value in values.items() if name in wanted})


# What was found in order need not be traced again: a comparison builds every method many times.
@functools.lru_cache(64)
def _require_conditional_policy(algorithm: Algorithm, name: str, observation_size: int) -> None:
    def policy(key):
        fresh = algorithm.init(key)
        return algorithm.policy(fresh.adapted, fresh.shared)

    def response(made):
        seen = jnp.zeros((1, observation_size + algorithm.noise_size))
        return made.respond(seen, made.condition(jnp.zeros(algorithm.embedding_size)))

    made = eqx.filter_eval_shape(policy, jax.random.key(0))
    if not isinstance(made, ConditionalPolicy):
        raise ConfigurationError(
            f"The algorithm {name!r} has the policy {type(made).__name__}, which must be a "
            "tesp.networks.policy.ConditionalPolicy: derive it from that class and give it condition and respond."
        )
    found = eqx.filter_eval_shape(response, made)
    if not isinstance(found, Gaussian):
        raise ConfigurationError(
            f"The policy of the algorithm {name!r} responds with a {type(found).__name__}, which must be a "
            "tesp.distributions.Gaussian of mean and log standard deviation."
        )
