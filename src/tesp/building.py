"""From a configuration to the family and the learner that it describes."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp

from tesp.algorithms.base import Algorithm
from tesp.algorithms.registry import make_algorithm
from tesp.config import Config
from tesp.distributions import Gaussian
from tesp.errors import ConfigurationError
from tesp.interaction import Learner
from tesp.interface import Interface
from tesp.networks.policy import ConditionalPolicy
from tesp.tasks.family import Family
from tesp.tasks.registry import make_family


def build_family(config: Config) -> Family:
    """Make the configured family."""
    given = {name: value for name, value in dataclasses.asdict(config.task).items() if value is not None}
    return make_family(config.family_reference, **given)


def build_algorithm(config: Config, family: Family | Interface) -> Algorithm:
    """Make the configured algorithm for a family, or for what agents of it see and do."""
    return make_algorithm(
        config.algorithm,
        config.ablation,
        observation_size=family.observation_size,
        action_size=family.action_size,
        task_size=family.task_size,
        embedding_size=config.network.embedding_size,
        policy_units=tuple(config.network.policy_units),
        encoder_units=config.network.encoder_units,
        initial_rate=config.fast.initial_rate,
        conditioning=config.network.conditioning,
        least_std=config.network.least_std,
    )


def build_learner(config: Config, family: Family | Interface) -> Learner:
    """Make the configured learner for a family, or for what agents of it see and do.

    Raises:
        ConfigurationError: An option has no meaning for the algorithm.
    """
    algorithm = build_algorithm(config, family)
    _require_conditional_policy(algorithm, config.algorithm, family.observation_size)
    size, episodes = config.sampling.buffer_size, config.sampling.episodes_per_round
    if algorithm.warm_up and not algorithm.keep_all and size > episodes:
        raise ConfigurationError(
            f"buffer_size = {size} is not possible with episodes_per_round = {episodes}: the warm-up round must fill "
            f"the buffer. Give a buffer_size of at most {episodes} or more episodes_per_round."
        )
    if config.sampling.extra_episodes and (algorithm.warm_up or not config.fast.fast_updates):
        raise ConfigurationError(
            f"extra_episodes is not possible with the algorithm {config.algorithm!r}: it stands in for the warm-up "
            "round of methods that adapt without one. Leave it out."
        )
    return Learner(algorithm, config.sampling, config.fast, config.meta, config.estimation)


def _require_conditional_policy(algorithm: Algorithm, name: str, observation_size: int) -> None:
    def policy(key):
        fresh = algorithm.init(key)
        return algorithm.policy(fresh.adapted, fresh.shared)

    def response(made):
        return made.respond(jnp.zeros((1, observation_size)), made.condition(jnp.zeros(algorithm.embedding_size)))

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
