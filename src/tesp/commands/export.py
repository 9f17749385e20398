"""``tesp export``."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tesp.commands.parsing import Folder, parse


@dataclass(frozen=True)
class ExportArguments:
    """Write the trained learner as one small file, and what the run measured as CSV tables."""

    run: Folder
    """The run folder."""
    checkpoint: str = "best"
    """Which learner: `best` (highest return on D′), `latest` or a number of meta-updates."""
    output: Path | None = None
    """Folder to write to; by default the run's own folder `export`."""


def run(arguments: list[str], console: Console) -> None:
    """Export a run."""
    parsed = parse(ExportArguments, arguments, "tesp export")
    output = parsed.output or parsed.run / "export"
    for path in [*_tables(parsed.run, output), *_learner(parsed.run, parsed.checkpoint, output, console)]:
        console.print(f"written: {path}", markup=False)


def _learner(folder: Path, checkpoint: str, output: Path, console: Console) -> list[Path]:
    """Write the learner, if the run has come to a checkpoint."""
    from tesp.runs import load
    from tesp.training.run_folder import RunFolder

    if not RunFolder.open(folder).has_checkpoint:
        console.print(f"{folder} has no checkpoint yet, so there is no learner to export", markup=False)
        return []
    return [load(folder, checkpoint).save(output / "learner.safetensors")]


def _tables(folder: Path, output: Path) -> list[Path]:
    """Write the records."""
    from tesp.plotting.export import export_records
    from tesp.training.run_folder import RunFolder

    return export_records(RunFolder.open(folder).path, output)
