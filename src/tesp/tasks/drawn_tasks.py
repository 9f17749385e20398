"""What families share whose tasks a function of the user's own draws: their task sets and their presets."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tesp.errors import ConfigurationError
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks.scales import PAPER, QUICK, SMALL


def merged_presets(given: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the library's presets and others, with the given values before the library's own.

    Those are ``paper``, ``quick`` and ``small`` (`tesp.tasks.scales`); what is given for ``quick`` holds
    in ``small`` too, but for the length of the run.
    """
    length = ("meta_updates", "evaluate_every", "evaluation_tasks")
    sizes = {name: value for name, value in given.get("quick", {}).items() if name not in length}
    own = {"paper": PAPER, "quick": QUICK, "small": {**SMALL, **sizes}}
    return {name: {**own.get(name, {}), **given.get(name, {})} for name in {**own, **given}}


def draw_task_sets(
    name: str, seed: int, count: int, draw: Callable[[np.random.Generator, int, str], np.ndarray]
) -> dict[str, TaskSet]:
    """Draw D, D′ and D″, each from a stream of its own; the same name and seed always give the same streams.

    Args:
        name: The family's name.
        seed: Seed of the streams.
        count: How many tasks each set has.
        draw: (generator, count, name of the task set) → tasks (count, p).

    Raises:
        ConfigurationError: The seed is negative or not an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigurationError(f"seed is {seed!r}; it must be an integer that is not negative.")
    streams = np.random.SeedSequence([int(seed), *name.encode()]).spawn(len(TASK_SETS))
    return {
        task_set: TaskSet(task_set, draw(np.random.default_rng(stream), count, task_set))
        for task_set, stream in zip(TASK_SETS, streams, strict=True)
    }
