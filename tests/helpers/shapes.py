"""Checks of annotated shapes that cost little where functions are called thousands of times.

A check costs more than most functions do. Under test the first calls of every function are checked in every test, and
after that one of every few.
"""

import functools
import importlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import jaxtyping

#: Calls of a function in a test that are all checked, and how often one is checked after that.
ALWAYS, THEN_EVERY = 20, 50

_calls: Counter = Counter()
_jaxtyped = jaxtyping.jaxtyped


def forget_calls():
    """Begin again to check every call."""
    _calls.clear()


def check_shapes():
    """Check the annotated shapes of every module of tesp that has some, once it is imported."""
    # What a checked module is the first to import would be compiled from its source again, in every process.
    for name in ("equinox", "gymnasium", "matplotlib.pyplot", "mujoco", "optax", "orbax.checkpoint"):
        importlib.import_module(name)
    jaxtyping.jaxtyped = _sampled
    source = Path(find_spec("tesp").origin).parent
    shaped = [
        ".".join(path.relative_to(source.parent).with_suffix("").parts)
        for path in sorted(source.rglob("*.py"))
        if "jaxtyping" in path.read_text(encoding="utf-8")
    ]
    jaxtyping.install_import_hook(shaped, "beartype.beartype")


def _sampled(*args, **kwargs):
    decorate = _jaxtyped(*args, **kwargs)

    def decorated(function):
        checked = decorate(function)
        if isinstance(function, type) or not callable(function):
            return checked

        @functools.wraps(function)
        def call(*args, **kwargs):
            _calls[function] += 1
            calls = _calls[function]
            due = calls <= ALWAYS or calls % THEN_EVERY == 0
            return (checked if due else function)(*args, **kwargs)

        return call

    return decorated
