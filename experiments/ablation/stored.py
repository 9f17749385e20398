"""The records that the analysis needs, small: one compressed file per run, with its configuration.

The sweep writes them as runs end. For runs that go on, or records of another sweep:

    python experiments/ablation/stored.py runs/ablation runs/ablation/records
"""

import gzip
import json
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from variants import flat, options_of, variant_of

from tesp.config import from_json, to_json
from tesp.errors import RunFolderError
from tesp.report.records import RunRecords, read_run
from tesp.report.words import TASK_SETS
from tesp.storage.files import written_beside

#: The columns that are kept of each kind of record.
COLUMNS = {
    "train": ("meta_update", "seconds", "seconds_cpu"),
    "evaluation": ("meta_update", "task_set", "fast_update", "average_return", "tasks"),
}
ENDING = ".json.gz"
DIGITS = 5


@dataclass(frozen=True)
class AblationRun:
    """One run, read back.

    Attributes:
        name: Its name.
        family: Its family.
        method: Its algorithm.
        variant: Its set of additions.
        seed: Its seed.
        length: Meta-updates that it has when it is finished.
        fast_updates: K.
        returns: Average return by (task set, k), for every meta-update with a whole evaluation.
        seconds: CPU seconds of every meta-update, or seconds where the records lack those.
        cpu: Whether they are CPU seconds.
        tasks: Tasks of each set that it was evaluated on.
        others: The options that make no variant, but for the seed, the schedule and the log. What a method did not have
            yet when the run was stored has its default.
    """

    name: str
    family: str
    method: str
    variant: str
    seed: int
    length: int
    fast_updates: int
    returns: dict[int, dict[tuple[str, int], float]]
    seconds: dict[int, float]
    cpu: bool
    tasks: int | None
    others: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether it was trained and evaluated to its end."""
        return self.length in self.returns


def store(folder: Path, records: Path) -> Path:
    """Write what the analysis needs of a run; return the file.

    Args:
        folder: The run.
        records: Where the file goes; it is replaced if it exists.

    Raises:
        RunFolderError: The run holds no record yet, or is damaged.
    """
    run = read_run(folder)
    content: dict[str, Any] = {"config": run.config}
    for kind, columns in COLUMNS.items():
        rows = run.records.get(kind, [])
        held = [name for name in columns if any(name in row for row in rows)]
        content[kind] = {name: [_rounded(row.get(name)) for row in rows] for name in held}
    path = records / (run.name + ENDING)
    with written_beside(path) as beside:
        # The time of writing is left out, so that equal records make equal files.
        beside.write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0))
    return path


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def load(path: Path) -> AblationRun:
    """Read what `store` wrote.

    Raises:
        RunFolderError: The file is damaged, or of no run of the ablation.
    """
    name = path.name.removesuffix(ENDING)
    try:
        content = json.loads(gzip.decompress(path.read_bytes()))
        tables = {kind: _rows(content[kind]) for kind in COLUMNS}
        config = content["config"]
        variant = variant_of(config)
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} is damaged ({error!r}); store the run again.") from error
    if variant is None:
        raise RunFolderError(f"{path} is of no variant of the ablation; take it out of the folder.")
    fields = flat(config)
    last = fields["fast_updates"]
    evaluations = RunRecords(name, config, tables).evaluations()
    return AblationRun(
        name,
        fields["family"],
        fields["algorithm"],
        variant,
        fields["seed"],
        fields["meta_updates"],
        last,
        _whole({key: record["average_return"] for key, record in evaluations.items()}, last),
        {row["meta_update"]: seconds_of(row) for row in tables["train"]},
        all(row.get("seconds_cpu") is not None for row in tables["train"]),
        max((row["tasks"] for row in tables["evaluation"] if row.get("tasks") is not None), default=None),
        _others(config, options_of(fields["algorithm"], variant).keys()),
    )


def _others(config: Mapping[str, Any], varied: Set[str]) -> dict[str, Any]:
    """Return what the library reads of a stored configuration: options of the method only, and defaults of new ones."""
    whole = json.loads(to_json(from_json(json.dumps(config))))
    groups = {name: value for name, value in whole.items() if name not in ("schedule", "log", "seed")}
    return {name: value for name, value in flat(groups).items() if name not in varied}


def _rows(table: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


def seconds_of(row: Mapping[str, Any]) -> float:
    """Return the CPU seconds of a meta-update by its record, or its seconds where the record lacks those."""
    cpu = row.get("seconds_cpu")
    return row["seconds"] if cpu is None else cpu


def _whole(found: dict[tuple[int, str, int], float], last: int) -> dict[int, dict[tuple[str, int], float]]:
    """Group by meta-update, and leave out evaluations that were interrupted."""
    grouped: dict[int, dict[tuple[str, int], float]] = {}
    for (update, task_set, fast_update), value in found.items():
        grouped.setdefault(update, {})[task_set, fast_update] = value
    cells = len(TASK_SETS) * (last + 1)
    return {update: grouped[update] for update in sorted(grouped) if len(grouped[update]) == cells}


def load_all(records: Path) -> list[AblationRun]:
    """Read all runs of a folder, by name, but those without an evaluation.

    Raises:
        RunFolderError: There is none, a file is damaged, or runs of a family differ in their length.
    """
    found = [run for path in sorted(records.glob(f"[!.]*{ENDING}")) if (run := load(path)).returns]
    if not found:
        raise RunFolderError(f"{records} holds no evaluation of a run yet; sweep.py and stored.py write there.")
    _require_one_length(found, records)
    return found


def _require_one_length(runs: list[AblationRun], records: Path) -> None:
    """Refuse to compare a run with one that is longer: step sizes fall to the end of a run, wherever that is."""
    first: dict[str, AblationRun] = {}
    for run in runs:
        other = first.setdefault(run.family, run)
        if run.length != other.length:
            raise RunFolderError(
                f"In {records} are {run.name} with {run.length} meta-updates and {other.name} with {other.length}, "
                "which cannot be compared. Train with one --meta-updates, or take one out."
            )


def main(folder: tyro.conf.Positional[Path], records: tyro.conf.Positional[Path], /) -> None:
    """Store the records of all runs that a folder holds.

    Args:
        folder: The sweep's output folder.
        records: Where the files go.
    """
    for config in sorted(folder.glob("[!.]*/config.json")):
        try:
            print(store(config.parent, records))
        except RunFolderError as error:
            print(f"left out: {error}")


if __name__ == "__main__":
    tyro.cli(main)
