"""The oracle that frames the results of a run from above, found among the folders beside it."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tesp.errors import ConfigurationError, TespError
from tesp.report.records import Record, RunRecords, groups_of, read_run
from tesp.report.words import ORACLE
from tesp.storage.config_file import read_config
from tesp.trust import digest_of


def oracle_beside(folder: str | Path, run: RunRecords, given: Path | None = None) -> RunRecords | None:
    """Return the finished oracle of the same tasks, if one lies beside a run's folder; or one that is given.

    Args:
        folder: The run's folder.
        run: The run.
        given: As for `oracle_folder`.

    Raises:
        ConfigurationError: As for `oracle_folder`.
        RunFolderError: What is given cannot be read.
    """
    found = oracle_folder(folder, run, given)
    return None if found is None else read_run(found)


def oracle_folder(folder: str | Path, run: RunRecords, given: Path | None = None) -> Path | None:
    """Return the folder of the finished oracle of a run's tasks, if one lies beside the run's folder; or one given.

    Of several the one that is most like the run counts: of the same policy and as many meta-updates, if there is one. A
    folder counts if it is whole and its family is the same, which includes the file that defines it: nothing is ever
    run that the run itself would not run. Others are passed over: they are nobody's concern here.

    Args:
        folder: The run's folder.
        run: The run.
        given: The folder of the oracle where the user names it.

    Raises:
        ConfigurationError: What is given is no oracle of the same tasks.
        RunFolderError: What is given cannot be read.
    """
    folder = Path(folder)
    if given is not None:
        if not _is_oracle_of(read_run(given), given, run, folder):
            raise ConfigurationError(
                f"{given} is no finished oracle of the tasks of {folder}; give --oracle a run of the algorithm "
                f"{ORACLE!r} with the same family, options and seed."
            )
        return given
    found = []
    for config in sorted(folder.resolve().parent.glob("[!.]*/config.json")):
        with contextlib.suppress(TespError, OSError, ValueError, KeyError, TypeError):
            # Most folders are of other methods: their records need not be read.
            if read_config(config.parent).get("algorithm") != ORACLE:
                continue
            if _is_oracle_of(oracle := read_run(config.parent), config.parent, run, folder):
                found.append((_likeness(oracle.config, run.config), config.parent))
    return max(found, key=lambda pair: pair[0], default=(0, None))[1]


def oracles_of(folders: Sequence[Path], runs: Sequence[RunRecords], given: Path | None = None) -> list[RunRecords]:
    """Return the oracles of runs, one for each seed; none if the runs hold oracles of their own.

    Args:
        folders: The folders of the runs.
        runs: The runs.
        given: As for `oracle_folder`.
    """
    if any(run.is_oracle for run in runs):
        return []
    found = [oracle_beside(folder, run, given) for folder, run in zip(folders, runs, strict=True)]
    return list({oracle.config["seed"]: oracle for oracle in found if oracle is not None}.values())


def _is_oracle_of(oracle: RunRecords, place: Path, run: RunRecords, folder: Path) -> bool:
    """Tell whether a run is a finished oracle of another run's tasks."""
    stored = oracle.config
    return (
        stored.get("algorithm") == ORACLE
        and all(stored.get(name) == run.config.get(name) for name in ("family", "seed", "task"))
        and digest_of(place) == digest_of(folder)
        and oracle.last_evaluation()[0] == stored.get("schedule", {}).get("meta_updates")
    )


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
