"""From records to numbers: after how many environment steps a training has reached what the trained learner reaches."""

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from jobs import ALGORITHMS, IN_A_ROW, SETS

from tesp.errors import RunFolderError
from tesp.report.seeds import RESAMPLES, RESAMPLING_SEED

ARCHIVE = ".jsonl.gz"

Record = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One training from scratch beside the learner's adaptations to the same task.

    Attributes:
        job: The record of the training.
        target: The record of the adaptations.
    """

    job: Record
    target: Record

    @property
    def adapted(self) -> float:
        """Environment steps of an adaptation, up to its last fast-update; the mean over adaptations."""
        return adapted_after(self.target)

    @property
    def adaptation_seconds(self) -> float:
        """Seconds of processor time of an adaptation; the median, for the first of a process compiles."""
        return float(np.median(self.target["cpu_seconds"]))

    @property
    def spent(self) -> int:
        """Environment steps of the training."""
        return self.job["steps"][-1]

    def steps_to(self, least: float) -> float:
        """Return after how many environment steps a return was reached; ∞ if it was not."""
        return self._at(least, self.job["steps"])

    def seconds_to(self, least: float) -> float:
        """Return after how many seconds of processor time it was reached; ∞ if it was not."""
        return self._at(least, self.job["cpu_seconds"])

    def _at(self, least: float, clock: Sequence[float]) -> float:
        found = first_in_a_row(np.array(self.job["returns"]) >= least)
        return np.inf if found is None else float(clock[found])


def first_in_a_row(good: np.ndarray, count: int = IN_A_ROW) -> int | None:
    """Return where the first ``count`` true values in a row begin; None if there are not so many anywhere."""
    ends = range(count, len(good) + 1)
    return next((end - count for end in ends if np.all(good[end - count : end])), None)


def adapted_after(target: Record, fast_updates: int = -1) -> float:
    """Return the environment steps of an adaptation up to its k-th fast-update, by default the last; the mean."""
    return float(np.mean([used[fast_updates] for used in target["steps"]]))


#: What is to be reached, of the record of the adaptations.
TargetOf = Callable[[Record], float]


def deterministic(target: Record) -> float:
    """Return what the mode of the adapted policy returns: the mean over adaptations, in metre·steps."""
    return float(np.mean(target["deterministic"]))


def sampled(target: Record, fast_updates: int = -1) -> float:
    """Return what episodes sampled after k fast-updates return, by default after the last: the mean over all."""
    return float(np.mean([rounds[fast_updates] for rounds in target["rounds"]]))


@dataclass(frozen=True)
class Quantity:
    """A median over goals with its interval; what has not been reached counts as more than what was spent.

    Attributes:
        value: The median. If it was not reached, the least that it can be.
        low: Lower end of the 95 % bootstrap interval over goals, likewise.
        high: Upper end.
        open: Which of the three are only bounds from below.
    """

    value: float
    low: float
    high: float
    open: tuple[bool, bool, bool]

    def told(self, digits: int = 0) -> str:
        """Return it for a table: ``12 [9, > 15]``."""
        numbers = (self.value, self.low, self.high)
        said = [f"{'> ' * bound}{x:,.{digits}f}" for x, bound in zip(numbers, self.open, strict=True)]
        return f"{said[0]} [{said[1]}, {said[2]}]"


def median(reached: Float[np.ndarray, " goal"], spent: Float[np.ndarray, " goal"]) -> Quantity:
    """Return the median over goals with the percentile interval of a bootstrap over them.

    Args:
        reached: A value of every goal; ∞ where the target was not reached.
        spent: What stands in for ∞ as the least that it can be, of every goal.
    """
    generator = np.random.default_rng(RESAMPLING_SEED)
    drawn = generator.integers(len(reached), size=(RESAMPLES, len(reached)))
    least = np.where(np.isinf(reached), spent, reached)

    def three(values: np.ndarray) -> list[float]:
        medians = np.median(values[drawn], axis=1)
        ends = np.percentile(medians, (2.5, 97.5), method="nearest")
        return [float(np.median(values)), *map(float, ends)]

    return Quantity(*three(least), tuple(bool(np.isinf(x)) for x in three(reached)))


def read(path: Path) -> list[Record]:
    """Return all records of an archive, or of a folder that `run.py` writes to.

    Raises:
        RunFolderError: There is none, or one is damaged.
    """
    try:
        if path.is_dir():
            lines = [line for file in sorted(path.glob("*.jsonl")) for line in file.read_text("utf-8").splitlines()]
        else:
            lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        records = [json.loads(line) for line in lines]
    except (OSError, EOFError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read: {error}.") from error
    if not records:
        raise RunFolderError(f"{path} holds no records; run.py writes them.")
    return records


def trials(records: Iterable[Record]) -> list[Trial]:
    """Return all trainings, each with the adaptations to its task, in the order of their goals.

    Raises:
        RunFolderError: A training lacks those, or they are of another learner.
    """
    kinds: dict[str, list[Record]] = {"job": [], "target": []}
    for record in records:
        kinds[record["kind"]].append(record)
    targets = {_goal(record): record for record in kinds["target"]}
    found = []
    for job in sorted(kinds["job"], key=lambda job: (str(_goal(job)[:3]), job["index"], job["seed"])):
        target = targets.get(_goal(job))
        if target is None or target["learner"] != job["learner"]:
            raise RunFolderError(f"The records hold no adaptation of the same learner to the task of {_goal(job)}.")
        found.append(Trial(job, target))
    return found


def _goal(record: Record) -> tuple[Any, ...]:
    return record["family"], record["task_set"], record["tasks_seed"], record["index"]


def grouped(found: Sequence[Trial]) -> dict[tuple[str, str, str], list[Trial]]:
    """Return the trainings by family, task set and algorithm, as far as there are any."""
    families = list(dict.fromkeys(trial.job["family"] for trial in found))
    keys = [(family, task_set, algorithm) for family in families for task_set in SETS for algorithm in ALGORITHMS]
    groups = {
        key: [t for t in found if tuple(t.job[n] for n in ("family", "task_set", "algorithm")) == key] for key in keys
    }
    return {key: members for key, members in groups.items() if members}


def steps(members: Sequence[Trial], target: TargetOf = deterministic) -> Quantity:
    """Return after how many environment steps trainings have reached their targets."""
    reached = np.array([trial.steps_to(target(trial.target)) for trial in members])
    return median(reached, np.array([trial.spent for trial in members]))


def ratios(members: Sequence[Trial], target: TargetOf = deterministic, adapted: TargetOf = adapted_after) -> Quantity:
    """Return how many times the environment steps of the adaptation these are, goal by goal."""
    used = np.array([adapted(trial.target) for trial in members])
    reached = np.array([trial.steps_to(target(trial.target)) for trial in members])
    return median(reached / used, np.array([trial.spent for trial in members]) / used)


def seconds(members: Sequence[Trial], target: TargetOf = deterministic) -> Quantity:
    """Return after how many seconds of processor time trainings have reached their targets."""
    reached = np.array([trial.seconds_to(target(trial.target)) for trial in members])
    return median(reached, np.array([trial.job["cpu_seconds"][-1] for trial in members]))


def share(members: Sequence[Trial], target: TargetOf = deterministic) -> float:
    """Return on which share of the goals the target was reached within the budget."""
    return float(np.mean([np.isfinite(trial.steps_to(target(trial.target))) for trial in members]))
