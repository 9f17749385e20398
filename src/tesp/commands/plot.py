"""``tesp plot``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console

from tesp.commands.parsing import Oracles, Trust, parse
from tesp.commands.showing import draw, draw_details, find_details, load_for_details
from tesp.errors import ConfigurationError
from tesp.report.records import read_run
from tesp.storage.run_folder import RunFolder


@dataclass(frozen=True)
class PlotArguments:
    """Draw the figures of one or several runs of a family."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The run folders; runs that differ in the seed only are averaged."""
    x: Literal["meta_updates", "environment_steps", "wall_seconds"] = "meta_updates"
    """What the horizontal axis shows."""
    published: bool = False
    """Lay the paper's own curves over these; there are some for the ant."""
    details: bool = True
    """For a single run: draw the paths on every task, the embeddings and the learned rates too. What they show is
    measured first, unless `details.jsonl` has it already."""
    checkpoint: str = "best"
    """Checkpoint of these details: `best` (highest return on D′), `latest` or a number of meta-updates."""
    tasks: int | None = None
    """Tasks of each set in these details, from the first (0: all); by default the `evaluation_tasks` of the run."""
    output: Path | None = None
    """Folder of the figures; by default `figures` in the run folder, or here for several runs."""
    oracle: Oracles = ()
    trust: Trust = False


def run(arguments: list[str], console: Console) -> None:
    """Draw figures."""
    parsed = parse(PlotArguments, arguments, "tesp plot")
    if not parsed.runs:
        raise ConfigurationError("`tesp plot` needs one run folder or more; `tesp list` shows the runs there are.")
    if parsed.tasks is not None and parsed.tasks < 0:
        raise ConfigurationError(f"tasks = {parsed.tasks} is not possible; give 1 or more, or 0 for all tasks.")
    first, *others = parsed.runs
    output = parsed.output or (Path("figures") if others else first / "figures")
    if output == first / "figures" and first.is_dir():
        RunFolder(first).require_no_links()
    if others or not parsed.details:
        draw(list(parsed.runs), parsed.x, output, console, parsed.published, parsed.oracle)
        return
    # What is wrong with the records is said before a checkpoint is looked for.
    read_run(first)
    loaded, reason = load_for_details(first, parsed.checkpoint, parsed.trust)
    draw([first], parsed.x, output, console, parsed.published, parsed.oracle)
    if loaded is None:
        console.print(f"left out: paths on every task, embeddings and learned rates. {reason}", markup=False)
        return
    draw_details(find_details(loaded, parsed.tasks, console), output, console)
