"""The learned rates α of the fast-updates, layer by layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tesp.errors import ConfigurationError
from tesp.report import words
from tesp.report.figures import style
from tesp.report.figures.fitting import shortened
from tesp.report.records import Record, learned_rates

#: Height of a layer's row in inches, and characters of its name that are shown.
ROW, NAME = 0.42, 36


def plot_rates(records: Sequence[Record], output: str | Path) -> Figure:
    """Draw how the rates of every layer are spread, with the initial rate and the bounds.

    A box holds the middle half of a layer's rates, its whiskers nine tenths, the dots are the least and the greatest,
    and the line within is the median. Beside each layer stands how many of its rates are negative (a step
    up the loss) and how many lie at the bound or beyond, where the fast-updates use the bound itself.

    Args:
        records: Records of a run's ``details.jsonl``; those of other kinds than ``rates`` are passed over.
        output: Where the figure is written; the ending chooses the format.

    Raises:
        ConfigurationError: The method learns no rates, or the ending is not a known format.
    """
    layers = learned_rates(records)
    if not layers:
        raise ConfigurationError("The method learns no rates, so there is none to draw.")
    figure, grid = style.panels((9.4, ROW * len(layers) + 1.75))
    axes = grid[0, 0]
    style.tidy(axes, "Learned rates of the fast-updates", "rate α")
    axes.grid(visible=False, axis="y")
    _draw_limits(axes, layers[0])
    axes.bxp(
        [_statistics(record) for record in layers],
        positions=range(len(layers)),
        orientation="horizontal",
        widths=0.55,
        patch_artist=True,
        boxprops={"facecolor": style.colour(5), "edgecolor": style.colour(0), "alpha": 0.8},
        medianprops={"color": "black", "linewidth": 1.6},
        whiskerprops={"color": style.colour(0)},
        capprops={"color": style.colour(0)},
        flierprops={"marker": "o", "markersize": 3.5, "markerfacecolor": style.colour(0), "markeredgewidth": 0.0},
    )
    names = [f"{shortened(record['layer'], NAME)} ({record['entries']:,})" for record in layers]
    axes.set_yticks(range(len(layers)), names, parse_math=False)
    axes.invert_yaxis()
    _write_shares(axes, layers)
    style.legend(figure, "upper center")
    style.caption(
        figure,
        f"{words.origin(layers[0])}. Box: middle half of the layer's rates; whiskers: 5 to 95 %; dots: least and "
        "greatest; in brackets: number of rates.",
    )
    style.save(figure, output)
    return figure


def _statistics(record: Record) -> dict[str, Any]:
    low, *box, high = (record["quantiles"][name] for name in ("0", "5", "25", "50", "75", "95", "100"))
    names = ("whislo", "q1", "med", "q3", "whishi")
    return {**dict(zip(names, box, strict=True)), "fliers": [low, high]}


def _draw_limits(axes: Axes, record: Record) -> None:
    axes.axvline(0.0, color=style.GREY, linewidth=1.0)
    initial, bound = record["initial_rate"], record["bound"]
    axes.axvline(initial, color=style.colour(1), linestyle="--", linewidth=1.4, label=f"initial rate {initial:g}")
    axes.axvline(bound, color=style.GREY, linestyle=":", linewidth=1.6, label=f"bounds ±{bound:g}")
    axes.axvline(-bound, color=style.GREY, linestyle=":", linewidth=1.6)


def _write_shares(axes: Axes, layers: Sequence[Record]) -> None:
    beside = axes.secondary_yaxis("right")
    shares = [f"{words.percent(r['negative'])} negative, {words.percent(r['at_bound'])} at bound" for r in layers]
    beside.set_yticks(range(len(layers)), shares)
    beside.tick_params(labelsize=style.TICK_SIZE, length=0)
    beside.spines["right"].set_visible(False)
