"""Methods by name: the configuration each has, and what its name stands for. A method is imported when it is made."""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from tesp.errors import ConfigurationError
from tesp.methods.gradient.settings import ABSENT, GradientConfig, absent_of
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
    """

    config: "str | type[MethodConfig]"
    algorithm: AlgorithmFactory | None = None
    implied: Mapping[str, Any] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()

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


def _gradient(where: str, implied: Mapping[str, Any] | None = None) -> Entry:
    return Entry(GradientConfig, f"tesp.methods.gradient.{where}", implied or {}, ABSENT[where])


METHODS: dict[str, Entry] = {
    "tesp": _gradient("tesp:TESP"),
    "maml": _gradient("maml:MAML"),
    "meta-sgd": _gradient("meta_sgd:MetaSGD"),
    "adapt-sv": _gradient("adapt_sv:AdaptSV"),
    "oracle": _gradient("oracle:Oracle", {"fast_updates": 0}),
    **{name: _gradient("tesp:TESP", implied) for name, implied in ABLATIONS.items()},
}


def register_method(name: str, method: "type[MethodConfig] | Callable[..., Algorithm] | None" = None) -> Any:
    """Give a method a name, under which configurations and the command line find it in this process.

    Called with a name alone, it is a decorator.

    Args:
        name: The name; one that is taken is refused.
        method: A `MethodConfig`; or a `tesp.methods.gradient.algorithm.Algorithm` (or what makes one), which is then a
            method that adapts by gradients and has the options of those that its constructor names.

    Raises:
        ConfigurationError: The name is taken or no name, or the method is neither.
    """
    if method is None:
        return lambda given: register_method(name, given) and given
    if name in METHODS:
        raise ConfigurationError(f"There is a method {name!r} already; give another name.")
    if not name or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789-_."):
        raise ConfigurationError(f"{name!r} is not possible as the name of a method; give small letters, digits and -.")
    if isinstance(method, type) and issubclass(method, MethodConfig):
        if not is_dataclass(method):
            raise ConfigurationError(f"{method.__name__} must be a frozen dataclass, whose fields are the options.")
        METHODS[name] = Entry(method)
    elif callable(method):
        METHODS[name] = Entry(GradientConfig, method, {}, absent_of(method))
    else:
        raise ConfigurationError(f"{method!r} is no method; give a MethodConfig or an Algorithm.")
    return method


def entry_of(name: str) -> Entry:
    """Return what is known of a method.

    Raises:
        ConfigurationError: There is no such method.
    """
    if name not in METHODS:
        raise ConfigurationError(
            f"There is no algorithm {name!r}; known are: {', '.join(METHODS)}. One of your own is known once "
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
    return {option: groups for option, groups in _options(entry.kind, ()).items() if option not in entry.absent}


def all_options() -> set[str]:
    """Return the names of the options of all methods."""
    return {option for name in METHODS for option in _options(METHODS[name].kind, ())}


def absent_from(name: str) -> set[str]:
    """Return the names of options that other methods have and this one does not."""
    return all_options() - options_of(name).keys()


def _options(kind: Any, groups: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for f in fields(kind):
        if is_dataclass(f.type):
            found |= _options(f.type, (*groups, f.name))
        else:
            found[f.name] = groups
    return found
