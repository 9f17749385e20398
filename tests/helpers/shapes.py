"""Checks of annotated shapes that cost little where functions are called thousands of times.

A check costs more than most functions do, and making one costs more still. Under test the first calls of every function
are checked in every test, and after that one of every few; so are the instances of a class, and the first times that a
function is defined inside another one.
"""

import dataclasses
import functools
import importlib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import jaxtyping

#: Calls of a function in a test that are all checked, and how often one is checked after that.
ALWAYS, THEN_EVERY = 20, 50

#: Definitions of a function inside another one that get a check in a test.
DEFINITIONS = 3

_calls: Counter = Counter()
_definitions: Counter = Counter()
_jaxtyped = jaxtyping.jaxtyped


def forget_calls():
    """Begin again to check every call."""
    _calls.clear()
    _definitions.clear()


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

    def decorated(defined):
        if isinstance(defined, type):
            return _with_sampled_instances(defined, decorate)
        if not callable(defined) or _often_defined(defined):
            return defined
        return _one_of_few(decorate(defined), defined)

    return decorated


def _one_of_few(checked, plain):
    """The function ``plain``, whose first calls and one of every few are those of ``checked``."""

    @functools.wraps(plain)
    def call(*args, **kwargs):
        _calls[plain] += 1
        calls = _calls[plain]
        due = calls <= ALWAYS or calls % THEN_EVERY == 0
        return (checked if due else plain)(*args, **kwargs)

    return call


def _often_defined(function) -> bool:
    """Whether a function inside another one was defined so often that it needs no check of its own any more."""
    code = getattr(function, "__code__", None)
    if code is None or "<locals>" not in function.__qualname__:
        return False
    _definitions[code] += 1
    return _definitions[code] > DEFINITIONS


def _with_sampled_instances(defined: type, decorate) -> type:
    """The class, of whose instances the fields are checked at first and then of one of every few."""
    own = "__init__" in vars(defined) and dataclasses.is_dataclass(defined) and type(defined) is type
    plain = defined.__init__
    checked = decorate(defined)
    if own and checked.__init__ is not plain:
        checked.__init__ = _one_of_few(checked.__init__, plain)
    return checked
