"""Records as tables of comma-separated values, for spreadsheets and other programs."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tesp.errors import RunFolderError
from tesp.report.records import Record
from tesp.storage.files import written_beside
from tesp.storage.records import read_records

#: A record of an adaptation holds the paths of its episodes here, which are no columns of a table.
_PATHS = ("episodes",)


def export_records(run: str | os.PathLike[str], output: str | os.PathLike[str]) -> list[Path]:
    """Write the records of a run as CSV files, one for each kind of record; return the files.

    ``train.csv`` and ``evaluation.csv`` hold what training measured, ``evaluations.csv`` what ``tesp evaluate`` and
    ``adaptations.csv`` what ``tesp adapt`` measured, without the paths of the episodes. What a run does not have
    makes no file. Files of these names that exist are replaced.

    Args:
        run: The run folder.
        output: The folder to write to; it is made if it does not exist.

    Raises:
        RunFolderError: The records are missing, empty or damaged, or the folder cannot be made or written. The records
            are all read before anything is written.
    """
    run, output = Path(run), Path(output)
    trained = read_records(run / "records.jsonl")
    tables = {f"{kind}.csv": [r for r in trained if r["kind"] == kind] for kind in ("train", "evaluation")}
    for name in ("evaluations", "adaptations"):
        tables[f"{name}.csv"] = read_records(run / f"{name}.jsonl", empty=True)
    texts = {name: records_csv(records) for name, records in tables.items() if records}
    if not texts:
        raise RunFolderError(f"{run} has measured nothing to export yet; wait for its first evaluation.")
    try:
        for name, text in texts.items():
            with written_beside(output / name) as beside:
                beside.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise RunFolderError(
            f"{output} cannot be written: {error.strerror}. Give a folder that you may write to with --output."
        ) from error
    return [output / name for name in texts]


def records_csv(records: Sequence[Record]) -> str:
    """Return records as comma-separated values (RFC 4180 with lines that end in a newline alone).

    The columns are all fields that any record has, in the order in which they first appear, but for the paths of
    episodes. Lists are JSON text. A field that a record lacks, or that is null, is empty; numbers that are not finite
    are ``nan``, ``inf`` and ``-inf``.

    Args:
        records: The rows, in their order.
    """
    columns = list(dict.fromkeys(name for record in records for name in record if name not in _PATHS))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(record.get(name)) for name in columns] for record in records)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value
