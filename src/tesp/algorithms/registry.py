"""Algorithms by name, and the configuration values that a name stands for. An algorithm is imported when it is made."""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tesp.algorithms.settings import AblationSettings

if TYPE_CHECKING:
    from tesp.algorithms.base import Algorithm

#: The ablations of section 5.3 of the paper: TESP with one value changed.
ABLATIONS: dict[str, dict[str, Any]] = {
    "tesp-v1": {"buffer": "all"},
    "tesp-v2": {"adapt_policy": True},
    "tesp-v3": {"embedding_penalty": 0.0},
    "tesp-v4": {"fast_update": False},
    "tesp-v5": {"fixed_rate": True},
}

_TESP = "tesp.algorithms.tesp:TESP"

#: Algorithms by name: a factory, or where one is found as ``module:name``. It is called with those of the sizes and
#: rates that its signature names.
ALGORITHMS: dict[str, "str | Callable[..., Algorithm]"] = {
    "tesp": _TESP,
    "maml": "tesp.algorithms.maml:MAML",
    "meta-sgd": "tesp.algorithms.meta_sgd:MetaSGD",
    "adapt-sv": "tesp.algorithms.adapt_sv:AdaptSV",
    "oracle": "tesp.algorithms.oracle:Oracle",
    **dict.fromkeys(ABLATIONS, _TESP),
}

#: Configuration values without which an algorithm would not be what its name says.
IMPLIED: dict[str, dict[str, Any]] = {"oracle": {"fast_updates": 0}, **ABLATIONS}


def has_ablations(name: str) -> bool:
    """Tell whether a name stands for TESP, from which something can be taken away."""
    found = ALGORITHMS[name]
    return found == _TESP or (not isinstance(found, str) and found is pkgutil.resolve_name(_TESP))


def make_algorithm(name: str, ablation: AblationSettings, **values: Any) -> "Algorithm":
    """Make an algorithm by name.

    Args:
        name: A key of ``ALGORITHMS``.
        ablation: What is taken away from TESP; the others are made as they are.
        values: Sizes and rates; each algorithm takes those that it has a use for.
    """
    found = ALGORITHMS[name]
    factory = pkgutil.resolve_name(found) if isinstance(found, str) else found
    if has_ablations(name):
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
