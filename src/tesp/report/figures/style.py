"""How every figure looks, and how it is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from tesp.errors import ConfigurationError
from tesp.report.figures.fitting import TITLE_PAD, settle, wrapped
from tesp.storage.files import written_beside

#: Okabe and Ito's colours, told apart by every common kind of colour vision; yellow is too faint for lines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

#: Viridis without its yellow end, which is hard to see on white.
COLOURS = ListedColormap(colormaps["viridis"](np.linspace(0.0, 0.9, 256)))

GREY = "#6B7280"
GRID = "#E3E6EA"
TITLE_SIZE = 11
LABEL_SIZE = 10
TICK_SIZE = 9
CAPTION_SIZE = 8.5

#: Width of a legend's label before it goes on in the next line, in inches.
LEGEND_WIDTH = 2.3

#: Height of a further line of a caption, in inches.
CAPTION_LINE = 0.15

#: Share of a figure's width or height that text across it may take.
FULL = 0.97

#: Dots per inch of a figure made of pixels.
RESOLUTION = 150

ANGLES = np.linspace(0.0, 2 * np.pi, 181)

#: The unit circle, (x or y, point).
CIRCLE = np.array([np.cos(ANGLES), np.sin(ANGLES)])


def colour(index: int) -> str:
    """Return the colour of the series ``index``."""
    return PALETTE[index % len(PALETTE)]


def marker(index: int) -> str:
    """Return the marker of the series ``index``; a second pass through the colours has other markers."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def line(index: int) -> dict[str, Any]:
    """Return how the line of the series ``index`` is drawn: dotted from the second pass through the colours on."""
    return {
        "color": colour(index),
        "linewidth": 1.8,
        "linestyle": "-" if index < len(PALETTE) else (0, (1.0, 1.0)),
        "marker": marker(index),
        "markersize": 4,
        "markerfacecolor": "white",
        "markeredgewidth": 1.1,
    }


def blank(size: tuple[float, float], layout: Any = "constrained") -> Figure:
    """Return a new figure without panels; width and height are in inches, ``layout`` is as for `panels`."""
    return Figure(figsize=size, layout=layout, dpi=RESOLUTION)


def panels(
    size: tuple[float, float], rows: int = 1, columns: int = 1, layout: Any = "constrained", **shared: Any
) -> tuple[Figure, np.ndarray]:
    """Return a new figure and its empty panels, (row, column).

    Args:
        size: Width and height in inches.
        rows: Rows of panels.
        columns: Panels in each row.
        layout: Matplotlib's layout engine; ``compressed`` for panels of a fixed aspect.
        **shared: ``sharex`` and ``sharey``.
    """
    figure = blank(size, layout)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def tidy(axes: Axes, title: str, x: str = "", y: str = "") -> None:
    """Give a panel its title and labels, a light grid and no frame at the top and right."""
    axes.set_title(title, fontsize=TITLE_SIZE, pad=TITLE_PAD, parse_math=False)
    axes.set_xlabel(x, fontsize=LABEL_SIZE)
    axes.set_ylabel(y, fontsize=LABEL_SIZE)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=TICK_SIZE, color=GREY)


def scale(values: Sequence[float] | np.ndarray, low: float | None = None) -> Normalize:
    """Return the scale of colours from the least value, or ``low``, to the greatest."""
    least, most = float(np.min(values)) if low is None else low, float(np.max(values))
    return Normalize(least, most if most > least else least + 1.0)


def square(axes: Axes) -> None:
    """Make a panel's view as high as it is wide, with all that it shows."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    half = max(right - left, top - bottom) / 2
    axes.set_xlim((left + right) / 2 - half, (left + right) / 2 + half)
    axes.set_ylim((bottom + top) / 2 - half, (bottom + top) / 2 + half)


def boundary(axes: Axes, radius: float | None, label: str) -> None:
    """Draw the circle that separates the task sets, if there is one; its radius is in metres."""
    if radius is not None:
        axes.plot(*(radius * CIRCLE), ":", color=GREY, linewidth=1.3, label=label)


def starts(axes: Axes, places: Any) -> None:
    """Mark where episodes start, (place, x or y) in metres."""
    axes.scatter(*np.transpose(places), marker="s", s=34, color="black", edgecolors="white", zorder=4, label="start")


def bar(
    figure: Figure, axes: np.ndarray, norm: Normalize, label: str, colours: Colormap = COLOURS, **options: Any
) -> Colorbar:
    """Draw the bar of colours beside panels; ``options`` are matplotlib's."""
    look: dict[str, Any] = {"fraction": 0.03, "pad": 0.015} | options
    drawn = figure.colorbar(ScalarMappable(norm, colours), ax=axes, **look)
    drawn.set_label(label, fontsize=LABEL_SIZE)
    drawn.ax.tick_params(labelsize=TICK_SIZE)
    return drawn


def legend(figure: Figure, place: str = "right center", columns: int | None = None) -> None:
    """Draw one legend beside all panels, each label once; above or below them it lies in a row.

    Long labels go on in the next line, and where there are more entries than fit the rows become shorter and the figure
    higher.

    Args:
        figure: The figure, whose panels have labelled artists.
        place: Where, outside of the panels.
        columns: Most entries in a row; by default one at the right, and all elsewhere.
    """
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    beside = place.startswith("right")
    columns = max(columns or (1 if beside else len(entries)), 1)
    labels = [wrapped(label, LEGEND_WIDTH, LABEL_SIZE) for label in entries]
    look: dict[str, Any] = {"loc": f"outside {place}", "fontsize": LABEL_SIZE, "frameon": False}
    while True:
        drawn = figure.legend(list(entries.values()), labels, ncols=columns, **look)
        for text in drawn.get_texts():
            text.set_parse_math(False)
        box = drawn.get_window_extent()
        if columns == 1 or box.width <= FULL * figure.bbox.width:
            break
        drawn.remove()
        columns -= 1
    height, most = box.height / figure.dpi, figure.get_figheight()
    if beside:
        figure.set_figheight(max(most, height / FULL))
    elif (rows := -(-len(entries) // columns)) > 1:
        figure.set_figheight(most + height * (1 - 1 / rows))


def caption(figure: Figure, text: str) -> None:
    """Write a sentence below the panels, on as many lines as the figure's width needs; many lines make it higher."""
    lines = wrapped(text, FULL * figure.get_figwidth(), CAPTION_SIZE)
    figure.set_figheight(figure.get_figheight() + CAPTION_LINE * max(lines.count("\n") - 1, 0))
    figure.supxlabel(lines, fontsize=CAPTION_SIZE, color=GREY, parse_math=False)


def check_output(output: str | Path) -> Path:
    """Return the path of a figure that can be written there.

    Raises:
        ConfigurationError: The ending is not a known picture format.
    """
    path = Path(output)
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        raise ConfigurationError(
            f"A figure cannot be written to {path}: the ending {path.suffix!r} is not a known format; give "
            "one such as .png, .pdf or .svg."
        )
    return path


def save(figure: Figure, output: str | Path) -> None:
    """Write a figure whole or not at all, making its folder if need be; its texts keep clear of each other.

    Raises:
        ConfigurationError: The ending is not a known picture format.
    """
    path = check_output(output)
    settle(figure)
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=RESOLUTION, facecolor="white")
