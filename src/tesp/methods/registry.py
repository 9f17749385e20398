"""Methods by name: the configuration each has, and what its name stands for. A method is imported when it is made."""

import functools
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from tesp.errors import ConfigurationError, did_you_mean
from tesp.methods.gradient.settings import ABSENT, RATES, GradientConfig
from tesp.methods.recurrent.settings import BECAUSE, SINGLE
from tesp.methods.settings import MethodConfig

if TYPE_CHECKING:
    from tesp.interface import Interface
    from tesp.methods.base import Method
    from tesp.methods.gradient.algorithm import Algorithm
    from tesp.sampling import SamplingSettings

#: What makes an algorithm that adapts by gradients, or where it is found as ``module:name``.
AlgorithmFactory = str | Callable[..., "Algorithm"]


@dataclass(frozen=True)
class Entry:
    """What is known of a method by its name.

    Attributes:
        config: Kind of its configuration, or where it is found as ``module:name``.
        algorithm: What makes its algorithm, if it is one that adapts by gradients.
        implied: Options without whose values it would not be what its name says.
        absent: Options of its kind of configuration that it does not have.
        because: Why it has the implied values, where the name alone does not say it.
    """

    config: "str | type[MethodConfig]"
    algorithm: AlgorithmFactory | None = None
    implied: Mapping[str, Any] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    because: str = ""

    @property
    def kind(self) -> type[MethodConfig]:
        """The kind of its configuration."""
        return pkgutil.resolve_name(self.config) if isinstance(self.config, str) else self.config


#: The ablations of section 5.3 of the paper: TESP with one value changed.
ABLATIONS: dict[str, dict[str, Any]] = {
    "tesp-v1": {"buffer": "all"},
    "tesp-v2": {"adapt_policy": True},
    "tesp-v3": {"embedding_penalty": 0.0},
    "tesp-v4": {"fast_update": False},
    "tesp-v5": {"fixed_rate": True},
}


def _gradient(
    where: str, implied: Mapping[str, Any] | None = None, without: Iterable[str] = (), own: Iterable[str] = ()
) -> Entry:
    absent = ABSENT[where].union(without).difference(own)
    return Entry(GradientConfig, f"tesp.methods.gradient.{where}", implied or {}, absent)


def _recurrent(config: str) -> Entry:
    return Entry(f"tesp.methods.recurrent.configs:{config}", None, SINGLE, because=BECAUSE)


METHODS: dict[str, Entry] = {
    "tesp": _gradient("tesp:TESP"),
    "maml": _gradient("maml:MAML"),
    "meta-sgd": _gradient("meta_sgd:MetaSGD"),
    "adapt-sv": _gradient("adapt_sv:AdaptSV"),
    "cavia": _gradient("adapt_sv:AdaptSV", {"learned_start": False, "fixed_rate": True}, RATES),
    "promp": _gradient(
        "maml:MAML",
        {"inner_loss": "likelihood_ratio", "second_order": True},
        own=("inner_loss", "inner_kl_penalty"),
    ),
    "e-maml": _gradient("maml:MAML", own=("exploration_credit",)),
    "maesn": _gradient("maesn:MAESN"),
    "tesp-set": _gradient("tesp_set:TESPSet"),
    "oracle": _gradient("oracle:Oracle", {"fast_updates": 0}),
    "rl2": _recurrent("RL2Config"),
    "varibad": _recurrent("VariBADConfig"),
    **{name: _gradient("tesp:TESP", implied) for name, implied in ABLATIONS.items()},
}


def entry_of(name: str) -> Entry:
    """Return what is known of a method.

    Raises:
        ConfigurationError: There is no such method.
    """
    if name not in METHODS:
        raise ConfigurationError(
            f"There is no algorithm {name!r}{did_you_mean(name, METHODS)}. One of your own is known once "
            "tesp.register_method was called, in the same process."
        )
    return METHODS[name]


def make_method(name: str, config: MethodConfig, interface: "Interface", sampling: "SamplingSettings") -> "Method":
    """Make a method by name.

    Args:
        name: Its name.
        config: Its options.
        interface: What agents see and do, and for how long.
        sampling: How much is sampled.
    """
    found = entry_of(name).algorithm
    if found is None or not isinstance(config, GradientConfig):
        return config.build(interface, sampling)
    from tesp.methods.gradient.building import build

    return build(config, pkgutil.resolve_name(found) if isinstance(found, str) else found, name, interface, sampling)


def options_of(name: str) -> dict[str, tuple[str, ...]]:
    """Return the options of a method by name, each with the groups that lead to it."""
    entry = entry_of(name)
    return {option: groups for option, groups in _options(entry.kind).items() if option not in entry.absent}


def all_options() -> set[str]:
    """Return the names of the options of all methods."""
    return {option for name in METHODS for option in _options(METHODS[name].kind)}


def named_options(kind: type[MethodConfig]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the name of every option of a kind of configuration with the groups that lead to it, in order."""
    return list(_named(kind))


def absent_from(name: str) -> set[str]:
    """Return the names of options that other methods have and this one does not."""
    return all_options() - options_of(name).keys()


def _options(kind: Any) -> dict[str, tuple[str, ...]]:
    return dict(_named(kind))


# Annotations are text that must be evaluated, and every value that is checked asks for them.
@functools.cache
def _named(kind: Any, groups: tuple[str, ...] = ()) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: list[tuple[str, tuple[str, ...]]] = []
    annotations = get_type_hints(kind)
    for f in fields(kind):
        inside = is_dataclass(annotations[f.name])
        found += _named(annotations[f.name], (*groups, f.name)) if inside else [(f.name, groups)]
    return tuple(found)
