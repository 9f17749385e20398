"""Mutations of JSON and of bytes, for tests that range over kinds of damage. Ten times as many with TESP_FUZZ=10."""

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tesp.errors import TespError

#: How many times the usual number of examples is tried.
FACTOR = int(os.environ.get("TESP_FUZZ", "1"))

#: What may stand where something else belongs. As text, for some of it is no Python value.
VALUES = (
    "null", "true", "0", "-1", "1.5", "1e308", "-1e999", "NaN", "1" + "0" * 400, '""', '"text"', '"\\u001b[31m"', "[]",
    "[[]]", "{}", '{"a": 1}', "[1, [2, null]]",
)  # fmt: skip


def refusal(action: Callable[[], object]) -> str | None:
    """Return what the library's own error says that an action ends with; None if it works. Others are passed on."""
    try:
        action()
    except TespError as error:
        return str(error)
    return None


def damaged_json(text: str, count: int, seed: int) -> Iterator[str]:
    """Yield texts like a JSON text with one thing wrong: a value, a missing or an extra key, a torn or strange text."""
    rng = random.Random(seed)
    for _ in range(count * FACTOR):
        kind = rng.random()
        if kind < 0.08:
            yield text[: rng.randrange(len(text))]
        elif kind < 0.12:
            yield rng.choice(["[" * 100_000, '{"a":' * 100_000, "\ufeff" + text, "\x00" * 20, "", "nul"])
        else:
            yield _changed(json.loads(text), rng)


def _changed(value: Any, rng: random.Random) -> str:
    value = copy.deepcopy(value)
    holder, key = rng.choice(list(_places(value)))
    what = rng.random()
    if what < 0.15 and isinstance(holder, dict):
        del holder[key]
    elif what < 0.25 and isinstance(holder, dict):
        holder[key + "_"] = 1
    else:
        holder[key] = "PLACE"
        return json.dumps(value).replace('"PLACE"', rng.choice(VALUES), 1)
    return json.dumps(value)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every place inside a value as what holds it and its key or index."""
    for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
        yield value, key
        if isinstance(inside, dict | list):
            yield from _places(inside)


#: What an environment may return where something else belongs; makers, for some of it is changed by whoever reads it.
RETURNED: tuple[Callable[[], Any], ...] = (
    lambda: None, lambda: True, lambda: -1, lambda: 0.5, lambda: np.nan, lambda: -np.inf, lambda: 1e39,
    lambda: 10**400, lambda: 2j, lambda: "text", lambda: "", lambda: b"\xff", list, lambda: [1.0, 2.0],
    lambda: [[1.0], [1.0, 2.0]], tuple, dict, lambda: {"distance": 1}, lambda: {1, 2}, object,
    lambda: np.float16(1.5), lambda: np.int8(-3), lambda: np.True_, lambda: np.zeros(()), lambda: np.zeros(1),
    lambda: np.zeros(2), lambda: np.zeros((2, 1)), lambda: np.zeros(2, bool), lambda: np.zeros(0),
    lambda: np.array(["a", "b"]), lambda: np.array([None, 1], object), lambda: np.array([1, 2j]),
    lambda: np.datetime64("2020-01-01"), lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
)  # fmt: skip
#: Entries of infos that are read, and one that is not.
_TOLD = ("distance", "distance_reward", "success", "is_success", "healthy", "position", "other", 7)


def strange_returns(count: int, seed: int) -> Iterator[Callable[..., tuple[Any, ...]]]:
    """Yield functions that make of what ``step`` of an environment returns something else, in one place or two."""
    rng = random.Random(seed)
    for _ in range(count * FACTOR):
        places = [(rng.randrange(7), rng.choice(RETURNED), rng.choice(_TOLD)) for _ in range(rng.choice([1, 1, 2]))]

        def change(*returned: Any, places: Any = places) -> Any:
            parts = list(returned)
            for place, make, entry in places:
                if place < 5:
                    parts[place] = make()
                elif place == 5 and isinstance(parts[4], dict):
                    parts[4] = parts[4] | {entry: make()}
                else:
                    parts = [*parts, make()][:5]
            return tuple(parts)

        yield change


def damaged_bytes(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Yield contents with some bytes changed, inserted, removed, or the end cut off."""
    rng = random.Random(seed)
    for _ in range(count * FACTOR):
        place, length = rng.randrange(len(content)), rng.choice([1, 1, 1, 2, 8])
        kind = rng.randrange(4)
        if kind == 0:
            yield content[:place] + rng.randbytes(length) + content[place + length :]
        elif kind == 1:
            yield content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]
        elif kind == 2:
            yield content[:place] + rng.randbytes(length) + content[place:]
        else:
            yield content[:place]
