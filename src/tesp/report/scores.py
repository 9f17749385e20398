"""What single tasks returned, of all runs of a comparison, by how many episodes were used to adapt to them."""

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tesp.report.records import Record
from tesp.report.statistics import improvement, interquartile_mean, interquartile_mean_interval, mean_interval
from tesp.report.words import ORACLE, STANDING_STILL
from tesp.storage.files import written_beside
from tesp.storage.records import read_records


@dataclass(frozen=True)
class Scores:
    """One agent on the tasks of one set: after k fast-updates from rounds of N episodes.

    Attributes:
        task_set: ``train``, ``in_distribution`` or ``out_of_distribution``.
        method: Name of the algorithm, or ``standing still``.
        episodes: N; None for standing still.
        as_trained: Whether N is that of training.
        fast_update: k.
        used: Episodes of a task before the round that is judged; the mean over tasks and runs.
        seeds: The seed of every run.
        returns: Return of every task, the mean over its N episodes of the round.
        success: Success rate, the mean over tasks and runs.
        environment_steps: Control steps sampled in training, the mean over runs.
    """

    task_set: str
    method: str
    episodes: int | None
    as_trained: bool
    fast_update: int
    used: float
    seeds: tuple[int, ...]
    returns: Float[np.ndarray, "run task"]
    success: float
    environment_steps: float

    @cached_property
    def interquartile_mean(self) -> float:
        """The interquartile mean of the returns over runs and tasks."""
        return float(interquartile_mean(self.returns))

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The ends of its 95 % interval."""
        return interquartile_mean_interval(self.returns)


def read_scores(folders: Sequence[Path]) -> list[Scores]:
    """Return the scores of runs, grouped over seeds: standing still, the oracle, then the methods in their order.

    Of a method those N count that all of its runs were evaluated with. Runs without scores are left out.

    Raises:
        RunFolderError: Stored scores are damaged.
    """
    stored = [record for folder in folders for record in read_records(folder / "scores.jsonl", empty=True)]
    methods: dict[str, list[Record]] = {}
    for record in stored:
        if record["kind"] == "scores":
            methods.setdefault(record["algorithm"], []).append(record)
    found = list(_standing_still([record for record in stored if record["kind"] == "reference_scores"]))
    for method in sorted(methods, key=lambda name: name != ORACLE):
        found += _of_method(method, methods[method])
    return found


def _standing_still(records: Iterable[Record]) -> Iterable[Scores]:
    # Runs of one seed have the same tasks, so one of them speaks for all.
    found: dict[str, dict[int, Record]] = {}
    for record in records:
        found.setdefault(record["task_set"], {}).setdefault(record["seed"], record)
    for task_set, by_seed in found.items():
        seeds, returns = _matrix(by_seed)
        yield Scores(task_set, STANDING_STILL, None, False, 0, 0.0, seeds, returns, np.nan, 0.0)


def _of_method(method: str, records: Sequence[Record]) -> Iterable[Scores]:
    runs = {record["seed"] for record in records}
    found: dict[tuple[str, int, int], dict[int, Record]] = {}
    for record in records:
        key = (record["task_set"], record["episodes_per_round"], record["fast_update"])
        found.setdefault(key, {})[record["seed"]] = record
    for (task_set, episodes, fast_update), by_seed in found.items():
        if by_seed.keys() < runs:
            continue
        seeds, returns = _matrix(by_seed)
        used, steps, success = (
            float(np.mean([np.mean(record[name]) for record in by_seed.values()]))
            for name in ("episodes_used", "environment_steps", "success_rate")
        )
        own = all(record["as_trained"] for record in by_seed.values())
        yield Scores(task_set, method, episodes, own, fast_update, used, seeds, returns, success, steps)


def _matrix(by_seed: dict[int, Record]) -> tuple[tuple[int, ...], Float[np.ndarray, "run task"]]:
    """Return seeds in order, and the score matrix with a row for each, cut to the tasks that all have."""
    seeds = tuple(sorted(by_seed))
    rows = [by_seed[seed]["average_return"] for seed in seeds]
    return seeds, np.array([row[: min(map(len, rows))] for row in rows], float)


def along(scores: Iterable[Scores], task_set: str, method: str) -> list[Scores]:
    """Return the scores of a method in the order of the episodes that were used, by one rule for all methods.

    With the least N after k = 0 … K fast-updates, then with every larger N after K. So a method's first points are
    those at which it has seen the fewest episodes, and no point is chosen by what it returned.
    """
    own = [s for s in scores if (s.task_set, s.method) == (task_set, method)]
    if not own:
        return []
    least, last = min(s.episodes or 0 for s in own), max(s.fast_update for s in own)
    return sorted((s for s in own if s.episodes == least or s.fast_update == last), key=lambda s: s.used)


def as_trained(scores: Iterable[Scores], task_set: str) -> dict[str, Scores]:
    """Return by method what it comes to: after K fast-updates with the N of its training."""
    found: dict[str, Scores] = {}
    for s in scores:
        if s.task_set == task_set and (s.as_trained or s.method == STANDING_STILL):
            found[s.method] = max(found.get(s.method, s), s, key=lambda one: one.fast_update)
    return found


class Improvement(NamedTuple):
    """How often a method does better than another on a task, with the ends of the 95 % interval, over so many seeds."""

    probability: float
    low: float
    high: float
    seeds: int


def improvement_of(one: Scores, other: Scores) -> Improvement | None:
    """Return how often a method does better than another on a task.

    Only seeds that both have are compared; None if there is none, or if their tasks are not the same.
    """
    shared = [seed for seed in one.seeds if seed in other.seeds]
    if not shared or one.returns.shape[1] != other.returns.shape[1]:
        return None
    x, y = (s.returns[[s.seeds.index(seed) for seed in shared]] for s in (one, other))
    better = improvement(x, y)
    low, high = mean_interval(better)
    return Improvement(float(better.mean()), float(low), float(high), len(shared))


def write_score_matrices(scores: Sequence[Scores], task_set: str, path: Path) -> None:
    """Write what every method comes to on a task set, as NumPy's ``.npz`` of one array (run, task) for each method.

    ``dict(numpy.load(path))`` is what rliable takes for scores. Rows are in the order of the seeds.
    """
    matrices = {name: s.returns for name, s in as_trained(scores, task_set).items() if name != STANDING_STILL}
    # Not by `numpy.savez`, whose own arguments no method could be called by.
    with written_beside(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name, matrix in matrices.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, matrix)
