"""The step size of Adam over a run: fixed schedules, and one that follows the KL divergence."""

import jax
import numpy as np
from jaxtyping import Float

from tesp.adaptation.settings import MetaUpdateSettings

#: The step size is lowered if less than this share of the epochs was below the bound of the KL divergence.
SHARE = 0.6
#: What it is then multiplied with, and what it is multiplied with if all were below.
LOWER, RAISE = 0.85, 1.1


def step_size(settings: MetaUpdateSettings, found: float, done: int, total: int) -> float:
    """Return the step size of a meta-update.

    Args:
        settings: Schedule and first step size η₀.
        found: What the schedule ``adaptive`` has found so far; see `following`.
        done: Meta-updates done before this one, t.
        total: Meta-updates of the run, T.

    Returns:
        ``constant``: η₀. ``linear``: η₀·(1 − t/T). ``last_third``: η₀·min(1, 3·(1 − t/T)). ``adaptive``: ``found``, but
        no more than its ceiling.
    """
    left = 1.0 - done / total
    if settings.learning_rate_schedule == "adaptive":
        return _below_ceiling(settings, found, left)
    factor = {"constant": 1.0, "linear": left, "last_third": min(1.0, 3.0 * left)}[settings.learning_rate_schedule]
    return settings.learning_rate * factor


def following(settings: MetaUpdateSettings, found: float, used: float, kl: Float[np.ndarray, " candidate"]) -> float:
    """Return what ``adaptive`` has found after a meta-update; the other schedules leave it alone.

    With s the share of the steps after which the mean KL divergence was below its bound,

        0.85·used if s < 0.6,   1.1·found if s = 1,   else found,   kept inside the range.

    Where the ceiling held the step size down, s = 1 says nothing of larger ones and nothing is raised. What was found
    stays above a falling ceiling, so that a run which is given more meta-updates goes on from it. Under the ceiling
    ``last_third``, which is relative to what was found, that is what is lowered: 0.85·found.

    Args:
        settings: Schedule, range and bound.
        found: What was found before the meta-update.
        used: The step size of the meta-update; see `step_size`.
        kl: Mean KL divergence of the candidates after 0, 1, … steps; NaN where none was computed.
    """
    if settings.learning_rate_schedule != "adaptive":
        return found
    share = admissible_share(settings, kl)
    low, high = settings.learning_rate_range
    if share < SHARE:
        return max((found if settings.learning_rate_ceiling == "last_third" else used) * LOWER, low)
    return min(found * RAISE, high) if share == 1.0 and used == found else found


def admissible_share(settings: MetaUpdateSettings, kl: Float[np.ndarray, " candidate"]) -> float:
    """Return s, the share of the steps after which the mean KL divergence was below its bound.

    Steps that were not taken, because an earlier one went beyond the bound, count as if they had gone beyond it too.

    Args:
        settings: The bound.
        kl: As for `following`.
    """
    return float(np.mean(kl[1:] < settings.kl_bound))


def _below_ceiling(settings: MetaUpdateSettings, found: float, left: float) -> float:
    low, high = settings.learning_rate_range
    left = max(left, 0.0)
    match settings.learning_rate_ceiling:
        case "constant":
            return min(found, high)
        case "linear":
            return min(found, low + (high - low) * left)
        case "last_third":
            return found - (found - low) * max(
                1.0 - 3.0 * left, 0.0
            )  # exactly found before, which `following` asks for


def averaged(average, parameters, decay: float, count: int):
    """Return the moving average of parameters, p̄ ← β p̄ + (1 − β) p with β = min(decay, n / (n + 1)).

    So it is the plain mean of all parameters so far until that many have been seen.

    Args:
        average: p̄ of n parameters, a pytree of arrays.
        parameters: The next ones, p.
        decay: Greatest β.
        count: n.
    """
    beta = min(decay, count / (count + 1))
    return jax.tree.map(
        lambda old, new: np.asarray(old * beta + new * (1.0 - beta), np.asarray(new).dtype), average, parameters
    )
