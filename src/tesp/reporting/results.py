"""What a report says about returns: one result for each agent on each task set, of one run or over seeds."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tesp.plotting import style
from tesp.plotting.comparison import QUANTITIES, ComparisonRow, Estimate
from tesp.plotting.evaluations import evaluation_at
from tesp.plotting.records import Record, Run
from tesp.plotting.references import ORACLE, is_oracle, oracle_records

STANDING_STILL = "standing still"

#: The 97.5 % quantile of the normal distribution.
QUANTILE = 1.959963984540054


@dataclass(frozen=True)
class Result:
    """One agent on one task set.

    Attributes:
        task_set: ``train``, ``in_distribution`` or ``out_of_distribution``.
        method: Name of the algorithm, or ``standing still``.
        fast_update: k; None for standing still.
        last: Whether k = K, so that this is what the method comes to.
        estimates: By the names of ``plotting.comparison.QUANTITIES``; an end of an interval that is not known is NaN.
        spread: Standard deviation of the return over tasks in metre·steps; None where the estimates are over seeds.
        count: Tasks, or seeds, that the estimates are over.
    """

    task_set: str
    method: str
    fast_update: int | None
    last: bool
    estimates: dict[str, Estimate]
    spread: float | None
    count: int

    @property
    def average_return(self) -> Estimate:
        """The return with its interval, in metre·steps."""
        return self.estimates["average_return"]


def interval_over_tasks(record: Record) -> Estimate:
    """Return the mean return over tasks and its 95 % interval in metre·steps, by the normal approximation.

    It is R̄ ± 1.96·s/√n with the n tasks' standard deviation s² = Σ(R_i − R̄)²/(n − 1). Records hold the deviation σ
    with n in place of n − 1, so s/√n = σ/√(n − 1). It says how well these tasks stand for their distribution. It says
    nothing about other seeds of training.

    Args:
        record: An evaluation or a reference. With fewer than two tasks, or if their number is not stored, both ends
            are NaN.
    """
    mean, tasks = float(record["average_return"]), record.get("tasks", 0)
    if tasks < 2 or "average_return_std" not in record:
        return Estimate(mean, math.nan, math.nan)
    half = QUANTILE * record["average_return_std"] / math.sqrt(tasks - 1)
    return Estimate(mean, mean - half, mean + half)


def results_of_run(run: Run, oracle: Run | None = None) -> list[Result]:
    """Return the last whole evaluation of a run: on each task set standing still, the oracle, then k = 0 … K.

    Args:
        run: The run.
        oracle: The oracle that was trained on the same tasks, if there is one.

    Raises:
        RunFolderError: The run has no evaluation.
    """
    _, evaluation = evaluation_at(run)
    told = {} if oracle is None or is_oracle(run) else oracle_records(oracle)
    still = run.stand_still()
    results = []
    for task_set in (name for name in style.TASK_SETS if name in evaluation):
        if task_set in still:
            results.append(_of_record(still[task_set], STANDING_STILL, None, False))
        if task_set in told:
            results.append(_of_record(told[task_set], ORACLE, told[task_set]["fast_update"], False))
        results += results_of_evaluation(evaluation[task_set].values())
    return results


def results_of_evaluation(records: Iterable[Record]) -> list[Result]:
    """Return the results of one evaluation on one task set, in the order of its records."""
    records = list(records)
    last = max(record["fast_update"] for record in records)
    return [
        _of_record(record, record["algorithm"], record["fast_update"], record["fast_update"] == last)
        for record in records
    ]


def results_over_seeds(rows: Sequence[ComparisonRow]) -> list[Result]:
    """Return the rows of a comparison as results; a method of a single seed has no interval."""
    methods = {row.method for row in rows} - {STANDING_STILL}
    framed = methods - {ORACLE} or methods
    return [
        Result(
            row.task_set,
            row.method,
            row.fast_update,
            row.last and row.method in framed,
            row.estimates if row.seeds > 1 else {name: _alone(found.mean) for name, found in row.estimates.items()},
            None,
            row.seeds,
        )
        for row in rows
    ]


def _of_record(record: Record, method: str, fast_update: int | None, last: bool) -> Result:
    estimates = {name: _alone(float(record.get(name, math.nan))) for name in QUANTITIES}
    estimates["average_return"] = interval_over_tasks(record)
    spread = record.get("average_return_std")
    return Result(record["task_set"], method, fast_update, last, estimates, spread, record.get("tasks", 0))


def _alone(mean: float) -> Estimate:
    return Estimate(mean, math.nan, math.nan)
