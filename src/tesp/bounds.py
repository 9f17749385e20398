"""Checks of the values of settings; each names the value, what is allowed and what to do."""

import dataclasses
import math
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from tesp.errors import ConfigurationError, shown


class Settings:
    """Base of frozen dataclasses of settings: every value is taken as what its field is, or refused.

    From Python may come numbers of NumPy and JAX, lists for tuples, one number where there may be several. From the
    command line and from files everything comes as what it is. Nothing is taken for what it is not: no text for a
    number, no truth value for a count, nothing infinite.
    """

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        own: Callable[[Any], None] | None = cls.__dict__.get("__post_init__")
        above = getattr(super(cls, cls), "__post_init__", None) if own is None else None

        def check(self: Any) -> None:
            right = [_take(self, name, kind) for name, kind in _kinds(type(self)).items()]
            if not all(right):
                return  # What compares values needs them to be what they should be.
            try:
                if own is not None:
                    own(self)
                elif above is not None:
                    above(self)
            except ConfigurationError as error:
                _refuse(error)

        cls.__post_init__ = check  # pyright: ignore[reportAttributeAccessIssue]


#: What was found so far by `all_together`; None where the first thing that is wrong is raised.
_FOUND: ContextVar[list[ConfigurationError] | None] = ContextVar("found", default=None)


@contextmanager
def all_together() -> Iterator[None]:
    """Let settings be made inside with whatever values, and say at the end all that is wrong with them.

    Raises:
        ConfigurationError: Values are not possible; a sentence for each.
    """
    if _FOUND.get() is not None:
        yield
        return
    found: list[ConfigurationError] = []
    token = _FOUND.set(found)
    try:
        yield
    except ConfigurationError as error:
        found.append(error)
    except Exception:
        # Of values that are not possible nothing else can be made.
        if not found:
            raise
    finally:
        _FOUND.reset(token)
    sentences = dict.fromkeys(map(str, found))
    if len(sentences) == 1:
        raise found[0]
    if sentences:
        raise ConfigurationError(" ".join(sentences))


def _refuse(error: ConfigurationError) -> None:
    if (found := _FOUND.get()) is None:
        raise error
    found.append(error)


def _take(settings: Settings, name: str, kind: Any) -> bool:
    """Take the value of a field as what the field is; return whether it could be."""
    try:
        object.__setattr__(settings, name, taken(name, getattr(settings, name), kind))
    except ConfigurationError as error:
        _refuse(error)
        return False
    return True


@cache
def _kinds(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def taken(name: str, value: Any, kind: Any) -> Any:
    """Return a value as what a field is.

    Args:
        name: Name of the field.
        value: What was given.
        kind: The field's type: a number, a text, one of several, a tuple of one kind, or None besides; others are taken
            as they are.

    Raises:
        ConfigurationError: It is something else; names field and value.
    """
    if get_origin(kind) in (Union, types.UnionType):
        if value is None and type(None) in get_args(kind):
            return None
        kinds = [one for one in get_args(kind) if one is not type(None)]
        return taken(name, value, kinds[0]) if len(kinds) == 1 else value
    if get_origin(kind) is Literal:
        if not isinstance(value, str | int) or value not in get_args(kind):
            raise impossible(name, shown(value), f"one of {', '.join(map(str, get_args(kind)))}")
        return value
    if get_origin(kind) is tuple:
        several = value.tolist() if hasattr(value, "__array__") else value
        entries = several if isinstance(several, list | tuple) else (several,)
        first, *others = get_args(kind)
        if others == [...]:
            return tuple(taken(name, entry, first) for entry in entries)
        if len(entries) != 1 + len(others):
            raise impossible(name, shown(value), f"{1 + len(others)} values")
        return tuple(map(taken, [name] * len(entries), entries, (first, *others)))
    if kind in _SCALARS:
        spoken, take = _SCALARS[kind]
        try:
            return take(value)
        except (TypeError, ValueError, OverflowError):
            raise impossible(name, shown(value), spoken) from None
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and not isinstance(value, kind):
        raise impossible(name, shown(value), f"a {kind.__name__}")
    return value


def _plain(value: Any, kinds: str) -> Any:
    """Return a number of NumPy or JAX as Python's, or refuse it if it is of none of the kinds, as NumPy calls them."""
    if isinstance(value, str | bytes | list | tuple | dict | set) or value is None:
        raise TypeError
    import numpy as np  # Slow to import, and not needed for what comes from files and the command line.

    array = np.asarray(value)
    if array.shape != () or array.dtype.kind not in kinds:
        raise TypeError
    return array.item()


def _integer(value: Any) -> int:
    number = value if type(value) is int else _plain(value, "iu")
    if abs(number) >= 2**63:
        raise OverflowError
    return number


def _real(value: Any) -> float:
    number = float(value if type(value) in (int, float) else _plain(value, "iuf"))
    if not math.isfinite(number):
        raise OverflowError
    return number


def _truth(value: Any) -> bool:
    return value if type(value) is bool else _plain(value, "b")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return str(value)


_SCALARS: dict[Any, tuple[str, Callable[[Any], Any]]] = {
    int: ("an integer below 2⁶³", _integer),
    float: ("a finite number", _real),
    bool: ("True or False", _truth),
    str: ("a text", _text),
}


def impossible(name: str, value: Any, instead: str) -> ConfigurationError:
    """Return the error that a value is not possible; ``instead`` says what to give."""
    return ConfigurationError(f"{name} = {value} is not possible; give {instead}.")


def require_at_least(settings: Any, least: int, *names: str) -> None:
    """Refuse fields below ``least``, and NaN."""
    for name in names:
        if not (value := getattr(settings, name)) >= least:
            _refuse(impossible(name, value, f"{least} or more"))


def require_positive(settings: Any, *names: str) -> None:
    """Refuse fields that are not positive."""
    for name in names:
        if not (value := getattr(settings, name)) > 0:
            _refuse(impossible(name, value, "a positive number"))


def require_weight(settings: Any, *names: str) -> None:
    """Refuse fields that are negative, infinite or NaN."""
    for name in names:
        if not 0 <= (value := getattr(settings, name)) < math.inf:
            _refuse(impossible(name, value, "0 or a finite number above"))


def require_share(settings: Any, *names: str) -> None:
    """Refuse fields that are not between 0 and 1."""
    for name in names:
        if not 0 <= (value := getattr(settings, name)) <= 1:
            _refuse(impossible(name, value, "a number from 0 to 1"))
