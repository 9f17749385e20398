"""How every figure looks, and how it is written."""

import math
import textwrap
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from tesp.errors import ConfigurationError
from tesp.files import written_beside

#: Okabe and Ito's colours, told apart by every common kind of colour vision; yellow is too faint for lines.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

GREY = "#6B7280"
GRID = "#E3E6EA"
TITLE_SIZE = 11
LABEL_SIZE = 10
TICK_SIZE = 9
CAPTION_SIZE = 8.5

#: Characters of a caption that surely fit into an inch.
CAPTION_CHARACTERS = 14

#: Dots per inch of a figure made of pixels.
RESOLUTION = 150

#: The task sets in words, in the paper's order.
TASK_SETS = {
    "train": "Training tasks D",
    "in_distribution": "New tasks D′",
    "out_of_distribution": "Outside the distribution D″",
}

#: How the literature writes an algorithm; any other appears under its own name.
ALGORITHMS = {
    "tesp": "TESP",
    "maml": "MAML",
    "meta-sgd": "Meta-SGD",
    "adapt-sv": "AdaptSV",
    "oracle": "Oracle",
    "tesp-v1": "V1: buffer of all episodes",
    "tesp-v2": "V2: policy adapted too",
    "tesp-v3": "V3: η = 0",
    "tesp-v4": "V4: no fast-update",
    "tesp-v5": "V5: fixed rate",
}

RETURN_LABEL = "average return (m·steps)"


def colour(index: int) -> str:
    """Return the colour of the series ``index``."""
    return PALETTE[index % len(PALETTE)]


def marker(index: int) -> str:
    """Return the marker of the series ``index``; a second pass through the colours has other markers."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def tidy(axes: Axes, title: str) -> None:
    """Give a panel its title, a light grid and no frame at the top and right."""
    axes.set_title(title, fontsize=TITLE_SIZE, pad=8)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(labelsize=TICK_SIZE, color=GREY)


def caption(figure: Figure, text: str) -> None:
    """Write a sentence below the panels, on as many lines as the figure's width needs."""
    lines = textwrap.fill(text, int(CAPTION_CHARACTERS * figure.get_figwidth()))
    figure.supxlabel(lines, fontsize=CAPTION_SIZE, color=GREY)


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


def save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all, making its folder if need be."""
    with written_beside(path) as beside:
        figure.savefig(beside, dpi=RESOLUTION, facecolor="white")


def number(value: float | None, digits: int) -> str:
    """Return a number with a typographic minus; a dash if there is none."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:.{digits}f}".replace("-", "−")


def percent(rate: float | None) -> str:
    """Return a rate in whole per cent; a dash if there is none."""
    return number(rate, 0) if rate is None or math.isnan(rate) else f"{100 * rate:.0f} %"
