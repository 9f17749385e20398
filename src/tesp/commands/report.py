"""``tesp report``."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from tesp.commands.parsing import Oracles, Trust, parse
from tesp.commands.reproducing import reproducing_command
from tesp.errors import ConfigurationError, TespError


@dataclass(frozen=True)
class ReportArguments:
    """Write one HTML file with all there is to know about one or several runs of a family."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The run folders."""
    output: Path | None = None
    """The file to write; by default `report.html` in the run folder, or here for several runs."""
    oracle: Oracles = ()
    trust: Trust = False


def run(arguments: list[str], console: Console) -> None:
    """Write a report."""
    parsed = parse(ReportArguments, arguments, "tesp report")
    if not parsed.runs:
        raise ConfigurationError("`tesp report` needs one run folder or more; `tesp list` shows the runs there are.")
    alone = parsed.runs[0] / "report.html" if len(parsed.runs) == 1 else Path("report.html")
    output = write_report(parsed.runs, parsed.output or alone, parsed.oracle, parsed.trust)
    console.print(f"written: {output} ({output.stat().st_size / 1e6:.1f} MB)", markup=False)


def write_report(folders: Sequence[Path], output: Path, oracle: Sequence[Path] = (), trust: bool = False) -> Path:
    """Write the report of runs of one family to a file, whole or not at all, and return its path.

    What can be drawn from records, the details of single tasks among them, is drawn for the report. The folders
    themselves are left as they are.

    Args:
        folders: The run folders.
        output: The file, which may exist.
        oracle: Runs of the oracle, or folders of runs; by default those that lie beside the runs.
        trust: Whether a copy of a family's file may be run although your own training did not write it: it says which
            presets the family has. Without, the report lacks the command that trains the run.

    Raises:
        RunFolderError: A folder is not a run's, is damaged or has no evaluation.
        ConfigurationError: The runs are of several families or cannot be compared, or the file cannot be written.
    """
    from tesp.report.page.page import render
    from tesp.runs.stored import run_of_today
    from tesp.storage.files import write_whole
    from tesp.trust import allow

    _check_output(output)
    _check_runs(folders)
    for folder in folders if trust else ():
        allow(folder)
    own = _own_oracles(folders, oracle)
    with tempfile.TemporaryDirectory() as drawn:
        sources = [_source(folder, Path(drawn) / str(number), own[number]) for number, folder in enumerate(folders)]
        combined = _combined(folders, Path(drawn), oracle) if len(folders) > 1 else None
        text = render(sources, combined, run_of_today)
    try:
        write_whole(output, text)
    except OSError as error:
        raise ConfigurationError(
            f"The report cannot be written to {output}: {error.strerror}. Free some space or give another file with "
            "--output."
        ) from error
    return output


def _check_output(output: Path) -> None:
    if output.suffix.lower() not in (".html", ".htm"):
        raise ConfigurationError(f"The report {output} must be an HTML file; give a name that ends in .html.")
    if output.is_dir():
        raise ConfigurationError(f"The report {output} is a folder; give the name of a file with --output.")
    above = next(parent for parent in output.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise ConfigurationError(
            f"The report {output} cannot be written, since {above} is not a folder that you may write to; give another "
            "file with --output."
        )


def _check_runs(folders: Sequence[Path]) -> None:
    from tesp.runs.stored import stored_config
    from tesp.storage.run_folder import RunFolder

    families = {stored_config(RunFolder.open(folder)).family: folder for folder in folders}
    if len(families) > 1:
        found = ", ".join(f"{family!r} ({folder})" for family, folder in families.items())
        raise ConfigurationError(f"The runs are of several families: {found}; write one report for each family.")


def _own_oracles(folders: Sequence[Path], named: Sequence[Path]) -> list[list[Path]]:
    """Return for each run the oracle of its own among those that are named; nothing for any if none is."""
    from tesp.report.oracles import oracle_folders
    from tesp.runs.stored import run_of_today

    if not named:
        return [[] for _ in folders]
    runs = [run_of_today(folder) for folder in folders]
    return [[found] for found in oracle_folders(folders, runs, named, run_of_today) if found is not None]


def _source(folder: Path, drawn: Path, oracle: Sequence[Path]):
    """Return a run with the command that reproduces it, and with what can be drawn from its records."""
    from tesp.commands.showing import draw, draw_details, stored_details
    from tesp.config import preset_config, to_json
    from tesp.report.page.page import Source
    from tesp.runs.stored import run_of_today, stored_config
    from tesp.storage.run_folder import RunFolder
    from tesp.storage.strict_json import loads

    config = stored_config(RunFolder.open(folder))
    # Of today, for there runs of version 0.1 differ from their preset in nothing but values.
    run = run_of_today(folder)
    draw([folder], "meta_updates", drawn, Console(quiet=True), oracle=oracle)
    details = stored_details(folder / "details.jsonl")
    if details:
        draw_details(details, drawn, Console(quiet=True))
    command, reason, preset = None, "", None
    try:
        own = preset_config(config.family_reference, config.preset, config.algorithm, seed=config.seed)
        preset = loads(to_json(own))
        command = reproducing_command(config)
    except TespError as error:
        reason = str(error)
    return Source(folder, run, command, reason, preset, sorted(drawn.glob("*.png")), details, oracle)


def _combined(folders: Sequence[Path], drawn: Path, oracle: Sequence[Path]) -> Path:
    """Draw the learning curves of all runs in one figure, with a bootstrap interval over seeds like the table's."""
    from tesp.report.figures.learning_curves import plot_learning_curves
    from tesp.report.oracles import oracles_of
    from tesp.runs.stored import run_of_today

    path, runs = drawn / "learning_curves.png", [run_of_today(folder) for folder in folders]
    plot_learning_curves(runs, path, band="bootstrap", oracles=oracles_of(folders, runs, oracle, run_of_today))
    return path
