"""How the library computes, whatever a program has told JAX besides: single precision, and NumPy's broadcasting."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def usual_numerics() -> Iterator[None]:
    """Compute as the library does under JAX's own defaults.

    With double precision switched on, weights would no longer be what files and checkpoints hold; with broadcasting
    between different numbers of axes forbidden, layers would not add their biases. What needs double precision inside
    asks for it by itself.
    """
    with jax.enable_x64(False), jax.numpy_rank_promotion("allow"):
        yield


def with_usual_numerics(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that computes under `usual_numerics`."""

    @wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with usual_numerics():
            return function(*args, **kwargs)

    return wrapped
