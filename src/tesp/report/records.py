"""Read what a run has written, without JAX."""

import gzip
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tesp.errors import ConfigurationError, RunFolderError
from tesp.report.words import ORACLE, TASK_SETS
from tesp.storage.config_file import read_config
from tesp.storage.records import Record, read_records

#: How the records of a run end where only they were kept.
ARCHIVED = ".jsonl.gz"


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


def has_distance(record: Record) -> bool:
    """Return whether a record tells a distance; stored as null and read as NaN where a family measures none."""
    distance = record.get("final_distance")
    return distance is not None and not math.isnan(distance)


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
    def in_metres(self) -> bool:
        """Whether the family measures distances, as that of the paper's families, whose returns are in metre·steps."""
        return any(has_distance(record) for record in self.evaluations().values())

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
    config = folder / "config.json"
    if not config.is_file():
        raise RunFolderError(f"{config} does not exist, so {folder} is not a run folder; give another one.")
    stored = read_config(folder)
    records: dict[str, list[Record]] = {}
    for record in read_records(folder / "records.jsonl"):
        records.setdefault(record["kind"], []).append(record)
    return RunRecords(folder.resolve().name, stored, records)


def read_archived(records: str | Path) -> RunRecords:
    """Return a run of which only the records and the configuration were kept.

    Args:
        records: ``NAME.jsonl.gz``, the compressed ``records.jsonl`` of a run; ``NAME.config.json`` lies beside it.

    Raises:
        RunFolderError: One of the two is missing or damaged.
    """
    records = Path(records)
    name = records.name.removesuffix(ARCHIVED)
    try:
        config = json.loads(records.with_name(f"{name}.config.json").read_text(encoding="utf-8"))
        with gzip.open(records, "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
    except (OSError, EOFError, ValueError) as error:
        raise RunFolderError(f"{records} or its configuration cannot be read: {error}.") from error
    kept: dict[str, list[Record]] = {}
    for row in rows:
        kept.setdefault(row["kind"], []).append(row)
    return RunRecords(name, config, kept)


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
