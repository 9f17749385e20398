"""Checks of what families and simulations are given, with errors that name the value."""

import math
from numbers import Integral, Real
from typing import Any

import numpy as np
from jaxtyping import Float

from tesp.errors import ConfigurationError, NonFiniteError


def checked_count(name: str, value: Any) -> int:
    """Return a number of things, or raise a ConfigurationError that names the value."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ConfigurationError(f"{name} is {value!r}; it must be an integer of at least 1.")
    return int(value)


def checked_length(name: str, value: Any) -> float:
    """Return a length in metres, or raise a ConfigurationError that names the value."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < 0:
        raise ConfigurationError(f"{name} is {value!r}; it must be a finite length in metres, not negative.")
    return float(value)


def check_name(name: Any) -> None:
    """Refuse a family's name that is no text or empty.

    Raises:
        ConfigurationError: It is.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"name is {name!r}; it must be a text that is not empty.")


def check_simulate(count: int, threads: int) -> None:
    """Check the arguments of ``simulate``.

    Raises:
        ConfigurationError: There is no simulation to make, or the number of threads is negative.
    """
    checked_count("count", count)
    if isinstance(threads, bool) or not isinstance(threads, Integral) or threads < 0:
        raise ConfigurationError(f"threads is {threads!r}; it must be a positive integer, or 0 for all cores.")


def clip_actions(actions: np.ndarray, ids: np.ndarray, size: int) -> Float[np.ndarray, "stepped action"]:
    """Return the actions of the simulations ``ids``, clipped to [−1, 1] in double precision.

    Raises:
        ConfigurationError: There is not one action of ``size`` entries for every simulation.
        NonFiniteError: An action is NaN or infinite; the engine would silently take it for zero.
    """
    if actions.shape != (len(ids), size):
        raise ConfigurationError(f"actions have shape {actions.shape}; it must be ({len(ids)}, {size}).")
    finite = np.isfinite(actions)
    if not finite.all():
        blamed = int(np.asarray(ids)[~finite.all(axis=1)][0])
        raise NonFiniteError("action", detail=f"simulation {blamed}")
    return np.clip(actions.astype(np.float64, copy=False), -1.0, 1.0)


def finite_numbers(count: int) -> str:
    """Return what a task is made of, as errors say it: "1 finite number", "2 finite numbers"."""
    return f"{count} finite number{'' if count == 1 else 's'}"


def checked_tasks(tasks: np.ndarray, count: int, size: int, what: str) -> Float[np.ndarray, "simulation parameter"]:
    """Return a copy of the tasks that a reset is given, one a simulation.

    Args:
        tasks: What was given.
        count: Number of simulations.
        size: Number of parameters of a task.
        what: What a task is, for the error.

    Raises:
        ConfigurationError: There is not one task of finite numbers for every simulation.
    """
    copied = np.array(tasks, dtype=np.float64)
    if copied.shape != (count, size) or not np.isfinite(copied).all():
        raise ConfigurationError(
            f"tasks have shape {copied.shape}; reset takes {what} for each of {count} simulations."
        )
    return copied
