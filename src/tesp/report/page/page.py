"""The report itself: what it says about each run, and the one file it becomes."""

import base64
import contextlib
import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tesp.errors import ConfigurationError, RunFolderError
from tesp.report.comparison import comparison_rows
from tesp.report.oracles import Reader, oracle_beside, oracles_of
from tesp.report.page import sentences, tables
from tesp.report.page.media import read_figures, read_films, read_medium
from tesp.report.records import Record, RunRecords, has_embeddings, has_paths, learned_rates, read_run
from tesp.report.results import Result, in_metres, results_of_run
from tesp.storage.identity import FIELD
from tesp.storage.records import read_records
from tesp.storage.strict_json import read_json


@dataclass(frozen=True)
class Source:
    """A run and what cannot be read from its folder.

    Attributes:
        folder: The run folder.
        run: What it holds.
        command: The command that reproduces the run, or None where there is none.
        why_no_command: Why there is none.
        preset: The configuration that the run's preset alone would give, as JSON would hold it; None if not known.
        drawn: Figures that were drawn from the run's records for the report; they go before those of the same name
            in the folder, which may be of earlier records.
        details: Records of every task by itself and of the learned rates; empty if there are none.
        oracle: The run of the oracle, if one was named; otherwise one that lies beside the run is taken.
    """

    folder: Path
    run: RunRecords
    command: str | None
    why_no_command: str = ""
    preset: Mapping[str, Any] | None = None
    drawn: Sequence[Path] = ()
    details: Sequence[Record] = ()
    oracle: Sequence[Path] = ()


def render(sources: Sequence[Source], combined: Path | None = None, read: Reader = read_run) -> str:
    """Return the report of one run, or of several runs of one family, as HTML that loads nothing from elsewhere.

    Args:
        sources: The runs.
        combined: A figure with the learning curves of all runs.
        read: What reads the folder of an oracle; as the runs were read.

    Raises:
        RunFolderError: A run has no evaluation, or one of its files is damaged.
        ConfigurationError: Several runs cannot be compared: see `tesp.report.comparison.comparison_rows`.
    """
    runs = [source.run for source in sources]
    results = _results(sources, read)
    metres = in_metres(results)
    environment = Environment(
        loader=PackageLoader("tesp.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The digest lets this one style sheet through; whatever else a page could load or run is refused by the browser.
    sheet = environment.get_template("report.css").render()
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        style=Markup(sheet),
        digest=digest,
        title=f"{sentences.methods_of(runs)} on {runs[0].config['family']}",
        facts=_facts(sources),
        headlines=sentences.headlines(results),
        findings=sentences.findings(results),
        metres=metres,
        results=tables.results_table(results),
        note=f"{sentences.UNITS[metres]} {sentences.OVER_TASKS if len(sources) == 1 else sentences.OVER_SEEDS}",
        note_of_one=sentences.OVER_TASKS,
        combined=None if combined is None else read_medium(combined),
        sections=[_section(source, read) for source in sources],
    )


def _results(sources: Sequence[Source], read: Reader) -> list[Result]:
    runs = [source.run for source in sources]
    if len(sources) == 1:
        return results_of_run(runs[0], oracle_beside(sources[0].folder, runs[0], sources[0].oracle, read))
    rows = comparison_rows(runs)
    named = [oracle for source in sources for oracle in source.oracle]
    # Oracles that lie beside the runs were not asked for, so one that does not fit is left out rather than refused.
    with contextlib.nullcontext() if named else contextlib.suppress(ConfigurationError):
        oracles = oracles_of([source.folder for source in sources], runs, named, read)
        rows = comparison_rows([*runs, *oracles])
    return tables.over_seeds(rows)


def _facts(sources: Sequence[Source]) -> list[tuple[str, str]]:
    def told(name: str) -> str:
        return ", ".join(dict.fromkeys(str(source.run.config.get(name, "–")) for source in sources))

    dates = sorted({_date(source.folder) for source in sources})
    return [
        ("Family", told("family")),
        ("Method", sentences.methods_of([source.run for source in sources])),
        ("Preset", told("preset")),
        ("Seeds" if len(sources) > 1 else "Seed", told("seed")),
        ("Trained", dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"),
    ]


def _section(source: Source, read: Reader) -> dict[str, Any]:
    """Return what the report says about one run, by the names that the template uses; every table may be None."""
    run, folder = source.run, source.folder
    names = {path.name for path in source.drawn}
    paths = [
        *source.drawn,
        *(path for path in sorted((folder / "figures").glob("*")) if path.name not in names and not path.is_symlink()),
    ]
    adaptations = read_records(folder / "adaptations.jsonl", empty=True)
    evaluations = read_records(folder / "evaluations.jsonl", empty=True)
    return {
        "name": run.name,
        "training": sentences.training_of(run),
        "date": _date(folder),
        "results": tables.results_table(results_of_run(run, oracle_beside(folder, run, source.oracle, read))),
        "figures": read_figures(paths),
        "films": read_films(paths),
        "missing": _missing(source, paths),
        "adaptations": tables.adaptations_table(adaptations) if adaptations else None,
        "adaptations_left_out": max(0, len({r.get("adaptation_id") for r in adaptations}) - tables.ADAPTATIONS),
        "evaluations": tables.evaluations_table(evaluations) if evaluations else None,
        "differences": None if source.preset is None else tables.differences_table(run.config, source.preset),
        "configuration": tables.configuration_table(run.config),
        "versions": _versions(folder),
        "command": source.command,
        "why_no_command": source.why_no_command,
    }


def _missing(source: Source, paths: Sequence[Path]) -> list[str]:
    """Return the commands that make what the report does not show yet."""
    stems = {path.stem for path in paths}
    folder = source.folder
    place = shlex.quote(str(folder))
    commands = []
    if not stems.issuperset(_possible(source.details)):
        commands.append(f"tesp plot {place}")
    if not read_films(paths):
        commands.append(f"tesp render {place}")
    if not (folder / "adaptations.jsonl").is_file():
        commands.append(f"tesp adapt {place} --goal X Y")
    return commands


def _possible(details: Sequence[Record]) -> set[str]:
    """Return the figures that `tesp plot` draws of a run's details; all there are as long as nothing is measured."""
    told = {
        "task_paths": has_paths(details),
        "embeddings": has_embeddings(details),
        "rates": bool(learned_rates(details)),
    }
    return {name for name, there in told.items() if there or not details}


def _versions(folder: Path) -> dict[str, str]:
    # A run of an early version has no such file, and a report is no reason to refuse it.
    with contextlib.suppress(RunFolderError):
        stored = read_json(folder / "versions.json")
        return {name: str(version) for name, version in stored.items() if name != FIELD}
    return {}


def _date(folder: Path) -> str:
    """Return the day on which a run wrote its last record."""
    written = (folder / "records.jsonl").stat().st_mtime
    return datetime.fromtimestamp(written, UTC).date().isoformat()
