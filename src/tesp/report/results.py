"""What agents returned: a result for each agent on each task set, over tasks or over seeds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tesp.report.oracles import oracle_records
from tesp.report.records import Record, RunRecords
from tesp.report.words import ORACLE, STANDING_STILL, TASK_SETS, returned

#: What is measured, its name with its unit, and the digits that are told of it (success is in per cent). For the unit
#: of the return, see `measured`.
QUANTITIES = {
    "average_return": "return",
    "success_rate": "success",
    "final_distance": "final distance (m)",
    "episode_length": "episode length",
}
DIGITS = {"average_return": 1, "final_distance": 3, "episode_length": 0}

#: The 97.5 % quantile of the normal distribution.
QUANTILE = 1.959963984540054


class Estimate(NamedTuple):
    """A mean with its 95 % interval; ends that are not known are NaN."""

    mean: float
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Result:
    """One agent on one task set.

    Attributes:
        task_set: ``train``, ``in_distribution`` or ``out_of_distribution``.
        method: Name of the algorithm, or ``standing still``.
        fast_update: k; None for standing still.
        last: Whether k = K, so that this is what the method comes to.
        estimates: By the names of ``QUANTITIES``.
        count: Tasks, or seeds, that the estimates are over.
        spread: Standard deviation of the return over tasks; None where the estimates are over seeds.
        best_return: Over seeds: mean return of the best 3 of them; None for standing still.
        meta_update: Over seeds: meta-updates of the training.
        environment_steps: Over seeds: steps sampled in training, the mean.
    """

    task_set: str
    method: str
    fast_update: int | None
    last: bool
    estimates: dict[str, Estimate]
    count: int
    spread: float | None = None
    best_return: float | None = None
    meta_update: int | None = None
    environment_steps: float | None = None

    @property
    def average_return(self) -> Estimate:
        """The return with its interval."""
        return self.estimates["average_return"]


def in_metres(results: Iterable[Result]) -> bool:
    """Return whether any agent's distance was measured; see `tesp.report.records.RunRecords.in_metres`."""
    return any(not math.isnan(result.estimates["final_distance"].mean) for result in results)


def can_succeed(results: Sequence[Result]) -> bool:
    """Return whether success means anything: a distance was measured, or somebody succeeded."""
    return in_metres(results) or any(result.estimates["success_rate"].mean > 0 for result in results)


def measured(metres: bool) -> tuple[str, ...]:
    """Return the names of the quantities with their units."""
    return tuple(returned(x, metres) if name == "average_return" else x for name, x in QUANTITIES.items())


def interval_over_tasks(record: Record) -> Estimate:
    """Return the mean return over tasks and its 95 % interval, by the normal approximation.

    It is R̄ ± 1.96·s/√n with the n tasks' standard deviation s² = Σ(R_i − R̄)²/(n − 1). Records hold the deviation σ
    with n in place of n − 1, so s/√n = σ/√(n − 1). It says how well these tasks stand for their distribution. It says
    nothing about other seeds of training.

    Args:
        record: An evaluation or a reference. With fewer than two tasks, or if their number is not stored, both ends
            are NaN.
    """
    mean, tasks = float(record["average_return"]), record.get("tasks", 0)
    if tasks < 2 or "average_return_std" not in record:
        return Estimate(mean)
    half = QUANTILE * record["average_return_std"] / math.sqrt(tasks - 1)
    return Estimate(mean, mean - half, mean + half)


def results_of_run(run: RunRecords, oracle: RunRecords | None = None) -> list[Result]:
    """Return the last whole evaluation of a run: on each task set standing still, the oracle, then k = 0 … K.

    Args:
        run: The run.
        oracle: The oracle that was trained on the same tasks, if there is one.

    Raises:
        RunFolderError: The run has no evaluation.
    """
    _, evaluation = run.last_evaluation()
    told = {} if oracle is None or run.is_oracle else oracle_records(oracle)
    still = run.stand_still()
    results = []
    for task_set in (name for name in TASK_SETS if name in evaluation):
        if task_set in still:
            results.append(_result(still[task_set], STANDING_STILL, False))
        if task_set in told:
            results.append(_result(told[task_set], ORACLE, False))
        results += results_of_evaluation(evaluation[task_set].values())
    return results


def results_of_evaluation(records: Iterable[Record]) -> list[Result]:
    """Return the results of one evaluation on one task set, in the order of its records."""
    records = list(records)
    last = max(record["fast_update"] for record in records)
    return [_result(record, record["algorithm"], record["fast_update"] == last) for record in records]


def _result(record: Record, method: str, last: bool) -> Result:
    known = {name: value for name in QUANTITIES if (value := record.get(name)) is not None}
    estimates = {name: Estimate(float(known.get(name, math.nan))) for name in QUANTITIES}
    estimates["average_return"] = interval_over_tasks(record)
    return Result(
        record["task_set"],
        method,
        record.get("fast_update"),
        last,
        estimates,
        record.get("tasks", 0),
        record.get("average_return_std"),
    )
