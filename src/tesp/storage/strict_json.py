"""JSON as this library writes and reads it: no NaN or Infinity is written, and what is read is of the right kind."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_origin

import cattrs
from cattrs.cols import (
    homogenous_tuple_structure_factory,
    is_mapping,
    list_structure_factory,
    mapping_structure_factory,
)
from cattrs.gen import make_dict_structure_fn
from cattrs.v import format_exception

from tesp.errors import RunFolderError, TespError


def dumps(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON that every reader takes: null where a number is NaN or infinite (RFC 8259 has neither)."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(x) for name, x in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(x) for x in value]
    return value


def loads(text: str | bytes) -> Any:
    """Return what JSON says; NaN and Infinity, which earlier versions wrote, are taken.

    Raises:
        ValueError: It is no JSON, is not UTF-8, or is nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def read_json(path: Path, kind: Any = dict) -> Any:
    """Return what a file of JSON holds, as a value of a kind.

    Args:
        path: The file.
        kind: A dataclass, or another type that `structured` takes.

    Raises:
        RunFolderError: It cannot be read, is no JSON, or holds something else; one sentence that names file and field.
    """
    try:
        return structured(loads(path.read_bytes()), kind)
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged: {error}. Restore it.") from error


def structured(value: Any, kind: Any) -> Any:
    """Return what JSON said as a value of a kind, with nothing turned into what it is not.

    Args:
        value: From `loads`.
        kind: A dataclass, or a type made of dataclasses, lists, tuples, dictionaries, numbers and strings.

    Raises:
        ValueError: It is of another kind, or a dataclass refused a value; names every field.
    """
    try:
        return converter().structure(value, kind)
    except Exception as error:
        raise ValueError(reasons(error)) from error


def reasons(error: BaseException) -> str:
    """Say what is wrong with which field after a converter failed; our own messages are passed on as they are."""

    def describe(reason: BaseException, kind: Any) -> str:
        return str(reason) if isinstance(reason, TespError | _OtherKindError) else format_exception(reason, kind)

    if not isinstance(error, ExceptionGroup):
        return str(error).rstrip(".")
    return "; ".join(cattrs.transform_error(error, format_exception=describe)).rstrip(".")


class _OtherKindError(TypeError):
    """A value is of another kind than its field."""


def converter() -> cattrs.Converter:
    """Return a converter that takes a value only where it is of the field's kind, and an object only without extras."""
    made = cattrs.Converter()
    for kind, spoken in ((str, "a text"), (bool, "true or false"), (int, "an integer"), (float, "a finite number")):
        made.register_structure_hook(kind, _exactly(kind, spoken))
    for asked, factory, stored, spoken in (
        (dataclasses.is_dataclass, _of_dataclass, dict, "an object"),
        (is_mapping, mapping_structure_factory, dict, "an object"),
        (_is_list, list_structure_factory, list, "a list"),
        (_is_tuple, homogenous_tuple_structure_factory, list, "a list"),
    ):
        made.register_structure_hook_factory(asked, _only_from(factory, stored, spoken))
    return made


def _of_dataclass(kind: Any, made: cattrs.Converter) -> Callable:
    return make_dict_structure_fn(kind, made, _cattrs_forbid_extra_keys=True)


def _only_from(factory: Callable, stored: type, spoken: str) -> Callable:
    def hook_of(kind: Any, made: cattrs.Converter) -> Callable:
        hook = factory(kind, made)

        def structure(value: Any, asked: Any) -> Any:
            if not isinstance(value, (stored, tuple) if stored is list else stored):
                raise _OtherKindError(f"{spoken} is needed, not {_shown(value)}")
            return hook(value, asked)

        return structure

    return hook_of


def _exactly(kind: type, spoken: str) -> Callable:
    def structure(value: Any, _: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        fits = number and _is_finite(value) if kind is float else type(value) is kind
        if not fits:
            raise _OtherKindError(f"{spoken} is needed, not {_shown(value)}")
        return kind(value)

    return structure


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _shown(value: Any) -> str:
    """Return a value as JSON, shortened: files may hold anything."""
    try:
        text = json.dumps(value, default=repr)
    except RecursionError:
        text = "lists in lists"
    return text if len(text) <= 40 else f"{text[:37]}…"


def _is_list(kind: Any) -> bool:
    return kind is list or get_origin(kind) is list


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple and kind.__args__[-1:] == (...,)
