"""The areas of the plane in which goals lie."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

#: The densest packing of equal discs in the plane, π/√12: more goals than this cannot exist at all.
DENSEST_PACKING = math.pi / math.sqrt(12.0)


@dataclass(frozen=True)
class Annulus:
    """The points with inner < ρ < outer about the origin.

    Attributes:
        inner: Least distance from the origin, in metres.
        outer: Greatest distance from the origin, in metres.
    """

    inner: float
    outer: float

    def contains(self, points: Float[np.ndarray, "point 2"]) -> np.ndarray:
        """Tell which points lie strictly inside."""
        squared = points[:, 0] ** 2 + points[:, 1] ** 2
        return (self.inner**2 < squared) & (squared < self.outer**2)

    def fits(self, count: int, spacing: float) -> bool:
        """Tell whether ``count`` points could be ``spacing`` apart at the densest packing.

        Discs of radius s/2 about the points do not overlap and stay within the annulus widened by s/2.
        """
        radius = spacing / 2
        area = math.pi * ((self.outer + radius) ** 2 - max(self.inner - radius, 0.0) ** 2)
        return count == 1 or count * math.pi * radius**2 <= DENSEST_PACKING * area
