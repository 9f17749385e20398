"""The oracle that frames the results of a run from above, found among the folders beside it."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tesp.errors import ConfigurationError, TespError
from tesp.report.records import Record, RunRecords, groups_of, read_run
from tesp.report.words import ORACLE
from tesp.storage.config_file import read_config
from tesp.trust import digest_of

#: What reads the folder of a run.
Reader = Callable[[Path], RunRecords]


def oracle_beside(
    folder: str | Path, run: RunRecords, named: Sequence[Path] = (), read: Reader = read_run
) -> RunRecords | None:
    """Return the finished oracle of the same tasks, if one lies beside a run's folder; or one that is named.

    Args:
        folder: The run's folder.
        run: The run.
        named: As for `oracle_folders`.
        read: As for `oracle_folders`.

    Raises:
        ConfigurationError: As for `oracle_folders`.
        RunFolderError: As for `oracle_folders`.
    """
    (found,) = oracle_folders([folder], [run], named, read)
    return None if found is None else read(found)


def oracle_folders(
    folders: Sequence[str | Path], runs: Sequence[RunRecords], named: Sequence[Path] = (), read: Reader = read_run
) -> list[Path | None]:
    """Return for each run the folder of a finished oracle of its tasks: one that is named, or one beside the run.

    Of several the one that is most like the run counts: of the same policy and as many meta-updates, if there is one. A
    folder counts if it is whole and its family is the same, which includes the file that defines it: nothing is ever
    run that the run itself would not run. What else lies beside a run, or in a folder of runs that is named, is passed
    over: it is nobody's concern here.

    Args:
        folders: The runs' folders.
        runs: The runs.
        named: Runs of the oracle, or folders of runs, where the user names some; then every run must have one of them.
        read: What reads a folder; as the runs were read, for their configurations are compared.

    Raises:
        ConfigurationError: A run that is named is no oracle of the tasks of any run, a run has none among them, or is
            an oracle itself.
        RunFolderError: A run that is named cannot be read.
    """
    pairs = list(zip(map(Path, folders), runs, strict=True))
    if not named:
        return [_most_alike(_runs_in(folder.resolve().parent, read), run, folder) for folder, run in pairs]
    if own := [folder for folder, run in pairs if run.is_oracle]:
        raise ConfigurationError(f"{own[0]} is an oracle itself; leave out this run, or --oracle.")
    given: dict[Path, RunRecords] = {}
    for place in named:
        inside = {} if (place / "config.json").is_file() else _runs_in(place, read)
        given |= inside or {place: read(place)}
        if not inside and not any(_is_oracle_of(given[place], place, run, folder) for folder, run in pairs):
            raise ConfigurationError(
                f"{place} is no finished oracle of the tasks of {_listed(folders)}; give --oracle a run of the "
                f"algorithm {ORACLE!r} with the same family, options and seed."
            )
    found = [_most_alike(given, run, folder) for folder, run in pairs]
    if without := [folder for folder, oracle in zip(folders, found, strict=True) if oracle is None]:
        raise ConfigurationError(
            f"No run that --oracle names is a finished oracle of the tasks of {_listed(without)}; give one for each "
            "seed, or leave out --oracle for those that lie beside the runs."
        )
    return found


def oracles_of(
    folders: Sequence[Path], runs: Sequence[RunRecords], named: Sequence[Path] = (), read: Reader = read_run
) -> list[RunRecords]:
    """Return the oracles of runs, one for each seed; none if the runs hold oracles of their own.

    Args:
        folders: The folders of the runs.
        runs: The runs.
        named: As for `oracle_folders`.
        read: As for `oracle_folders`.

    Raises:
        ConfigurationError: As for `oracle_folders`.
        RunFolderError: As for `oracle_folders`.
    """
    if not named and any(run.is_oracle for run in runs):
        return []
    beside = dict.fromkeys(oracle_folders(folders, runs, named, read))
    found = [read(folder) for folder in beside if folder is not None]
    return list({oracle.config["seed"]: oracle for oracle in found}.values())


def _runs_in(place: Path, read: Reader) -> dict[Path, RunRecords]:
    """Return the runs of the oracle in a folder; whatever else is there, damaged runs included, is passed over."""
    found = {}
    for config in sorted(place.glob("[!.]*/config.json")):
        with contextlib.suppress(TespError, OSError, ValueError, KeyError, TypeError):
            # Most folders are of other methods: their records need not be read.
            if read_config(config.parent).get("algorithm") == ORACLE:
                found[config.parent] = read(config.parent)
    return found


def _most_alike(oracles: Mapping[Path, RunRecords], run: RunRecords, folder: Path) -> Path | None:
    found = []
    for place, oracle in oracles.items():
        with contextlib.suppress(TespError, OSError, ValueError, KeyError, TypeError):
            if _is_oracle_of(oracle, place, run, folder):
                found.append((_likeness(oracle.config, run.config), place))
    return max(found, key=lambda pair: pair[0], default=(0, None))[1]


def _listed(folders: Sequence[str | Path]) -> str:
    """Return the names of folders, of many the first few."""
    more = f" and {len(folders) - 3} more" if len(folders) > 4 else ""
    return ", ".join(map(str, folders[:3] if more else folders)) + more


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
