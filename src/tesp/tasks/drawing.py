"""A picture of the plane drawn with NumPy alone, for the point."""

import numpy as np
from jaxtyping import Float, UInt8

#: Side of the image in pixels, and metres from its centre to its edge.
SIZE = 480
HALF_WIDTH = 2.0

BACKGROUND = (246, 247, 249)
BOUNDARY_COLOUR = (150, 160, 175)
GOAL_COLOUR = (214, 64, 69)
AGENT_COLOUR = (38, 84, 162)


def draw_plane(
    position: Float[np.ndarray, "2"], goal: Float[np.ndarray, "2"], boundary_radius: float
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the boundary of the training area, the goal and the agent; x to the right, y upwards.

    Args:
        position: The agent (x, y) in metres.
        goal: The goal (x, y) in metres.
        boundary_radius: Radius of the circle about the origin, in metres.
    """
    pixel = 2 * HALF_WIDTH / SIZE
    ticks = (np.arange(SIZE) + 0.5) * pixel - HALF_WIDTH
    x, y = np.meshgrid(ticks, -ticks)

    def disc(centre: np.ndarray, radius: float) -> np.ndarray:
        return _cover(radius - np.hypot(x - centre[0], y - centre[1]), pixel)

    ring = _cover(1.5 * pixel - np.abs(np.hypot(x, y) - boundary_radius), pixel)
    image = np.broadcast_to(np.array(BACKGROUND, float), (SIZE, SIZE, 3))
    for cover, colour in (
        (ring, BOUNDARY_COLOUR),
        (disc(goal, 0.06), GOAL_COLOUR),
        (disc(position, 0.05), AGENT_COLOUR),
    ):
        image = image + cover[..., None] * (np.array(colour, float) - image)
    return np.rint(image).astype(np.uint8)


def _cover(depth: np.ndarray, pixel: float) -> np.ndarray:
    """Return how much of each pixel a shape covers, from its centre's depth inside the shape in metres."""
    return np.clip(depth / pixel + 0.5, 0.0, 1.0)
