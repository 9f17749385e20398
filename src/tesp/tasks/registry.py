"""Families by name, and the five of this library as Gymnasium environments."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any

import gymnasium

from tesp.errors import ConfigurationError
from tesp.tasks.ant import AntFamily
from tesp.tasks.base import Family
from tesp.tasks.point import PointFamily
from tesp.tasks.reacher import Reacher2Family, Reacher4Family
from tesp.tasks.wheeled import WheeledFamily

FamilyFactory = Callable[..., Family]

_FACTORIES: dict[str, FamilyFactory] = {
    "point": PointFamily,
    "wheeled": WheeledFamily,
    "ant": AntFamily,
    "reacher2": Reacher2Family,
    "reacher4": Reacher4Family,
}

#: Gymnasium environments and the families they are made of.
ENVIRONMENTS = {
    "tesp/Point-v0": "point",
    "tesp/Wheeled-v0": "wheeled",
    "tesp/Ant-v0": "ant",
    "tesp/Reacher2-v0": "reacher2",
    "tesp/Reacher4-v0": "reacher4",
}


def families() -> list[str]:
    """Return the names of all families, in the order in which they were registered."""
    return list(_FACTORIES)


def register_family(name: str, factory: FamilyFactory) -> None:
    """Make a family available under a name, for instance for the command line.

    Args:
        name: The name; must be free, or taken by the same factory.
        factory: Called with the family's options as keyword arguments.

    Raises:
        ConfigurationError: The name is empty or belongs to another factory.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"The family's name is {name!r}; it must be a text that is not empty.")
    if _FACTORIES.setdefault(name, factory) is not factory:
        raise ConfigurationError(f"A family named {name!r} is registered already; choose another name.")


def make_family(name: str, **options: Any) -> Family:
    """Make a family by name. An option that is None keeps the family's own default.

    Raises:
        ConfigurationError: The name or an option is unknown, or an option's value is not possible.
    """
    if name not in _FACTORIES:
        known = ", ".join(_FACTORIES)
        raise ConfigurationError(f"There is no family {name!r}{_nearest(name, families())}; known are: {known}.")
    factory = _FACTORIES[name]
    given = {option: value for option, value in options.items() if value is not None}
    allowed = option_names(factory)
    for option in options:
        if allowed is not None and option not in allowed:
            raise ConfigurationError(
                f"The family {name!r} has no option {option!r}{_nearest(option, allowed)}; "
                f"its options are: {', '.join(allowed) or 'none'}."
            )
    return factory(**given)


def option_names(factory: FamilyFactory) -> list[str] | None:
    """Return the names of a factory's options, or None if it takes any."""
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY]


def register_environments() -> None:
    """Register the families with Gymnasium, for instance ``tesp/Ant-v0``; calling it again does nothing.

    Keyword arguments of ``gymnasium.make`` are the family's options, but for the horizon: that is
    ``max_episode_steps``, after which episodes are truncated.
    """
    for identifier, name in ENVIRONMENTS.items():
        if identifier not in gymnasium.registry:
            gymnasium.register(
                identifier,
                entry_point="tesp.tasks.environment:FamilyEnvironment",
                max_episode_steps=_FACTORIES[name]().horizon,
                kwargs={"family": name},
            )


def _nearest(word: str, known: list[str]) -> str:
    matches = difflib.get_close_matches(str(word), known, n=1)
    return f" (did you mean {matches[0]!r}?)" if matches else ""
