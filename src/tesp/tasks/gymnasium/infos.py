"""What environments tell in ``info``, of one environment or of many side by side."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from tesp.errors import EnvironmentFailedError, shown

#: Entries of ``info`` that are read, and what each of them is.
FLAGS, NUMBERS, POSITION = ("success", "is_success", "healthy"), ("distance_reward", "distance"), "position"


class UselessError(Exception):
    """Something was returned that cannot be used."""


def read_info(info: Any) -> dict[str, Any]:
    """Return what is read of an ``info``, each entry of one kind; an entry that is None is not told.

    Raises:
        UselessError: It is no dictionary, or an entry is of another kind; names it.
    """
    if not isinstance(info, Mapping):
        raise UselessError(f"info is {shown(info)}, which is no dictionary")
    found: dict[str, Any] = {}
    for key, (name, read) in _READERS.items():
        value = info.get(key)
        if value is not None:
            found[key] = read(name, value)
    return found


def number_of(name: str, value: Any) -> float:
    """Return a real number, or refuse a value by name."""
    if type(value) is float:
        return value
    array = _array(value)
    if array.shape != () or array.dtype.kind not in "fiub":
        raise UselessError(f"{name} is {shown(value)}, which is no real number")
    return float(array)


def flag_of(name: str, value: Any) -> bool:
    """Return what is true or false, or refuse a value by name."""
    if type(value) is bool:
        return value
    array = _array(value)
    if array.shape != () or array.dtype.kind not in "fiub" or array not in (0, 1):
        raise UselessError(f"{name} is {shown(value)}, which is neither true nor false")
    return bool(array)


def _position(name: str, value: Any) -> np.ndarray:
    array = _array(value)
    if array.ndim != 1 or len(array) < 2 or array.dtype.kind not in "fiub":
        raise UselessError(f"{name} is {shown(value)}, which is no list of two numbers or more")
    return array[:2].astype(np.float64)


_READERS = {
    key: (f"info[{key!r}]", read)
    for keys, read in ((FLAGS, flag_of), (NUMBERS, number_of), ((POSITION,), _position))
    for key in keys
}


def _array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError:
        return np.array(None)


def told_by_all(info: Mapping[str, Any], key: str, otherwise: Any, size: int) -> np.ndarray:
    """Return one number a place of what ``info`` tells; ``otherwise`` where a place tells nothing."""
    default = np.array(np.broadcast_to(np.asarray(otherwise), (size,)))
    values, told = _numbers(info, key, size, ())
    return np.where(told, values, default)


def positions_of_all(info: Mapping[str, Any], size: int) -> Float[np.ndarray, "place 2"]:
    """Return the first two entries of the positions that ``info`` tells; NaN where a place tells none."""
    values, told = _numbers(info, POSITION, size, (2,))
    return np.where(told[:, None], values, np.nan)


def _numbers(
    info: Mapping[str, Any], key: str, size: int, shape: tuple[int, ...]
) -> tuple[Float[np.ndarray, "place *shape"], Bool[np.ndarray, " place"]]:
    """Return what ``info`` tells under a key, with a row a place, and which places told it.

    Raises:
        EnvironmentFailedError: A place tells something else; names the key. Environments that were made here do not:
            they are checked one by one.
    """
    given, found = info.get(key), np.zeros((size, *shape))
    if given is None:
        return found, np.zeros(size, bool)
    try:
        told = np.array(np.broadcast_to(np.asarray(info.get(f"_{key}", True), bool), (size,)))
        if len(given) != size:
            raise ValueError
        values = np.asarray(given) if isinstance(given, np.ndarray) else np.array([*given, None], object)[:-1]
        if values.dtype == np.dtype(object):
            told &= np.array([value is not None for value in values])
            for place in np.flatnonzero(told):
                found[place] = _read(np.asarray(values[place])[None], shape)[0]
        else:
            found[:] = _read(values, shape)
    except (TypeError, ValueError) as error:
        raise EnvironmentFailedError(
            f"info[{key!r}] of the vector environment is {shown(given, 80)}; it must hold "
            f"{'a number' if not shape else 'two numbers or more'} for each of the {size} environments, or None"
        ) from error
    return found, told


def _read(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the leading entries of rows of real numbers, or refuse them."""
    if values.dtype.kind not in "fiub" or values.ndim != 1 + len(shape) or (shape and values.shape[1] < shape[0]):
        raise ValueError
    return (values[:, : shape[0]] if shape else values).astype(float)
