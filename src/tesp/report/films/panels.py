"""The pages of a film: panels side by side, each with its title above and its step and return below."""

from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from tesp.report.figures.fitting import shortened
from tesp.report.films.playing import Episode
from tesp.tasks.drawing import HALF_WIDTH, draw_plane

#: Most panels in a row, and their width in pixels in a row of few and of many.
MOST_COLUMNS = 5
WIDE, NARROW = 400, 320

PAPER = (255, 255, 255)
INK = (32, 38, 46)
FAINT = (96, 105, 118)

_MARGIN = 10
_HEADING, _TITLE, _CAPTION = 34, 30, 28


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib brings along, which has primes, Greek letters and the minus sign."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(mpl.get_data_path()) / "fonts" / "ttf" / name, size)


def write_centred(draw: ImageDraw.ImageDraw, text: str, centre: tuple[float, float], width: int, **style) -> None:
    """Write one line about a point, smaller if it is wider than ``width`` pixels, and in the end without its middle.

    Args:
        draw: What is written on.
        text: The line.
        centre: Where its middle is, in pixels.
        width: Its greatest width, in pixels.
        **style: ``size`` (pixels), ``bold`` and ``fill``.
    """
    size, bold, fill = style.get("size", 16), style.get("bold", False), style.get("fill", INK)
    while size > 8 and draw.textlength(text, font(size, bold)) > width:
        size -= 1
    most = len(text)
    while most > 1 and draw.textlength(shortened(text, most), font(size, bold)) > width:
        most -= 1
    text = shortened(text, most)
    draw.text(centre, text, font=font(size, bold), fill=fill, anchor="mm")


def panel_width(count: int) -> int:
    """Return the width of one of ``count`` panels, in pixels."""
    return WIDE if count < MOST_COLUMNS else NARROW


class Page:
    """Draws the frames of a film.

    Args:
        episodes: One a panel; all with pictures of one size, or none with any.
        heading: A line above all panels; empty for none.
        boundary_radius: Radius of the circle in drawings of the plane, in metres; None for no circle.
        half_width: From the middle to the edge of drawings of the plane, in metres.
    """

    def __init__(
        self,
        episodes: list[Episode],
        heading: str = "",
        boundary_radius: float | None = None,
        half_width: float = HALF_WIDTH,
    ):
        self._episodes = episodes
        self._boundary_radius, self._half_width = boundary_radius, half_width
        count = len(episodes)
        width = panel_width(count)
        self._panel = episodes[0].size if episodes[0].pictures else (width, width)
        self._columns = min(count, MOST_COLUMNS)
        self._top = _MARGIN + (_HEADING if heading else 0)
        rows = -(-count // self._columns)
        self.size = (
            self._columns * (self._panel[0] + _MARGIN) + _MARGIN,
            self._top + rows * (_TITLE + self._panel[1] + _CAPTION + _MARGIN),
        )
        self._canvas = Image.new("RGB", self.size, PAPER)
        draw = ImageDraw.Draw(self._canvas)
        if heading:
            middle = (self.size[0] / 2, _MARGIN + _HEADING / 2 - 2)
            write_centred(draw, heading, middle, self.size[0] - 2 * _MARGIN, size=18, bold=True)
        for number, episode in enumerate(episodes):
            x, y = self._corner(number)
            write_centred(draw, episode.title, (x + self._panel[0] / 2, y - _TITLE / 2), self._panel[0], size=17)
        self._drawn: list[int] = [-1] * count

    @property
    def length(self) -> int:
        """Steps of the longest episode."""
        return max(episode.length for episode in self._episodes)

    def frame(self, step: int) -> UInt8[np.ndarray, "height width 3"]:
        """Return the frame after ``step`` steps; episodes that are over show how they ended."""
        for number, episode in enumerate(self._episodes):
            moment = min(step, episode.length)
            if self._drawn[number] != moment:
                self._draw_panel(number, episode, moment)
                self._drawn[number] = moment
        return np.array(self._canvas)

    def _corner(self, number: int) -> tuple[int, int]:
        row, column = divmod(number, self._columns)
        x = _MARGIN + column * (self._panel[0] + _MARGIN)
        return x, self._top + _TITLE + row * (_TITLE + self._panel[1] + _CAPTION + _MARGIN)

    def _draw_panel(self, number: int, episode: Episode, moment: int) -> None:
        x, y = self._corner(number)
        width, height = self._panel
        picture = episode.picture(moment) if episode.pictures else self._plane(episode, moment)
        self._canvas.paste(Image.fromarray(picture), (x, y))
        draw = ImageDraw.Draw(self._canvas)
        draw.rectangle((x, y + height, x + width, y + height + _CAPTION), fill=PAPER)
        words = [f"step {moment}", f"return {episode.returns[moment]:.1f}".replace("-", "−")]
        if moment == episode.length and episode.success:
            words.append("arrived")
        write_centred(draw, " · ".join(words), (x + width / 2, y + height + _CAPTION / 2), width, fill=FAINT)

    def _plane(self, episode: Episode, moment: int) -> np.ndarray:
        path = np.array(episode.positions[: moment + 1])
        return draw_plane(
            path[-1],
            episode.goal,
            self._boundary_radius,
            path=path,
            half_width=self._half_width,
            size=self._panel[0],
        )
