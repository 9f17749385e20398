"""The oracle that frames the results of a run from above, found among the folders beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tesp.errors import TespError
from tesp.report.records import Record, RunRecords, groups_of, read_run
from tesp.report.words import ORACLE


def oracle_beside(folder: str | Path, run: RunRecords) -> RunRecords | None:
    """Return the finished oracle of the same tasks, if one lies beside a run's folder.

    Of several the one that is most like the run counts: of the same policy and as many meta-updates, if there is one.
    Folders beside it that cannot be read are passed over: they are nobody's concern here.
    """
    found = []
    for config in sorted(Path(folder).resolve().parent.glob("[!.]*/config.json")):
        try:
            stored = json.loads(config.read_bytes())
            if stored["algorithm"] != ORACLE or not _same_tasks(stored, run.config):
                continue
            oracle = read_run(config.parent)
            if oracle.last_evaluation()[0] == stored["schedule"]["meta_updates"]:
                found.append(oracle)
        except (TespError, OSError, ValueError, KeyError, TypeError):
            continue
    return max(found, key=lambda oracle: _likeness(oracle.config, run.config), default=None)


def oracles_of(folders: Sequence[Path], runs: Sequence[RunRecords]) -> list[RunRecords]:
    """Return the oracles that lie beside runs, one for each seed; none if the runs hold oracles of their own."""
    if any(run.is_oracle for run in runs):
        return []
    found = [oracle_beside(folder, run) for folder, run in zip(folders, runs, strict=True)]
    return list({oracle.config["seed"]: oracle for oracle in found if oracle is not None}.values())


def _same_tasks(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("family", "seed", "task"))


def _likeness(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    groups = groups_of(one), groups_of(other)

    def alike(group, name):
        first, second = (found.get(group, {}).get(name) for found in groups)
        return first == second

    return sum(
        alike(*where)
        for where in (("network", "policy_units"), ("schedule", "meta_updates"), ("meta", "learning_rate"))
    )


def oracle_records(oracle: RunRecords) -> dict[str, Record]:
    """Return the oracle's last complete evaluation by task set."""
    _, evaluation = oracle.last_evaluation()
    return {task_set: records[max(records)] for task_set, records in evaluation.items()}
