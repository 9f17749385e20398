"""Read what a run has written, without JAX."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tesp.errors import ConfigurationError, RunFolderError
from tesp.report.words import ORACLE, TASK_SETS
from tesp.storage.files import json_lines

#: One line of a records file.
Record = dict[str, Any]

_IDENTITY = ("family", "algorithm", "seed", "meta_update")

#: What each kind of record must hold before anything is made of it; other kinds are read as they are.
FIELDS = {
    "reference": ("reference", "family", "task_set", "average_return"),
    "evaluation": (
        *_IDENTITY,
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
    "task": (*_IDENTITY, "task_set", "task", "is_goal", "average_return", "start", "path", "embedding"),
    "rates": (
        *_IDENTITY,
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


def groups_of(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the fields of a stored configuration by their innermost groups; those in none are the run's."""
    found: dict[str, dict[str, Any]] = {}

    def add(name: str, values: Mapping[str, Any]) -> None:
        found[name] = {field: x for field, x in values.items() if not isinstance(x, Mapping)}
        for inside, group in values.items():
            if isinstance(group, Mapping):
                add(inside, group)
        if not found[name]:
            del found[name]

    add("run", config)
    return found


@dataclass(frozen=True)
class RunRecords:
    """What is stored of one run: one family, one algorithm, one seed.

    Attributes:
        name: Name of the run's folder.
        config: What stands in ``config.json``.
        records: Records by kind, each kind in the order of writing.
    """

    name: str
    config: Mapping[str, Any]
    records: Mapping[str, list[Record]]

    @property
    def is_oracle(self) -> bool:
        """Whether the run trained the oracle, which knows the task."""
        return self.config.get("algorithm") == ORACLE

    @property
    def fast_updates(self) -> int:
        """K, the greatest number of fast-updates that the run was evaluated after.

        Raises:
            RunFolderError: The run has no evaluation.
        """
        return max(fast_update for _, _, fast_update in self._evaluated())

    @property
    def first(self) -> Record:
        """The first evaluation, which says of what family, algorithm and seed the run is.

        Raises:
            RunFolderError: The run has no evaluation.
        """
        return next(iter(self._evaluated().values()))

    def evaluations(self) -> dict[tuple[int, str, int], Record]:
        """Return the evaluation at each (meta_update, task_set, fast_update).

        A run resumed from a checkpoint may have written an evaluation twice: the later one counts.
        """
        stored = self.records.get("evaluation", [])
        return {(record["meta_update"], record["task_set"], record["fast_update"]): record for record in stored}

    def last_evaluation(self) -> tuple[int, dict[str, dict[int, Record]]]:
        """Return the last evaluation that is complete: its meta-update, and task set → fast-update → record.

        A run that was stopped while it evaluated leaves some task sets or fast-updates out.

        Raises:
            RunFolderError: The run has no evaluation.
        """
        found: dict[int, dict[str, dict[int, Record]]] = {}
        for (update, task_set, fast_update), record in sorted(self._evaluated().items(), key=lambda item: item[0]):
            found.setdefault(update, {}).setdefault(task_set, {})[fast_update] = record
        return max(found.items(), key=lambda item: (sum(map(len, item[1].values())), item[0]))

    def stand_still(self) -> dict[str, Record]:
        """Return the record of standing still by task set."""
        references = self.records.get("reference", [])
        return {record["task_set"]: record for record in references if record["reference"] == "stand_still"}

    def _evaluated(self) -> dict[tuple[int, str, int], Record]:
        if not (found := self.evaluations()):
            raise RunFolderError(
                f"Run {self.name!r} holds no evaluation, so there is nothing to show; let it run until it has one."
            )
        return found


def read_records(path: str | Path) -> list[Record]:
    """Return the records of a file of JSON lines, in the order of writing; a torn last line is left out.

    Args:
        path: The file, for instance ``runs/NAME/records.jsonl``.

    Raises:
        RunFolderError: The file is missing, holds no record, or a line is not a record.
    """
    path = Path(path)
    if not path.is_file():
        raise RunFolderError(f"{path} does not exist; give the file or folder of a run that has been started.")
    records = [_checked(value, path, number) for number, value in json_lines(path)]
    if not records:
        raise RunFolderError(f"{path} holds no record yet; wait until the run has written its first one.")
    return records


def optional_records(path: Path) -> list[Record]:
    """Return the records of a file that a run need not have; none where it is missing or empty.

    Raises:
        RunFolderError: A line is not a record.
    """
    return read_records(path) if path.is_file() and path.stat().st_size else []


def read_run(folder: str | Path) -> RunRecords:
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
    return RunRecords(folder.resolve().name, _read_config(folder / "config.json"), records)


def tasks_by_set(records: Sequence[Record]) -> dict[str, list[Record]]:
    """Return the records of kind ``task`` by task set, in the order D, D′, D″; sets without a task are left out.

    Raises:
        ConfigurationError: There is none.
    """
    tasks = [record for record in records if record["kind"] == "task"]
    if not tasks:
        raise ConfigurationError("There is no record of a single task to draw; `tesp plot RUN` makes them.")
    sets = {name: [record for record in tasks if record["task_set"] == name] for name in TASK_SETS}
    return {name: own for name, own in sets.items() if own}


def has_paths(records: Sequence[Record]) -> bool:
    """Tell whether the tasks have paths in the plane."""
    return any(record["kind"] == "task" and record["path"] is not None for record in records)


def has_embeddings(records: Sequence[Record]) -> bool:
    """Tell whether the tasks have embeddings."""
    return any(record["kind"] == "task" and record["embedding"]["after"] is not None for record in records)


def learned_rates(records: Sequence[Record]) -> list[Record]:
    """Return the records of rates that the meta-updates have learned, one for each layer."""
    return [record for record in records if record["kind"] == "rates" and record["learned"]]


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RunFolderError(f"{path} does not exist, so {path.parent} is not a run folder; give another one.")
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise RunFolderError(f"{path} is not valid JSON; restore it or give another run folder.") from error
    if not isinstance(config, dict):
        raise RunFolderError(f"{path} does not hold a JSON object; restore it or give another run folder.")
    return config


def _checked(record: Any, path: Path, number: int) -> Record:
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
