"""The two lines that frame every result: standing still below, the oracle above."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tesp.errors import TespError
from tesp.plotting import style
from tesp.plotting.evaluations import evaluation_at
from tesp.plotting.records import Record, Run, read_run

ORACLE = "oracle"


def is_oracle(run: Run) -> bool:
    """Tell whether a run trained the oracle, which knows the task."""
    return run.config.get("algorithm") == ORACLE


def oracle_beside(folder: str | Path, run: Run) -> Run | None:
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
            if evaluation_at(oracle)[0] == stored["schedule"]["meta_updates"]:
                found.append(oracle)
        except (TespError, OSError, ValueError, KeyError, TypeError):
            continue
    return max(found, key=lambda oracle: _likeness(oracle.config, run.config), default=None)


def oracles_of(folders: Sequence[Path], runs: Sequence[Run]) -> list[Run]:
    """Return the oracles that lie beside runs, one for each seed; none if the runs hold oracles of their own."""
    if any(is_oracle(run) for run in runs):
        return []
    found = [oracle_beside(folder, run) for folder, run in zip(folders, runs, strict=True)]
    return list({oracle.config["seed"]: oracle for oracle in found if oracle is not None}.values())


def _same_tasks(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("family", "seed", "task"))


def _seed(run: Run) -> int:
    seeds = (record["seed"] for records in run.records.values() for record in records if "seed" in record)
    return next(seeds, id(run))


def _likeness(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    def of(config, group, name):
        return config.get(group, {}).get(name)

    shared = (("network", "policy_units"), ("schedule", "meta_updates"), ("meta", "learning_rate"))
    return sum(of(one, *name) == of(other, *name) for name in shared)


def oracle_records(oracle: Run) -> dict[str, Record]:
    """Return the oracle's last complete evaluation by task set."""
    _, evaluation = evaluation_at(oracle)
    return {task_set: records[max(records)] for task_set, records in evaluation.items()}


def draw_references(axes: Axes, runs: Sequence[Run], oracles: Sequence[Run], task_set: str) -> None:
    """Draw standing still and the oracle as dashed lines, each the mean over the seeds that have it."""
    # Runs of one seed have the same tasks: each seed counts once, however many methods were trained on it.
    still = {_seed(run): found[task_set] for run in runs if task_set in (found := run.stand_still())}
    told = {_seed(run): found[task_set] for run in oracles if task_set in (found := oracle_records(run))}
    for found, colour, label in ((still, style.GREY, "standing still"), (told, "black", "oracle (knows the task)")):
        returns = [record["average_return"] for record in found.values()]
        if returns:
            axes.axhline(float(np.mean(returns)), color=colour, linestyle="--", linewidth=1.2, label=label)
