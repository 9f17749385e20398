"""What an agent sees and does, as it is stored."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tesp.interface import Interface, nested_tuple
from tesp.storage.strict_json import structured


@dataclass(frozen=True)
class _Stored:
    observation_shape: tuple[int, ...]
    action_low: Any
    action_high: Any
    task_size: int
    horizon: int


def interface_from(stored: Any) -> Interface:
    """Return the interface that ``dataclasses.asdict`` made the stored object of.

    Raises:
        ValueError: It is of another form, or its values are not possible; names the field.
    """
    found = structured(stored, _Stored)
    if any(size < 1 for size in found.observation_shape) or math.prod(found.observation_shape) > _MOST:
        raise ValueError(f"observation_shape = {found.observation_shape} is not possible")
    for name, least in (("task_size", 0), ("horizon", 1)):
        if not least <= getattr(found, name) <= _MOST:
            raise ValueError(f"{name} = {getattr(found, name)} is not possible")
    low, high = (_bounds(name, getattr(found, name)) for name in ("action_low", "action_high"))
    if low.shape != high.shape or not (low <= high).all():
        raise ValueError("action_low and action_high are not the least and greatest values of one action")
    return Interface(
        found.observation_shape,
        nested_tuple(found.action_low),
        nested_tuple(found.action_high),
        found.task_size,
        found.horizon,
    )


#: Sizes above this are damage: nothing could hold them.
_MOST = 2**31


def _bounds(name: str, nested: Any) -> np.ndarray:
    try:
        bounds = np.array(nested)
    except (ValueError, OverflowError):
        bounds = np.array(None)
    if bounds.dtype.kind not in "if" or not np.isfinite(bounds).all():
        raise ValueError(f"{name} is not made of finite numbers")
    return bounds
