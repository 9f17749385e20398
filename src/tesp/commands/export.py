"""``tesp export``."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tesp.commands.parsing import Folder, Trust, parse


@dataclass(frozen=True)
class ExportArguments:
    """Write the trained learner as one small file, and what the run measured as CSV tables."""

    run: Folder
    """The run folder."""
    checkpoint: str = "best"
    """Which learner: `best` (highest return on D′), `latest` or a number of meta-updates."""
    output: Path | None = None
    """Folder to write to; by default the run's own folder `export`."""
    trust: Trust = False


def run(arguments: list[str], console: Console) -> None:
    """Export a run."""
    from tesp.report.export import export_records
    from tesp.runs import load
    from tesp.storage.run_folder import RunFolder

    parsed = parse(ExportArguments, arguments, "tesp export")
    output = parsed.output or parsed.run / "export"
    folder = RunFolder.open(parsed.run)
    folder.require_no_links()
    written = export_records(folder.path, output)
    if folder.has_checkpoint:
        written.append(load(parsed.run, parsed.checkpoint, trust=parsed.trust).save(output / "learner.safetensors"))
    else:
        console.print(f"{parsed.run} has no checkpoint yet, so there is no learner to export", markup=False)
    for path in written:
        console.print(f"written: {path}", markup=False)
