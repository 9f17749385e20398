"""Presets: configuration values by name, for every family. They are data; families know nothing of learning.

``paper`` is the paper with its supplement and nothing else, and for methods that are not in it what they were published
with; ``quick`` small networks for minutes on a laptop, ``small`` the same networks trained until the curves are flat.
Values of a family go before those that all share.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tesp.errors import ConfigurationError
from tesp.tasks.registry import make_family

if TYPE_CHECKING:
    from tesp.tasks.family import Family

#: Values by field name of the configuration. Under ``algorithms`` stand those of single methods.
Values = Mapping[str, Any]

#: Methods that remember, and what they were published with where families have values for all methods.
REMEMBERING_AS_PUBLISHED: dict[str, Values] = {
    # Trials of two episodes that make the steps of a meta-update there, 16 · 800 and 3,200, with a horizon of 200.
    "rl2": {"policy_units": (128,), "epochs": 2, "tasks_per_update": 32},
    "varibad": {"policy_units": (128, 128), "epochs": 2, "tasks_per_update": 8},
}

#: How they learn at small scale, and for how long: their meta-updates have far fewer steps than others'.
_REMEMBERING: Values = {
    "tasks_per_update": 40,
    "memory_units": 64,
    "policy_units": (64,),
    "learning_rate": 1e-3,
    "epochs": 8,
    "clip": 0.2,
    "entropy_weight": 0.001,
    "gradient_norm": 1.0,
    "meta_updates": 100,
    "evaluate_every": 20,
}
REMEMBERING: dict[str, Values] = {
    "rl2": _REMEMBERING,
    # What is believed has to tell tasks apart before the policy has settled on what is best without knowing them; and
    # it must stop moving under a policy that has become precise.
    "varibad": {
        **_REMEMBERING,
        "belief_updates": 100,
        "belief_batch": 8,
        "belief_learning_rate": 3e-3,
        "prefixes": 16,
        "decoded_steps": 50,
        "learning_rate_final": 0.1,
    },
}

#: The same for longer. Without a bound on σ VariBAD's policy becomes so precise that it cannot follow the belief, which
#: goes on moving, and falls back; RL² arrives less often. And a single large gradient can move the belief so far in one
#: meta-update that the policy has to begin anew (`docs/recurrent-methods.md`).
_FOR_LONG: Values = {"learning_rate_final": 0.1, "meta_updates": 200, "least_std": 0.5}
REMEMBERING_FOR_LONG: dict[str, Values] = {
    "rl2": {**REMEMBERING["rl2"], **_FOR_LONG},
    "varibad": {**REMEMBERING["varibad"], **_FOR_LONG, "belief_gradient_norm": 1.0},
}

#: How methods that are not in the paper were published to learn; `docs/gradient-methods.md` has the sources.
AS_PUBLISHED: dict[str, Values] = {
    "cavia": {
        "episodes_per_round": 20,
        "round_budget": "episodes",
        "fast_updates": 1,
        "initial_rate": 1.0,
        "rate_bound": 1.0,
        "second_order": True,
        "discount": 0.95,
        "gae_lambda": 1.0,
        "normalise_advantages": "task",
    },
    "promp": {
        "tasks_per_update": 40,
        "episodes_per_round": 20,
        "round_budget": "episodes",
        "fast_updates": 1,
        "initial_rate": 0.1,
        "learning_rate": 1e-3,
        "epochs": 5,
        "judge_last_epoch": True,
        "clip": 0.3,
        "kl_bound": 1e6,
        "inner_kl_penalty": 5e-4,
        "gae_lambda": 1.0,
        "normalise_advantages": "task",
    },
    "e-maml": {
        "episodes_per_round": 40,
        "round_budget": "episodes",
        "fast_updates": 5,
        "initial_rate": 0.05,
        "second_order": True,
        "inner_gradient_norm": 1.0,
        "learning_rate": 1e-2,
        "epochs": 1,
        "judge_last_epoch": True,
        "clip": 0.2,
        "kl_bound": 1e6,
        "exploration_credit": 1.0,
        "discount": 0.995,
    },
    "maesn": {
        "episodes_per_round": 50,
        "round_budget": "episodes",
        "embedding_size": 2,
        "fast_updates": 1,
        "initial_rate": 1.0,
        "rate_bound": 10.0,
        "second_order": True,
        "embedding_penalty": 0.1,
        "gae_lambda": 1.0,
        "normalise_advantages": "task",
    },
}

#: What ``paper`` has besides the library's defaults.
PAPER: Values = {"round_budget": "steps", "algorithms": {**AS_PUBLISHED, **REMEMBERING_AS_PUBLISHED}}

#: How to learn at small scale: the step size finds itself, rates take small steps, all rounds are trained on, and the
#: embedding modulates the policy of methods that have one. The same for every method.
LEARNING: Values = {
    "learning_rate": 2e-3,
    "learning_rate_schedule": "adaptive",
    "judge_last_epoch": True,
    "early_loss_weight": 0.3,
    "initial_rate": 0.05,
    "rates_step": 0.1,
    "project_rates": True,
    "embedding_penalty": 0.02,
    "conditioning": "modulate",
    # A rate that is not learned has to be right from the start.
    "algorithms": {
        "cavia": {"initial_rate": 0.3, "rate_bound": 1.0},
        "promp": {"epochs": 5, "clip": 0.3, "inner_kl_penalty": 5e-4},
        "e-maml": {"exploration_credit": 1.0},
        "maesn": {"initial_rate": 1.0, "rate_bound": 10.0},
    },
}

#: Small sizes, with which a family trains in minutes.
QUICK: Values = {
    **LEARNING,
    "policy_units": (64, 64),
    "encoder_units": 64,
    "episodes_per_round": 10,
    "buffer_size": 6,
    "epochs": 10,
    "meta_updates": 100,
    "evaluate_every": 20,
    "evaluation_tasks": 40,
    "algorithms": {**LEARNING["algorithms"], **REMEMBERING},
}

#: The same sizes, trained until the curves are flat; the step size that was found settles over the last third.
SMALL: Values = {
    **QUICK,
    "meta_updates": 120,
    "evaluate_every": 15,
    "evaluation_tasks": 0,
    "parameter_average": 0.97,
    "learning_rate_ceiling": "last_third",
    "algorithms": {**LEARNING["algorithms"], **REMEMBERING_FOR_LONG},
}

#: What belongs to the length of a run: what a family changes of it in ``quick`` does not hold in ``small``.
_LENGTH = ("meta_updates", "evaluate_every", "evaluation_tasks", "parameter_average", "learning_rate_ceiling")

#: What both arms change of ``quick`` and ``small``.
_ARM: Values = {"horizon": 100, "engine": "closed-form", "episodes_per_round": 20, "buffer_size": 10}

#: What arms and classic tasks change of ``small`` besides: without a bound on σ the arms fall back as it sinks; classic
#: tasks take it over from them.
_BOUNDED: Values = {"least_std": 0.5}

#: What the classic tasks change: of ``paper`` by how hard the body is to move, of ``quick`` all alike. With a gradient
#: of the rates from every epoch the half cheetah's turned negative, and fast-updates made agents worse.
_CLASSIC_QUICK: Values = {
    "rates_gradient": "first_epoch",
    "embedding_size": 8,
    "horizon": 100,
    "episodes_per_round": 6,
    "buffer_size": 4,
    "evaluation_tasks": 20,
}
_CLASSIC: dict[str, Values] = {
    "paper": {"policy_units": (256, 256), "encoder_units": 256, "embedding_size": 8, "embedding_penalty": 0.01},
    "quick": _CLASSIC_QUICK,
    "small": _BOUNDED,
}
_CLASSIC_OF_MANY_JOINTS: dict[str, Values] = {
    "paper": {"policy_units": (512, 512), "encoder_units": 256, "embedding_size": 32, "embedding_penalty": 0.01},
    "quick": {**_CLASSIC_QUICK, "embedding_size": 16},
    "small": _BOUNDED,
}

#: What the families of the library change of these, by their names.
OF_FAMILIES: dict[str, dict[str, Values]] = {
    "point": {
        "paper": {"policy_units": (64, 64), "encoder_units": 64, "embedding_size": 8, "embedding_penalty": 0.01},
        # The point needs the later fast-updates for precision; a loss on every round would let the first one do nearly
        # everything. Small rates that quickly become larger suit an encoder or a vector, whose gradients are large
        # here; whole policies need large rates from the start.
        "quick": {
            "embedding_size": 8,
            "horizon": 100,
            "early_loss_weight": 0.0,
            "epochs": 20,
            "learning_rate": 1e-3,
            "initial_rate": 0.001,
            "rates_step": 1.0,
            "embedding_penalty": 0.01,
            "algorithms": {name: {"initial_rate": 0.05} for name in ("maml", "meta-sgd", "promp", "e-maml")},
            "meta_updates": 40,
            "evaluate_every": 10,
            "parameter_average": 0.8,
        },
    },
    "wheeled": {
        "paper": {"policy_units": (256, 256), "encoder_units": 256, "embedding_size": 8, "embedding_penalty": 0.01},
        "quick": {"embedding_size": 8, "horizon": 100, "episodes_per_round": 6, "buffer_size": 4},
    },
    "ant": {
        "paper": {"policy_units": (512, 512), "encoder_units": 256, "embedding_size": 32, "embedding_penalty": 0.01},
        "quick": {
            "embedding_size": 16,
            "horizon": 100,
            "episodes_per_round": 8,
            "buffer_size": 5,
            "evaluation_tasks": 20,
        },
    },
    "reacher2": {
        "paper": {
            "policy_units": (256, 256),
            "encoder_units": 256,
            "embedding_size": 8,
            "embedding_penalty": 0.005,
            "algorithms": {"adapt-sv": {"embedding_penalty": 0.001}},
        },
        "quick": {**_ARM, "embedding_size": 8},
        "small": _BOUNDED,
    },
    "reacher4": {
        "paper": {"policy_units": (512, 512), "encoder_units": 256, "embedding_size": 16, "embedding_penalty": 0.005},
        "quick": {**_ARM, "embedding_size": 16},
        "small": _BOUNDED,
    },
    "half-cheetah-velocity-v1": _CLASSIC,
    "half-cheetah-direction-v1": _CLASSIC,
    "ant-direction-v1": _CLASSIC_OF_MANY_JOINTS,
    "ant-goal-v1": _CLASSIC_OF_MANY_JOINTS,
    "humanoid-direction-v1": _CLASSIC_OF_MANY_JOINTS,
    "walker-parameters-v1": _CLASSIC,
    "hopper-parameters-v1": _CLASSIC,
}


def presets_of(family: "str | Family") -> dict[str, Values]:
    """Return a family's presets by name.

    Args:
        family: The family, its name, or ``FILE.py:NAME``.

    Raises:
        ConfigurationError: There is no such family, or it has presets as in version 0.1.
    """
    if isinstance(family, str) and family in OF_FAMILIES:
        return merged(OF_FAMILIES[family])
    made = make_family(family) if isinstance(family, str) else family
    if hasattr(made, "presets"):
        raise ConfigurationError(
            f"The family {made.name!r} has presets; give it preset_values instead, which change the library's own."
        )
    given = made.preset_values
    return merged(OF_FAMILIES.get(made.name, {}) if given is None else given)


def merged(given: Mapping[str, Values]) -> dict[str, Values]:
    """Return the library's presets and others, with the given values before the library's own.

    What is given for ``quick`` holds in ``small`` too, but for the length of the run.
    """
    sizes = {name: value for name, value in given.get("quick", {}).items() if name not in _LENGTH}
    own: dict[str, Values] = {"paper": PAPER, "quick": QUICK, "small": _before(sizes, SMALL)}
    return {name: _before(given.get(name, {}), own.get(name, {})) for name in {**own, **given}}


def _before(given: Values, own: Values) -> Values:
    """Return both, the given values before the others; those of single methods method by method."""
    of_methods = [values.get("algorithms", {}) for values in (own, given)]
    merged = {
        name: {**of_methods[0].get(name, {}), **of_methods[1].get(name, {})} for name in of_methods[0] | of_methods[1]
    }
    return {**own, **given, **({"algorithms": merged} if merged else {})}
