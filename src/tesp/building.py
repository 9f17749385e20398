"""From a configuration to the family and the learner that it describes."""

import dataclasses

import equinox as eqx
import jax

from tesp.config import Config
from tesp.episodes.rollout import Learner
from tesp.errors import ConfigurationError
from tesp.interface import Interface
from tesp.methods.base import Method
from tesp.methods.registry import make_method
from tesp.numerics import with_usual_numerics
from tesp.storage.checkpoint import TrainingState
from tesp.tasks.family import Family
from tesp.tasks.registry import make_family


def build_family(config: Config) -> Family:
    """Make the configured family."""
    given = {name: value for name, value in dataclasses.asdict(config.task).items() if value is not None}
    return make_family(config.family_reference, **given)


@with_usual_numerics
def build_method(config: Config, family: Family | Interface) -> Method:
    """Make the configured method for a family, or for what agents of it see and do.

    Raises:
        ConfigurationError: Options contradict each other, or what was made is no method.
    """
    interface = family.interface if isinstance(family, Family) else family
    method = make_method(config.algorithm, config.method, interface, config.sampling)
    if not isinstance(method, Method):
        raise ConfigurationError(
            f"The algorithm {config.algorithm!r} was built as a {type(method).__name__}, which must be a "
            "tesp.methods.base.Method."
        )
    _require_state(method, config.algorithm)
    plan = method.plan
    if plan.first not in (-1, 0) or plan.last < 0 or (plan.twice and plan.first < 0):
        raise ConfigurationError(
            f"The algorithm {config.algorithm!r} has the plan {plan}, which must begin with round -1 or 0 and end with "
            "round 0 or a later one; only a plan that begins with round 0 may have it twice as large."
        )
    if method.plan.last != config.method.last_round:
        raise ConfigurationError(
            f"The algorithm {config.algorithm!r} has rounds up to {method.plan.last} in its plan, but its options "
            f"say {config.method.last_round}; let last_round of {type(config.method).__name__} say what the plan does."
        )
    return method


def _require_state(method: Method, name: str) -> None:
    """Refuse a state that checkpoints could not hold, field by field beside the loop's own."""
    state = eqx.filter_eval_shape(method.init, jax.random.key(0))
    if not hasattr(state, "_asdict"):
        raise ConfigurationError(
            f"The state of the algorithm {name!r} is a {type(state).__name__}, which must be a NamedTuple, "
            "whose fields are stored."
        )
    for field in TrainingState._fields:
        if field in state._fields:
            raise ConfigurationError(
                f"The state of the algorithm {name!r} has a field {field!r}, which is the training's own; give it "
                "another name."
            )


def build_learner(config: Config, family: Family | Interface) -> Learner:
    """Make the configured learner for a family, or for what agents of it see and do.

    Raises:
        ConfigurationError: As for `build_method`.
    """
    return Learner(build_method(config, family), config.sampling)
