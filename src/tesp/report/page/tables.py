"""The tables of a report: rows of text in groups, made from results, records and configurations."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tesp.report.records import Record, groups_of, has_distance
from tesp.report.results import DIGITS, Estimate, Result, in_metres, measured, results_of_evaluation
from tesp.report.words import ORACLE, STANDING_STILL, TASK_SETS, TOLD, agent, method, number, percent

#: A report shows this many adaptations, the latest ones.
ADAPTATIONS = 20


@dataclass(frozen=True)
class Row:
    """Cells of text, and how they are emphasised: ``reference`` (stands back), ``last`` (stands out) or not."""

    cells: tuple[str, ...]
    emphasis: str = ""


@dataclass(frozen=True)
class Group:
    """Rows under one name."""

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table: names of its columns, rows in groups, and ``numbers`` or ``values``, which are set differently."""

    headers: tuple[str, ...]
    groups: tuple[Group, ...]
    kind: str = "numbers"


def over_seeds(rows: Sequence[Result]) -> list[Result]:
    """Return the rows of a comparison as a report shows them: no interval of a single seed, no oracle that stands out.

    The oracle stands out only where it is the one method.
    """
    methods = {row.method for row in rows} - {STANDING_STILL}
    framed = methods - {ORACLE} or methods
    return [
        replace(
            row,
            last=row.last and row.method in framed,
            estimates=row.estimates
            if row.count > 1
            else {name: Estimate(found.mean) for name, found in row.estimates.items()},
        )
        for row in rows
    ]


def results_table(results: Sequence[Result]) -> Table:
    """Return the results by task set; every method is named if there are several."""
    methods = {result.method for result in results if result.last}
    over_tasks = any(result.spread is not None for result in results)
    headers = ("agent", *measured(in_metres(results)))
    groups = []
    for task_set, title in TASK_SETS.items():
        found = [result for result in results if result.task_set == task_set]
        if found:
            rows = tuple(_row(result, len(methods) > 1, over_tasks) for result in found)
            groups.append(Group(title, rows))
    return Table((*headers, *(("s.d. over tasks", "tasks") if over_tasks else ("seeds",))), tuple(groups))


def evaluations_table(records: Sequence[Record]) -> Table:
    """Return what `tesp evaluate` stored, by checkpoint, noise and task set; a repeated evaluation counts once."""
    found: dict[tuple[int, float, str], dict[int, Record]] = {}
    for record in records:
        place = (record["meta_update"], float(record.get("dynamics_noise", 0.0)), record["task_set"])
        found.setdefault(place, {})[record["fast_update"]] = record
    order = list(TASK_SETS)
    groups, every = [], []
    for meta_update, noise, task_set in sorted(found, key=lambda place: (*place[:2], order.index(place[2]))):
        evaluation = found[meta_update, noise, task_set]
        results = results_of_evaluation(evaluation[k] for k in sorted(evaluation))
        every += results
        name = f"Meta-update {meta_update}, σ = {noise:g}, {TASK_SETS[task_set]}"
        groups.append(Group(name, tuple(_row(result, False, True) for result in results)))
    return Table(("agent", *measured(in_metres(every)), "s.d. over tasks", "tasks"), tuple(groups))


def adaptations_table(records: Sequence[Record]) -> Table:
    """Return the rounds of the latest ``ADAPTATIONS`` adaptations, one group for each, in the order of writing."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.get("adaptation_id", ""), []).append(record)
    groups = []
    for rounds in list(found.values())[-ADAPTATIONS:]:
        last = max(record["fast_update"] for record in rounds)
        rows = tuple(_adaptation_row(record, record["fast_update"] == last) for record in rounds)
        task = ", ".join(f"{x:g}" for x in rounds[0]["goal"]).replace("-", "−")
        groups.append(Group(f"Task ({task})", rows))
    metres = any(map(has_distance, records))
    return Table(("round", *measured(metres)[:3], "steps sampled"), tuple(groups))


def differences_table(config: Mapping[str, Any], preset: Mapping[str, Any]) -> Table:
    """Return the fields in which a run differs from its preset; no group if there is none."""
    before = {(group, name): value for group, values in groups_of(preset).items() for name, value in values.items()}
    groups = []
    for group, values in groups_of(config).items():
        rows = tuple(
            Row((name, _value(before.get((group, name))), _value(value)))
            for name, value in values.items()
            if _value(before.get((group, name))) != _value(value)
        )
        if rows:
            groups.append(Group(group, rows))
    return Table(("field", "in the preset", "in this run"), tuple(groups), "values")


def configuration_table(config: Mapping[str, Any]) -> Table:
    """Return every field of a configuration, by its groups."""
    groups = [
        Group(group, tuple(Row((name, _value(value))) for name, value in values.items()))
        for group, values in groups_of(config).items()
        if values
    ]
    return Table(("field", "value"), tuple(groups), "values")


def estimate(found: Estimate, name: str = "average_return") -> str:
    """Return a mean and its interval in brackets, if it has one."""
    mean, low, high = (percent(x) if name == "success_rate" else number(x, DIGITS[name]) for x in found)
    return mean if math.isnan(found.low) else f"{mean} [{low}, {high}]"


def _row(result: Result, named: bool, over_tasks: bool) -> Row:
    if result.fast_update is None:
        who = STANDING_STILL
    elif result.method == ORACLE:
        who = TOLD
    else:
        who = f"{method(result.method)} {agent(result.fast_update)}" if named else agent(result.fast_update)
    cells = [who, *(estimate(found, name) for name, found in result.estimates.items())]
    if over_tasks:
        cells.append(number(result.spread, 1))
    cells.append(str(result.count) if result.count else "–")
    reference = result.fast_update is None or result.method == ORACLE
    return Row(tuple(cells), "last" if result.last else "reference" if reference else "")


def _adaptation_row(record: Record, last: bool) -> Row:
    steps = record.get("environment_steps")
    cells = (
        agent(record["fast_update"]),
        number(record["average_return"], DIGITS["average_return"]),
        percent(record["success_rate"]),
        number(record.get("final_distance"), DIGITS["final_distance"]),
        "–" if steps is None else f"{steps:,}",
    )
    return Row(cells, "last" if last else "")


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
