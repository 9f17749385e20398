"""``tesp sweep``."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from tesp.commands.parsing import parse, with_value
from tesp.commands.running import RunningArguments, worker_of


@dataclass(frozen=True)
class SweepArguments:
    """Train families × methods × seeds × options, as a file says; then write a table and a figure for each choice."""

    file: tyro.conf.Positional[Path]
    """What is to be trained, as TOML."""
    output: Path | None = None
    """Folder of the sweep; by default runs/sweep-NAME for NAME.toml."""
    on: tyro.conf.OmitArgPrefixes[RunningArguments] = field(default_factory=RunningArguments)
    """Where and how the runs are trained."""


def run(arguments: list[str], console: Console) -> None:
    """Train what a file says."""
    given = parse(SweepArguments, with_value(arguments, "--ray", "local"), "tesp sweep")
    from tesp import compare, sweep

    work = worker_of(given.on)
    said = sweep.read_sweep(given.file)
    output = given.output or Path("runs") / f"sweep-{given.file.stem}"
    console.print(f"folder of the sweep: {output}", markup=False)
    if given.on.dry_run:
        from tesp.estimating import show_plan

        folders, _ = sweep.planned(said, output)
        compare.check(folders)
        show_plan(folders, output, console)
        return
    for path in sweep.sweep(said, output, console, work):
        console.print(f"written: {path}", markup=False)
