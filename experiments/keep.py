"""Keep the records of runs where they take little room: NAME.jsonl.gz and NAME.config.json, as the project stores them.

    python experiments/keep.py runs/reacher2-tesp-small-seed100 --records experiments/records/campaign

Numbers keep six significant digits: what is measured is of single precision, and the digits beyond take up most
room. A file that was stored before can be given in place of a run folder, and is then written anew.
"""

import gzip
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from tesp.errors import RunFolderError, TespError
from tesp.report.records import ARCHIVED, read_archived, read_run
from tesp.storage.files import write_whole, written_beside

DIGITS = 6


@dataclass(frozen=True)
class Arguments:
    """Store the records of some runs."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, or files NAME.jsonl.gz that were stored before."""
    records: Path
    """Folder of the stored records. Files of the same names are replaced."""


def rounded(value: Any) -> Any:
    """Return a value of JSON with every float in it, at whatever depth, at six significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def keep(source: Path, records: Path) -> Path:
    """Write what is kept of one run; return the file of its records.

    Raises:
        RunFolderError: The run is missing or damaged, or has no record yet; nothing is written.
    """
    run = read_archived(source) if source.name.endswith(ARCHIVED) else read_run(source)
    rows = [row for kind, rows in run.records.items() if kind != "run" for row in rows]
    if not rows:
        raise RunFolderError(f"{source} holds no record yet; train the run first.")
    lines = "".join(json.dumps(rounded(row), separators=(",", ":")) + "\n" for row in rows)
    path = records / (run.name + ARCHIVED)
    # Not rounded: a configuration is what was asked for, not what was measured.
    write_whole(records / f"{run.name}.config.json", json.dumps(run.config, indent=2) + "\n")
    with written_beside(path) as beside:
        # The time of writing is left out, so that equal records make equal files.
        beside.write_bytes(gzip.compress(lines.encode(), mtime=0))
    return path


def main(arguments: Arguments) -> list[Path]:
    """Store all of them; return the files of their records."""
    return [keep(source, arguments.records) for source in arguments.runs]


if __name__ == "__main__":
    try:
        for stored in main(tyro.cli(Arguments, description=__doc__)):
            print(stored)
    except TespError as error:
        sys.exit(f"keep: {error}")
