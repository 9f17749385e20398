"""Families by name or by file."""

import inspect
import pkgutil
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, cast, get_args, get_origin

from tesp.errors import ConfigurationError, describe_error, nearest
from tesp.tasks import family_files

# What families are made of is imported where one is made: names alone must cost nothing.
if TYPE_CHECKING:
    from tesp.tasks.family import Family

FamilyFactory = Callable[..., "Family"]

#: Families by name: a factory, a family, or where one of them is found as ``module:name``.
_FACTORIES: dict[str, "FamilyFactory | Family | str"] = {
    "point": "tesp.tasks.point:PointFamily",
    "wheeled": "tesp.tasks.wheeled:wheeled",
    "ant": "tesp.tasks.ant:ant",
    "reacher2": "tesp.tasks.reacher:reacher2",
    "reacher4": "tesp.tasks.reacher:reacher4",
    "half-cheetah-velocity-v1": "tesp.tasks.classic.half_cheetah:half_cheetah_velocity",
    "half-cheetah-direction-v1": "tesp.tasks.classic.half_cheetah:half_cheetah_direction",
    "ant-direction-v1": "tesp.tasks.classic.ant:ant_direction",
    "ant-goal-v1": "tesp.tasks.classic.ant:ant_goal",
    "humanoid-direction-v1": "tesp.tasks.classic.humanoid:humanoid_direction",
    "walker-parameters-v1": "tesp.tasks.classic.runners:walker_parameters",
    "hopper-parameters-v1": "tesp.tasks.classic.runners:hopper_parameters",
}


def families() -> list[str]:
    """Return the names of all families, in the order in which they were registered."""
    return list(_FACTORIES)


def register_family(name: str, factory: "FamilyFactory | Family") -> None:
    """Make a family available under a name in this process, for instance for a configuration.

    Args:
        name: The name; must be free, or taken by the same factory.
        factory: Called with the family's options as keyword arguments; or a family, of which the options are replaced.

    Raises:
        ConfigurationError: The name is empty or belongs to another factory.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"The family's name is {name!r}; it must be a text that is not empty.")
    if name in _FACTORIES and _registered(name) is not factory:
        raise ConfigurationError(f"A family named {name!r} is registered already; choose another name.")
    _FACTORIES[name] = factory


def make_family(name: str, **options: Any) -> "Family":
    """Make a family by name. An option that is None keeps the family's own default.

    Args:
        name: The name of a registered family, or ``FILE.py:NAME``: a family in a file of your own, or a class or
            function there that makes one. A relative path counts from the working directory. The file is imported once
            in a process.
        **options: For an instance in a file, what replaces its own options.

    Raises:
        ConfigurationError: The name or an option is unknown, an option's value is not possible, or the file cannot be
            imported.
    """
    factory, allowed = _factory(name)
    given = {option: value for option, value in options.items() if value is not None}
    for option in options:
        if allowed is not None and option not in allowed:
            raise ConfigurationError(
                f"The family {name!r} has no option {option!r}{nearest(option, allowed)}; "
                f"its options are: {', '.join(allowed) or 'none'}."
            )
    if name in _FACTORIES:
        return factory(**given)
    return _made_by_file(name, factory, given)


def _factory(name: str) -> tuple[FamilyFactory, list[str] | None]:
    """Return what makes a family, and the names of the options it takes (None: any)."""
    found: Any
    if name in _FACTORIES:
        found = _registered(name)
    elif family_files.is_reference(name):
        found = family_files.load(name)
    else:
        known = ", ".join(_FACTORIES)
        raise ConfigurationError(
            f"There is no family {name!r}{nearest(name, families())}; known are: {known}. "
            "A family in a file of your own is FILE.py:NAME."
        )
    from tesp.tasks.family import Family

    if isinstance(found, Family):
        return partial(_changed, found), list(found.options)
    if not callable(found):
        raise ConfigurationError(f"{name} is {found!r}; it must be a Family, or a class or function that returns one.")
    return cast(FamilyFactory, found), option_names(cast(FamilyFactory, found))


def _registered(name: str) -> "FamilyFactory | Family":
    """Return what a name was registered with; the library's own are imported now."""
    found = _FACTORIES[name]
    return pkgutil.resolve_name(found) if isinstance(found, str) else found


def _changed(family: "Family", **options: Any) -> "Family":
    """Return a family with other options; the family itself if there are none."""
    return family.with_options(**options) if options else family


def _made_by_file(name: str, factory: FamilyFactory, given: dict[str, Any]) -> "Family":
    """Call what a file defines, and say what is wrong if that fails or returns something else."""
    try:
        family = factory(**given)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{name} cannot make a family: {describe_error(error)}.") from error
    from tesp.tasks.family import Family

    if not isinstance(family, Family):
        raise ConfigurationError(f"{name} returned {family!r}; it must return a Family (see tesp.tasks.family).")
    return family


def option_names(factory: FamilyFactory) -> list[str] | None:
    """Return the names of a factory's options, or None if it takes any.

    ``**options: Unpack[T]`` stands for the keys of the typed dictionary T.
    """
    names: list[str] = []
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            if get_origin(parameter.annotation) is not Unpack:
                return None
            names += get_args(parameter.annotation)[0].__annotations__
        elif parameter.kind is not parameter.POSITIONAL_ONLY:
            names.append(parameter.name)
    return names
