"""``tesp plot``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from tesp.commands.parsing import parse
from tesp.commands.showing import draw
from tesp.errors import ConfigurationError


@dataclass(frozen=True)
class PlotArguments:
    """Draw the figures of one or several runs of a family."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The run folders; runs that differ in the seed only are averaged."""
    x: Literal["meta_updates", "environment_steps", "wall_seconds"] = "meta_updates"
    """What the horizontal axis shows."""
    published: bool = False
    """Lay the paper's own curves over these; there are some for the ant."""
    output: Path | None = None
    """Folder of the figures; by default `figures` in the run folder, or here for several runs."""


def run(arguments: list[str], console: Console) -> None:
    """Draw figures."""
    parsed = parse(PlotArguments, arguments, "tesp plot")
    if not parsed.runs:
        raise ConfigurationError("`tesp plot` needs one run folder or more; `tesp list` shows the runs there are.")
    alone = parsed.runs[0] / "figures" if len(parsed.runs) == 1 else Path("figures")
    draw(list(parsed.runs), parsed.x, parsed.output or alone, console, parsed.published)
