"""Several methods on one family as one table: means over seeds with intervals, every k, both reference lines."""

import csv
import io
from collections.abc import Iterable, Sequence

import numpy as np

from tesp.errors import ConfigurationError
from tesp.report.records import Record, RunRecords
from tesp.report.results import DIGITS, QUANTITIES, Estimate, Result, in_metres, measured
from tesp.report.seeds import bootstrap_interval, group_runs
from tesp.report.words import ORACLE, STANDING_STILL, TASK_SETS, method, number, percent

#: The paper reports the best 3 of 10 seeds.
BEST = 3


def comparison_rows(runs: Sequence[RunRecords]) -> list[Result]:
    """Return the rows of D, D′ and D″: standing still, the oracle, then every method with k = 0 … K.

    The best 3 seeds of a method are those with the greatest return on D after K fast-updates, so that neither D′ nor
    D″ chooses. The interval of a single seed is the seed.

    Raises:
        RunFolderError: A run has no evaluation.
        ConfigurationError: The runs are of several families, or runs of one algorithm share a seed, differ in more
            than the seed, or were not trained equally long.
    """
    groups = group_runs(runs)
    order = sorted(groups, key=lambda name: name != ORACLE)
    rows = []
    for task_set in TASK_SETS:
        rows += _standing_still(groups, task_set)
        for name in order:
            rows += _method(name, groups[name], task_set)
    return rows


def _standing_still(groups: dict[str, list[RunRecords]], task_set: str) -> Iterable[Result]:
    # Runs of one seed have the same tasks, so one of them speaks for all.
    found: dict[int, Record] = {}
    for run in (run for runs in groups.values() for run in runs):
        if task_set in (still := run.stand_still()):
            found.setdefault(run.first["seed"], still[task_set])
    if found:
        yield Result(task_set, STANDING_STILL, None, True, _estimates(list(found.values())), len(found))


def _method(name: str, runs: list[RunRecords], task_set: str) -> Iterable[Result]:
    evaluations = [run.last_evaluation() for run in runs]
    _require_equal_length(name, runs, evaluations)
    records = [evaluation[task_set] for _, evaluation in evaluations]
    last = max(records[0])
    best = np.argsort([-evaluation["train"][last]["average_return"] for _, evaluation in evaluations])[:BEST]
    for k in sorted(records[0]):
        seeds = [record[k] for record in records]
        yield Result(
            task_set,
            name,
            k,
            k == last,
            _estimates(seeds),
            len(seeds),
            best_return=float(np.mean([seeds[index]["average_return"] for index in best])),
            meta_update=evaluations[0][0],
            environment_steps=float(np.mean([record["environment_steps"] for record in seeds])),
        )


def _require_equal_length(
    name: str, runs: list[RunRecords], evaluations: list[tuple[int, dict[str, dict[int, Record]]]]
) -> None:
    """Refuse runs that cannot be averaged because one of them was stopped before its end."""
    ends = {update: run.name for run, (update, _) in zip(runs, evaluations, strict=True)}
    whole = all(len(evaluation) == len(TASK_SETS) for _, evaluation in evaluations)
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


def comparison_markdown(rows: Sequence[Result]) -> str:
    """Return the rows as a Markdown table; k = K is bold."""
    headers = ("task set", "method", "k", *measured(in_metres(rows)), f"best {BEST} of n", "n", "training steps")
    lines = [headers, ("---", "---", *["---:"] * (len(headers) - 2))]
    lines += [_cells(row) for row in rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cells(row: Result) -> tuple[str, ...]:
    cells = []
    for name, estimate in row.estimates.items():
        mean, low, high = (percent(x) if name == "success_rate" else number(x, DIGITS[name]) for x in estimate)
        cells.append(f"{mean} [{low}, {high}]" if row.count > 1 else mean)
    if row.last and row.fast_update is not None:
        cells[0] = f"**{cells[0]}**"
    return (
        TASK_SETS[row.task_set],
        method(row.method),
        "" if row.fast_update is None else str(row.fast_update),
        *cells,
        number(row.best_return, 1),
        str(row.count),
        "" if row.environment_steps is None else f"{row.environment_steps:,.0f}",
    )


def comparison_csv(rows: Sequence[Result]) -> str:
    """Return the rows as comma-separated values in full precision, with a line of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    quantities = [f"{name}{end}" for name in QUANTITIES for end in ("", "_low", "_high")]
    head = ("task_set", "method", "fast_update", "seeds", "meta_update", "environment_steps")
    writer.writerow([*head, *quantities, "best_return"])
    for row in rows:
        estimates = [value for estimate in row.estimates.values() for value in estimate]
        known = (row.task_set, row.method, row.fast_update, row.count, row.meta_update, row.environment_steps)
        writer.writerow([*known, *estimates, row.best_return])
    return text.getvalue()
