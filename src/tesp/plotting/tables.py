"""One evaluation as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from tesp.plotting import style
from tesp.plotting.evaluations import evaluation_at
from tesp.plotting.records import Record, Run

#: Names of the task sets that leave the other columns room in a terminal 80 characters wide.
SHORT = {"train": "D (training)", "in_distribution": "D′ (new)", "out_of_distribution": "D″ (outside)"}

HEADERS = ("task set", "fast-updates", "return (m·steps)", "success", "final distance (m)", "episode length")


@dataclass(frozen=True)
class EvaluationRow:
    """One task set after one number of fast-updates, or standing still.

    Attributes:
        task_set: ``train``, ``in_distribution`` or ``out_of_distribution``.
        fast_update: k; None for standing still.
        average_return: Mean over tasks, in metre·steps.
        average_return_std: Standard deviation over tasks, in metre·steps.
        success_rate: Share of the episodes that arrived.
        final_distance: Distance to the goal at the end of the episode, in metres.
        episode_length: Steps.
    """

    task_set: str
    fast_update: int | None
    average_return: float
    average_return_std: float | None = None
    success_rate: float | None = None
    final_distance: float | None = None
    episode_length: float | None = None


def evaluation_rows(run: Run, meta_update: int | None = None) -> list[EvaluationRow]:
    """Return an evaluation's rows: D, D′, D″; in each standing still, then k = 0 … K.

    Args:
        run: The run.
        meta_update: Which evaluation; None for the last complete one.

    Raises:
        RunFolderError: The run has no evaluation.
        ConfigurationError: The run was not evaluated at ``meta_update``.
    """
    _, evaluation = evaluation_at(run, meta_update)
    stand_still = run.stand_still()
    rows = []
    for task_set in style.TASK_SETS:
        if task_set not in evaluation:
            continue
        if task_set in stand_still:
            rows.append(_row(None, stand_still[task_set]))
        rows += [_row(fast_update, record) for fast_update, record in evaluation[task_set].items()]
    return rows


def markdown_table(rows: Sequence[EvaluationRow]) -> str:
    """Return the rows as a Markdown table, with a line break at the end."""
    lines = [
        HEADERS,
        ("---", *["---:"] * (len(HEADERS) - 1)),
        *(_cells(row, style.TASK_SETS) for row in rows),
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def rich_table(rows: Sequence[EvaluationRow], title: str | None = None) -> Table:
    """Return the rows as a table for the terminal, with a rule between task sets."""
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for index, header in enumerate(HEADERS):
        table.add_column(header.replace(" ", "\n"), justify="right" if index else "left")
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        table.add_row(*_cells(row, SHORT), end_section=following is not None and following.task_set != row.task_set)
    return table


def _row(fast_update: int | None, record: Record) -> EvaluationRow:
    return EvaluationRow(
        record["task_set"],
        fast_update,
        record["average_return"],
        record.get("average_return_std"),
        record.get("success_rate"),
        record.get("final_distance"),
        record.get("episode_length"),
    )


def _cells(row: EvaluationRow, names: Mapping[str, str]) -> tuple[str, ...]:
    average = style.number(row.average_return, 1)
    if row.average_return_std is not None:
        average += f" ± {style.number(row.average_return_std, 1)}"
    return (
        names.get(row.task_set, row.task_set),
        "standing still" if row.fast_update is None else str(row.fast_update),
        average,
        style.percent(row.success_rate),
        style.number(row.final_distance, 2),
        style.number(row.episode_length, 0),
    )
