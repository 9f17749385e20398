"""Texts of a figure that fit: how wide they are, and what is done where they would lie on each other."""

import re
from functools import cache
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.ticker import FixedLocator, MaxNLocator
from matplotlib.transforms import Bbox

#: Every change moves the panels a little, so the texts are looked at again, so often at most.
ROUNDS = 8

#: Panels whose edges moved by less than so many pixels stand still.
STILL = 2.0

#: Least distance between two labels of an axis, in points.
GAP = 3.0

#: Distance of a title from its panel in points, and that from one above which an axis has its power of ten.
TITLE_PAD, ABOVE_POWER = 8.0, 22.0

_MEASURE = TextToPath()


@cache
def width_of(text: str, size: float) -> float:
    """Return the width of one line of text in inches; ``size`` is in points."""
    width, _, _ = _MEASURE.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return width / 72


def wrapped(text: str, width: float, size: float) -> str:
    """Return a text on lines that are at most ``width`` inches wide.

    Lines end between words where they can, else behind a hyphen, an underscore or a slash, else anywhere.
    """
    lines = []
    for paragraph in text.split("\n"):
        line = ""
        for piece in re.findall(r"\s+|[^\s\-_/]+[\-_/]*|[\-_/]+", paragraph):
            if line.strip() and width_of((line + piece).rstrip(), size) > width:
                lines.append(line.rstrip())
                line = ""
            line = (line + piece).lstrip() if not line else line + piece
            while len(line) > 1 and width_of(line.rstrip(), size) > width:
                fitting = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or width_of(line[:n], size) <= width)
                lines.append(line[:fitting])
                line = line[fitting:]
        lines.append(line.rstrip())
    return "\n".join(lines)


def shortened(text: str, most: int) -> str:
    """Return a text of at most so many characters, the middle of a longer one left out."""
    if len(text) <= most:
        return text
    head = most // 2
    return f"{text[:head]}…{text[len(text) - (most - head - 1) :]}"


def settle(figure: Figure) -> None:
    """Lay a figure out such that titles stay within their panels and no label of an axis lies on the next one.

    Titles go on in the next line; of an axis with too many numbers there are fewer. The layout is kept as it is then.
    """
    titles = {axes: axes.get_title() for axes in figure.axes}
    before: list[float] = []
    for _ in range(ROUNDS):
        figure.draw_without_rendering()
        thinned: set[int] = set()
        changed = [_fit_title(axes, title) for axes, title in titles.items() if title]
        changed += [_thin(axis, thinned) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
        # One pass of the layout leaves room for texts as they were before it.
        edges = [edge for axes in figure.axes for edge in axes.bbox.extents]
        moved = len(before) != len(edges) or max(abs(np.subtract(edges, before)), default=0.0) > STILL
        before = edges
        if not moved and not any(changed):
            break
    figure.set_layout_engine("none")


def _fit_title(axes: Axes, title: str) -> bool:
    """Wrap a title to its panel, and lift it above the power of ten of the vertical axis; say whether it moved."""
    room = axes.bbox.width / axes.figure.dpi
    size = float(axes.title.get_fontsize())
    text = wrapped(title, room, size)
    power = axes.yaxis.get_offset_text()
    covered = bool(power.get_text()) and power.get_visible()
    covered = covered and axes.title.get_window_extent().overlaps(power.get_window_extent())
    if text == axes.get_title() and not covered:
        return False
    axes.set_title(text, fontsize=size, pad=ABOVE_POWER if covered else TITLE_PAD)
    return True


def shown_labels(axis: Axis) -> list[Bbox]:
    """Return where the labels of an axis lie that are drawn, in pixels and in the order of their ticks."""
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    boxes = []
    for tick in sorted(axis.get_major_ticks(), key=lambda tick: tick.get_loc()):
        seen = axis.get_visible() and low - slack <= tick.get_loc() <= high + slack
        for label in (tick.label1, tick.label2) if seen else ():
            if label.get_visible() and label.get_text():
                boxes.append(label.get_window_extent())
    return boxes


def _thin(axis: Axis, thinned: set[int]) -> bool:
    """Take ticks from an axis whose labels lie on each other; say whether it has fewer now."""
    locator, boxes = axis.get_major_locator(), shown_labels(axis)
    # Panels that share an axis share what finds its ticks.
    if id(locator) in thinned or not any(_close(one, other, axis.figure.dpi) for one, other in pairwise(boxes)):
        return False
    thinned.add(id(locator))
    if isinstance(locator, MaxNLocator) and len(boxes) > 2:
        locator.set_params(nbins=max(1, len(boxes) - 2))
    elif isinstance(locator, FixedLocator) and len(boxes) > 1:
        axis.set_major_locator(FixedLocator(axis.get_majorticklocs()[::2].tolist()))
    else:
        return False
    return True


def _close(one: Bbox, other: Bbox, dpi: float) -> bool:
    gap = GAP * dpi / 72
    return Bbox.from_extents(one.x0, one.y0, one.x1 + gap, one.y1).overlaps(
        Bbox.from_extents(other.x0, other.y0, other.x1 + gap, other.y1)
    )
