"""Noise on the state of simulations: dynamics that are not quite those of training."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from tesp.errors import ConfigurationError


class StateNoise:
    """N(0, σ²) on every entry of the state of n simulations, after every control step.

    Every step has a stream of its own, drawn for all simulations in their order, whether they are stepped or not. So no
    simulation's noise depends on which others still run, or on how many simulations come after it. A simulation that
    begins again before the others goes on with the noise of the steps that follow, which is new to it.

    Source: the noise study in the supplement of the TESP paper.
    """

    def __init__(self, sigma: float, seed: Sequence[int], count: int, size: int, first: int = 0):
        """Prepare the noise.

        Args:
            sigma: σ, in the units of each entry (metres, radians and these per second).
            seed: What determines the noise besides the number of resets and steps since.
            count: n.
            size: Entries of one simulation's state.
            first: How many simulations come before these n, where these are some of several.
        """
        self._sigma, self._seed = checked_noise(sigma), list(seed)
        self._shape, self._first = (first + count, size), first
        self._resets = 0
        self.restart()

    def restart(self) -> None:
        """Begin the next episodes, with noise of their own."""
        self._resets += 1
        self._steps = 0

    def draw(self, ids: Int[np.ndarray, " stepped"]) -> Float[np.ndarray, "stepped size"]:
        """Return the noise of one control step for the simulations ``ids``."""
        generator = np.random.default_rng([*self._seed, self._resets, self._steps])
        self._steps += 1
        return self._sigma * generator.standard_normal(self._shape)[self._first :][ids]


def checked_noise(sigma: float) -> float:
    """Return σ, or raise a ConfigurationError that names it."""
    if not (math.isfinite(sigma) and sigma >= 0):
        raise ConfigurationError(f"dynamics_noise = {sigma} is not possible; give a finite number, 0 or more.")
    return float(sigma)
