"""Several methods on one family as one table: means over seeds with intervals, every k, both reference lines."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tesp.errors import ConfigurationError
from tesp.plotting import style
from tesp.plotting.evaluations import evaluation_at
from tesp.plotting.records import Record, Run
from tesp.plotting.references import ORACLE
from tesp.plotting.seeds import bootstrap_interval, group_runs

#: The paper reports the best 3 of 10 seeds.
BEST = 3

#: What is averaged over seeds, and its column in Markdown.
QUANTITIES = {
    "average_return": "return (m·steps)",
    "success_rate": "success",
    "final_distance": "final distance (m)",
    "episode_length": "episode length",
}


class Estimate(NamedTuple):
    """A mean over seeds with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class ComparisonRow:
    """One method on one task set after k fast-updates, over its seeds.

    Attributes:
        task_set: ``train``, ``in_distribution`` or ``out_of_distribution``.
        method: Name of the algorithm, or ``standing still``.
        fast_update: k; None for standing still.
        last: Whether k = K.
        seeds: Number of seeds.
        estimates: By the names of ``QUANTITIES``.
        best_return: Mean return of the best 3 seeds: those with the greatest return on D after K fast-updates, so that
            neither D′ nor D″ chooses; None for standing still.
        meta_update: Meta-updates of the training.
        environment_steps: Steps sampled in training, mean over seeds.
    """

    task_set: str
    method: str
    fast_update: int | None
    last: bool
    seeds: int
    estimates: dict[str, Estimate]
    best_return: float | None = None
    meta_update: int | None = None
    environment_steps: float | None = None


def comparison_rows(runs: Sequence[Run]) -> list[ComparisonRow]:
    """Return the rows of D, D′ and D″: standing still, the oracle, then every method with k = 0 … K.

    Raises:
        RunFolderError: A run has no evaluation.
        ConfigurationError: The runs are of several families, or runs of one algorithm share a seed, differ in more
            than the seed, or were not trained equally long.
    """
    groups = group_runs(runs)
    order = sorted(groups, key=lambda name: name != ORACLE)
    rows = []
    for task_set in style.TASK_SETS:
        rows += _standing_still(groups, task_set)
        for name in order:
            rows += _method(name, groups[name], task_set)
    return rows


def _standing_still(groups: dict[str, list[Run]], task_set: str) -> Iterable[ComparisonRow]:
    # Runs of one seed have the same tasks, so one of them speaks for all.
    found: dict[int, Record] = {}
    for run in (run for runs in groups.values() for run in runs):
        if task_set in (still := run.stand_still()):
            found.setdefault(run.records["evaluation"][0]["seed"], still[task_set])
    if found:
        yield ComparisonRow(task_set, "standing still", None, True, len(found), _estimates(list(found.values())))


def _method(name: str, runs: list[Run], task_set: str) -> Iterable[ComparisonRow]:
    evaluations = [evaluation_at(run) for run in runs]
    _require_equal_length(name, runs, evaluations)
    records = [evaluation[task_set] for _, evaluation in evaluations]
    last = max(records[0])
    best = np.argsort([-evaluation["train"][last]["average_return"] for _, evaluation in evaluations])[:BEST]
    for k in sorted(records[0]):
        seeds = [record[k] for record in records]
        yield ComparisonRow(
            task_set,
            name,
            k,
            k == last,
            len(seeds),
            _estimates(seeds),
            float(np.mean([seeds[index]["average_return"] for index in best])),
            evaluations[0][0],
            float(np.mean([record["environment_steps"] for record in seeds])),
        )


def _require_equal_length(
    name: str, runs: list[Run], evaluations: list[tuple[int, dict[str, dict[int, Record]]]]
) -> None:
    """Refuse runs that cannot be averaged because one of them was stopped before its end."""
    ends = {update: run.name for run, (update, _) in zip(runs, evaluations, strict=True)}
    whole = all(len(evaluation) == len(style.TASK_SETS) for _, evaluation in evaluations)
    if len(ends) > 1 or not whole:
        found = ", ".join(f"{update} meta-updates (run {run!r})" for update, run in sorted(ends.items()))
        raise ConfigurationError(
            f"The last whole evaluations of {name!r} are of different or unfinished runs: {found}; finish all of them "
            "with `tesp resume`."
        )


def _estimates(records: Sequence[Record]) -> dict[str, Estimate]:
    values = np.array([[record.get(name, np.nan) for name in QUANTITIES] for record in records], float)
    low, high = bootstrap_interval(values)
    return {
        name: Estimate(*map(float, found))
        for name, *found in zip(QUANTITIES, values.mean(axis=0), low, high, strict=True)
    }


def comparison_markdown(rows: Sequence[ComparisonRow]) -> str:
    """Return the rows as a Markdown table; k = K is bold."""
    headers = ("task set", "method", "k", *QUANTITIES.values(), f"best {BEST} of n", "n", "training steps")
    lines = [headers, ("---", "---", *["---:"] * (len(headers) - 2))]
    lines += [_cells(row) for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(row: ComparisonRow) -> tuple[str, ...]:
    digits = {"average_return": 1, "final_distance": 3, "episode_length": 0}
    cells = []
    for name, estimate in row.estimates.items():
        mean, low, high = (
            style.percent(x) if name == "success_rate" else style.number(x, digits[name]) for x in estimate
        )
        cells.append(f"{mean} [{low}, {high}]" if row.seeds > 1 else mean)
    if row.last and row.fast_update is not None:
        cells[0] = f"**{cells[0]}**"
    return (
        style.TASK_SETS[row.task_set],
        style.ALGORITHMS.get(row.method, row.method),
        "" if row.fast_update is None else str(row.fast_update),
        *cells,
        style.number(row.best_return, 1),
        str(row.seeds),
        "" if row.environment_steps is None else f"{row.environment_steps:,.0f}",
    )


def comparison_csv(rows: Sequence[ComparisonRow]) -> str:
    """Return the rows as comma-separated values in full precision, with a line of names."""
    text = io.StringIO()
    quantities = [f"{name}{end}" for name in QUANTITIES for end in ("", "_low", "_high")]
    names = [
        "task_set",
        "method",
        "fast_update",
        "seeds",
        "meta_update",
        "environment_steps",
        *quantities,
        "best_return",
    ]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        estimates = [value for estimate in row.estimates.values() for value in estimate]
        head = (row.task_set, row.method, row.fast_update, row.seeds, row.meta_update, row.environment_steps)
        writer.writerow([*head, *estimates, row.best_return])
    return text.getvalue()
