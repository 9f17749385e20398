"""Goals that keep a distance from each other, and how D, D′ and D″ are drawn."""

import numpy as np
from jaxtyping import Float

from tesp.errors import ConfigurationError
from tesp.task_sets import TASK_SETS, TaskSet
from tesp.tasks.goals.annulus import Annulus

#: Candidates drawn from the square at once, batches of them before a draw counts as jammed, and restarts.
CANDIDATES = 4096
BATCHES = 30
RESTARTS = 5


def _far_from(points: np.ndarray, others: np.ndarray, spacing: float) -> np.ndarray:
    """Tell which points are at least ``spacing`` metres from all the others."""
    offsets = points[:, None, :] - others[None, :, :]
    return np.all(np.sum(offsets**2, axis=-1) >= spacing**2, axis=1)


def _draw_once(
    generator: np.random.Generator, count: int, area: Annulus, half_width: float, spacing: float
) -> np.ndarray | None:
    """Draw the goals one after the other; None if the area jams before all are placed.

    Candidates are drawn many at once, and the outcome is that of drawing them one at a time.
    """
    goals = np.empty((0, 2))
    for _ in range(BATCHES):
        candidates = generator.uniform(-half_width, half_width, (CANDIDATES, 2))
        candidates = candidates[area.contains(candidates)]
        candidates = candidates[_far_from(candidates, goals, spacing)]
        while len(candidates) and len(goals) < count:
            goals = np.concatenate([goals, candidates[:1]])
            candidates = candidates[1:][_far_from(candidates[1:], candidates[:1], spacing)]
        if len(goals) == count:
            return goals
    return None


def sample_goals(
    generator: np.random.Generator, count: int, area: Annulus, half_width: float, spacing: float
) -> Float[np.ndarray, "goal 2"]:
    """Draw goals uniformly in an annulus, each at least ``spacing`` from those before it.

    Args:
        generator: Source of randomness.
        count: Number of goals.
        area: Where the goals lie.
        half_width: Half the side of the square that candidates are rejected from, in metres.
        spacing: Least distance between any two goals, in metres.

    Returns:
        The goals (x, y) in metres, in the order in which they were drawn.

    Raises:
        ConfigurationError: The goals do not fit, or no draw out of a few placed them all.
    """
    for _ in range(RESTARTS if area.fits(count, spacing) else 0):
        goals = _draw_once(generator, count, area, half_width, spacing)
        if goals is not None:
            return goals
    raise ConfigurationError(
        f"{count} goals at least {spacing:g} m apart could not be placed in "
        f"{area.inner:g} < ρ < {area.outer:g} m: lower spacing or tasks_per_set, or widen the area "
        "(inner_radius, boundary_radius, outer_radius)."
    )


def sample_task_sets(
    name: str, seed: int, count: int, training: Annulus, outside: Annulus, spacing: float
) -> dict[str, TaskSet]:
    """Draw D and D′ in the training area and D″ outside it, ``count`` goals each.

    D and D′ together are one draw of 2·count goals, so that all of them keep the distance from each other;
    D″ keeps it only within itself. The draw depends on the family's name, the seed and the arguments alone.

    Raises:
        ConfigurationError: The seed is negative or not an integer, or the spacing cannot be met.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigurationError(f"seed is {seed!r}; it must be an integer that is not negative.")
    entropy = [int(seed), *name.encode()]
    inside_stream, outside_stream = np.random.SeedSequence(entropy).spawn(2)
    half_width = outside.outer
    inside = sample_goals(np.random.default_rng(inside_stream), 2 * count, training, half_width, spacing)
    beyond = sample_goals(np.random.default_rng(outside_stream), count, outside, half_width, spacing)
    goals = (inside[:count], inside[count:], beyond)
    return {key: TaskSet(key, tasks) for key, tasks in zip(TASK_SETS, goals, strict=True)}
