"""The two lines that frame every result: standing still below, the oracle above."""

import json
from collections.abc import Sequence
from pathlib import Path

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
    """Return the oracle trained on the tasks of a run, if one lies beside the run's folder and has been evaluated.

    Folders beside it that cannot be read are passed over: they are nobody's concern here.
    """
    for config in sorted(Path(folder).resolve().parent.glob("[!.]*/config.json")):
        try:
            stored = json.loads(config.read_bytes())
            if stored["algorithm"] != ORACLE or not _same_tasks(stored, run.config):
                continue
            oracle = read_run(config.parent)
        except (TespError, OSError, ValueError, KeyError, TypeError):
            continue
        if oracle.evaluations():
            return oracle
    return None


def oracles_of(folders: Sequence[Path], runs: Sequence[Run]) -> list[Run]:
    """Return the oracles that lie beside runs, one for each seed; none if the runs hold oracles of their own."""
    if any(is_oracle(run) for run in runs):
        return []
    found = [oracle_beside(folder, run) for folder, run in zip(folders, runs, strict=True)]
    return list({oracle.config["seed"]: oracle for oracle in found if oracle is not None}.values())


def _same_tasks(one, other) -> bool:
    return all(one[name] == other[name] for name in ("family", "seed", "task"))


def oracle_records(oracle: Run) -> dict[str, Record]:
    """Return the oracle's last complete evaluation by task set."""
    _, evaluation = evaluation_at(oracle)
    return {task_set: records[max(records)] for task_set, records in evaluation.items()}


def draw_references(axes: Axes, runs: Sequence[Run], oracles: Sequence[Run], task_set: str) -> None:
    """Draw standing still and the oracle as dashed lines, each the mean over the runs that have it."""
    still = [found[task_set] for run in runs if task_set in (found := run.stand_still())]
    best = [found[task_set] for run in oracles if task_set in (found := oracle_records(run))]
    for records, colour, label in ((still, style.GREY, "standing still"), (best, "black", "oracle (knows the task)")):
        if records:
            mean = float(np.mean([record["average_return"] for record in records]))
            axes.axhline(mean, color=colour, linestyle="--", linewidth=1.2, label=label)
