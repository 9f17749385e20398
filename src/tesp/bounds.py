"""Checks of the values of settings; each names the value, what is allowed and what to do."""

import math
from typing import Any

from tesp.errors import ConfigurationError


def impossible(name: str, value: Any, instead: str) -> ConfigurationError:
    """Return the error that a value is not possible; ``instead`` says what to give."""
    return ConfigurationError(f"{name} = {value} is not possible; give {instead}.")


def require_at_least(settings: Any, least: int, *names: str) -> None:
    """Refuse fields below ``least``, and NaN."""
    for name in names:
        if not (value := getattr(settings, name)) >= least:
            raise impossible(name, value, f"{least} or more")


def require_positive(settings: Any, *names: str) -> None:
    """Refuse fields that are not positive."""
    for name in names:
        if not (value := getattr(settings, name)) > 0:
            raise impossible(name, value, "a positive number")


def require_weight(settings: Any, *names: str) -> None:
    """Refuse fields that are negative, infinite or NaN."""
    for name in names:
        if not 0 <= (value := getattr(settings, name)) < math.inf:
            raise impossible(name, value, "0 or a finite number above")


def require_share(settings: Any, *names: str) -> None:
    """Refuse fields that are not between 0 and 1."""
    for name in names:
        if not 0 <= (value := getattr(settings, name)) <= 1:
            raise impossible(name, value, "a number from 0 to 1")
