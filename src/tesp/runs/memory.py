"""Sizes that no memory of this machine could hold are refused before anything is made of them."""

import math

import equinox as eqx
import jax

from tesp.config import Config, value_of, values_of
from tesp.episodes.budget import ROUND_CAPACITY
from tesp.episodes.rollout import Learner
from tesp.errors import ConfigurationError
from tesp.machine import memory_bytes
from tesp.methods.registry import entry_of
from tesp.numerics import with_usual_numerics
from tesp.task_sets import TASK_SETS
from tesp.tasks.family import Family

_GIB = 2**30

#: Options that make networks large, and those that make many of what is kept or sampled.
_SIZES = ("policy_units", "encoder_units", "embedding_size", "memory_units")
_COUNTS = ("tasks_per_update", "episodes_per_round", "episodes_per_trial", "tasks_per_set", "replay_trials")


def check_memory(config: Config, family: Family, learner: Learner) -> None:
    """Refuse a configuration that needs more memory than there is, by what it needs at least.

    Counted are the state of the method, what one meta-update samples, and the tasks; in use it is several times more.

    Raises:
        ConfigurationError: There is less memory than that.
    """
    there = memory_bytes()
    sampling, plan = config.sampling, learner.method.plan
    episodes = sampling.episodes_per_round * (ROUND_CAPACITY if sampling.round_budget == "steps" else 1)
    rounds = plan.last - plan.first + 1
    # Observation, action, its distribution, two rewards and a few flags, in single precision.
    step = 4 * (family.observation_size + 3 * family.action_size + 4)
    tasks = int(value_of(config, "tasks_per_set") or 0) * len(TASK_SETS) * family.task_size * 8
    needed = {
        "the state of the method": _state(learner),
        "the episodes of one meta-update": sampling.tasks_per_update * episodes * rounds * family.horizon * step,
        "the tasks": tasks,
    }
    if there is not None and sum(needed.values()) > there:
        told = ", ".join(f"{name} {size / _GIB:,.1f} GiB" for name, size in needed.items())
        raise ConfigurationError(
            f"This configuration needs at least {sum(needed.values()) / _GIB:,.1f} GiB of memory ({told}), and there "
            f"are {there / _GIB:,.1f}. Give smaller networks ({', '.join(_free(config, _SIZES))}), less of "
            f"{', '.join(_free(config, _COUNTS))}, or a shorter horizon."
        )


def _free(config: Config, names: tuple[str, ...]) -> list[str]:
    """Return which of some options the method has and leaves a choice in."""
    known = values_of(config).keys() - entry_of(config.algorithm).implied.keys()
    return [name for name in names if name in known]


@with_usual_numerics
def _state(learner: Learner) -> int:
    shapes = jax.tree.leaves(eqx.filter_eval_shape(learner.method.init, jax.random.key(0)))
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in shapes if isinstance(x, jax.ShapeDtypeStruct))
