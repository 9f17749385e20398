"""A picture of the plane drawn with NumPy alone, for the point and wherever a body cannot be rendered."""

import itertools

import numpy as np
from jaxtyping import Float, UInt8

#: Side of the image in pixels, and metres from its centre to its edge.
SIZE = 480
HALF_WIDTH = 2.0

BACKGROUND = (246, 247, 249)
BOUNDARY_COLOUR = (150, 160, 175)
PATH_COLOUR = (128, 166, 214)
GOAL_COLOUR = (214, 64, 69)
AGENT_COLOUR = (38, 84, 162)

#: Half the width of a line in pixels.
_LINE = 1.5


def draw_plane(
    position: Float[np.ndarray, "2"],
    goal: Float[np.ndarray, "2"] | None,
    boundary_radius: float | None,
    *,
    path: Float[np.ndarray, "point 2"] | None = None,
    half_width: float = HALF_WIDTH,
    size: int = SIZE,
) -> UInt8[np.ndarray, "size size 3"]:
    """Draw the boundary of the training area, the path so far, the goal and the agent; x to the right, y upwards.

    Args:
        position: The agent (x, y) in metres.
        goal: The goal (x, y) in metres; None to draw none.
        boundary_radius: Radius of the circle about the origin, in metres; None to draw none.
        path: Where the agent has been, in metres; by default no path is drawn.
        half_width: From the image's centre to its edge, in metres.
        size: Side of the image in pixels.
    """
    pixel = 2 * half_width / size
    ticks = (np.arange(size) + 0.5) * pixel - half_width
    x, y = np.meshgrid(ticks, -ticks)
    # Marks keep their size on the image, however much of the plane it shows.
    scale = half_width / HALF_WIDTH

    def disc(centre: np.ndarray, radius: float) -> np.ndarray:
        return _cover(radius * scale - np.hypot(x - centre[0], y - centre[1]), pixel)

    shapes = []
    if boundary_radius is not None:
        shapes.append((_cover(_LINE * pixel - np.abs(np.hypot(x, y) - boundary_radius), pixel), BOUNDARY_COLOUR))
    if path is not None:
        shapes.append((_path(path, x, y, pixel), PATH_COLOUR))
    if goal is not None:
        shapes.append((disc(goal, 0.06), GOAL_COLOUR))
    shapes.append((disc(position, 0.05), AGENT_COLOUR))
    image = np.broadcast_to(np.array(BACKGROUND, float), (size, size, 3))
    for cover, colour in shapes:
        image = image + cover[..., None] * (np.array(colour, float) - image)
    return np.rint(image).astype(np.uint8)


def _path(path: np.ndarray, x: np.ndarray, y: np.ndarray, pixel: float) -> np.ndarray:
    """Return how much of each pixel a polyline covers; each of its segments touches the pixels near it only."""
    size = len(x)
    cover = np.zeros_like(x)
    for start, end in itertools.pairwise(path):
        low, high = np.minimum(start, end) / pixel - 3, np.maximum(start, end) / pixel + 3
        columns = slice(*np.clip([size / 2 + low[0], size / 2 + high[0]], 0, size).astype(int))
        rows = slice(*np.clip([size / 2 - high[1], size / 2 - low[1]], 0, size).astype(int))
        distance = _distance_to_segment(x[rows, columns], y[rows, columns], start, end)
        cover[rows, columns] = np.maximum(cover[rows, columns], _cover(_LINE * pixel - distance, pixel))
    return cover


def _distance_to_segment(x: np.ndarray, y: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    way = end - start
    along = (x - start[0]) * way[0] + (y - start[1]) * way[1]
    share = np.clip(along / max(float(way @ way), 1e-12), 0.0, 1.0)
    return np.hypot(x - start[0] - share * way[0], y - start[1] - share * way[1])


def _cover(depth: np.ndarray, pixel: float) -> np.ndarray:
    """Return how much of each pixel a shape covers, from its centre's depth inside the shape in metres."""
    return np.clip(depth / pixel + 0.5, 0.0, 1.0)
