"""Algorithms by name, and the configuration values that a name stands for."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tesp.algorithms.adapt_sv import AdaptSV
from tesp.algorithms.base import Algorithm
from tesp.algorithms.maml import MAML
from tesp.algorithms.meta_sgd import MetaSGD
from tesp.algorithms.oracle import Oracle
from tesp.algorithms.tesp import TESP, AblationSettings

#: The ablations of section 5.3 of the paper: TESP with one value changed.
ABLATIONS: dict[str, dict[str, Any]] = {
    "tesp-v1": {"buffer": "all"},
    "tesp-v2": {"adapt_policy": True},
    "tesp-v3": {"embedding_penalty": 0.0},
    "tesp-v4": {"fast_update": False},
    "tesp-v5": {"fixed_rate": True},
}

#: Algorithms by name. A factory is called with those of the sizes and rates that its signature names.
ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
    "tesp": TESP,
    "maml": MAML,
    "meta-sgd": MetaSGD,
    "adapt-sv": AdaptSV,
    "oracle": Oracle,
    **dict.fromkeys(ABLATIONS, TESP),
}

#: Configuration values without which an algorithm would not be what its name says.
IMPLIED: dict[str, dict[str, Any]] = {"oracle": {"fast_updates": 0}, **ABLATIONS}


def make_algorithm(name: str, ablation: AblationSettings, **values: Any) -> Algorithm:
    """Make an algorithm by name.

    Args:
        name: A key of ``ALGORITHMS``.
        ablation: What is taken away from TESP; the others are made as they are.
        values: Sizes and rates; each algorithm takes those that it has a use for.
    """
    factory = ALGORITHMS[name]
    if factory is TESP:
        values = {**values, **_ablated(ablation, values)}
    wanted = inspect.signature(factory).parameters
    return factory(**{name: value for name, value in values.items() if name in wanted})


def _ablated(ablation: AblationSettings, values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "keep_all": ablation.buffer == "all",
        "adapts_policy": ablation.adapt_policy,
        "learned_rates": ablation.fast_update and not ablation.fixed_rate,
        "initial_rate": values["initial_rate"] if ablation.fast_update else 0.0,
    }
