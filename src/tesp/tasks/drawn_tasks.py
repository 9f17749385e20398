"""What families share whose tasks a function of the user's own draws: their task sets."""

from collections.abc import Callable

import numpy as np

from tesp.errors import ConfigurationError
from tesp.task_sets import TASK_SETS, TaskSet


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
