"""Read what a run has written, without JAX."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tesp.errors import RunFolderError

#: One line of a records file.
Record = dict[str, Any]

#: What each kind of record must hold before anything is made of it; other kinds are read as they are.
FIELDS = {
    "reference": ("reference", "family", "task_set", "average_return"),
    "evaluation": (
        "family",
        "algorithm",
        "seed",
        "meta_update",
        "task_set",
        "fast_update",
        "average_return",
        "average_return_std",
        "success_rate",
        "final_distance",
        "episode_length",
        "environment_steps",
        "wall_seconds",
    ),
    "task": (
        "family",
        "algorithm",
        "seed",
        "meta_update",
        "task_set",
        "task",
        "is_goal",
        "average_return",
        "start",
        "path",
        "embedding",
    ),
    "rates": (
        "family",
        "algorithm",
        "seed",
        "meta_update",
        "layer",
        "learned",
        "entries",
        "quantiles",
        "negative",
        "at_bound",
        "bound",
        "initial_rate",
    ),
    "adaptation": ("goal", "fast_update", "average_return", "success_rate", "episodes", "start"),
}


@dataclass(frozen=True)
class Run:
    """One run: one family, one algorithm, one seed.

    Attributes:
        name: Name of the run's folder.
        config: What stands in ``config.json``.
        records: Records by kind, each kind in the order of writing.
    """

    name: str
    config: Mapping[str, Any]
    records: Mapping[str, list[Record]]

    def evaluations(self) -> dict[tuple[int, str, int], Record]:
        """Return the evaluation at each (meta_update, task_set, fast_update).

        A run resumed from a checkpoint may have written an evaluation twice: the later one counts.
        """
        return {
            (record["meta_update"], record["task_set"], record["fast_update"]): record
            for record in self.records.get("evaluation", [])
        }

    def stand_still(self) -> dict[str, Record]:
        """Return the record of standing still by task set."""
        return {
            record["task_set"]: record
            for record in self.records.get("reference", [])
            if record["reference"] == "stand_still"
        }


def read_records(path: str | Path) -> list[Record]:
    """Return the records of a JSON-lines file, in the order of writing.

    A process that is killed while it writes leaves a last line without its end. Such a line is left out;
    any other line that cannot be read is an error, since then the file was damaged by something else.

    Args:
        path: The file, for instance ``runs/NAME/records.jsonl``.

    Raises:
        RunFolderError: The file is missing, holds no record, or a line is not a record.
    """
    path = Path(path)
    if not path.is_file():
        raise RunFolderError(f"{path} does not exist; give the file or folder of a run that has been started.")
    *ended, last = path.read_bytes().split(b"\n")
    records = [_record(line, path, number) for number, line in enumerate(ended, 1) if line.strip()]
    if _is_json(last):
        records.append(_record(last, path, len(ended) + 1))
    if not records:
        raise RunFolderError(f"{path} holds no record yet; wait until the run has written its first one.")
    return records


def read_run(folder: str | Path) -> Run:
    """Return the run that a folder holds.

    Args:
        folder: A run folder with ``config.json`` and ``records.jsonl``.

    Raises:
        RunFolderError: The folder or one of the files is missing, empty or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunFolderError(f"{folder} is not a folder; give the folder of a run, such as runs/NAME.")
    records: dict[str, list[Record]] = {}
    for record in read_records(folder / "records.jsonl"):
        records.setdefault(record["kind"], []).append(record)
    return Run(folder.resolve().name, _read_config(folder / "config.json"), records)


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RunFolderError(f"{path} does not exist, so {path.parent} is not a run folder; give another one.")
    if not _is_json(path.read_bytes()):
        raise RunFolderError(f"{path} is not valid JSON; restore it or give another run folder.")
    config = json.loads(path.read_bytes())
    if not isinstance(config, dict):
        raise RunFolderError(f"{path} does not hold a JSON object; restore it or give another run folder.")
    return config


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _record(line: bytes, path: Path, number: int) -> Record:
    record = json.loads(line) if _is_json(line) else None
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        raise RunFolderError(
            f'Line {number} of {path} is not a record (a JSON object with a "kind"); remove the line or '
            "restore the file."
        )
    missing = [name for name in FIELDS.get(record["kind"], ()) if name not in record]
    if missing:
        raise RunFolderError(
            f"Line {number} of {path}, of kind {record['kind']!r}, lacks {', '.join(missing)}; it was "
            "written by another version or by hand."
        )
    return record
