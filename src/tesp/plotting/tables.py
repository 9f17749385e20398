"""One evaluation as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table

from tesp.plotting import style
from tesp.plotting.evaluations import evaluation_at
from tesp.plotting.records import Record, Run
from tesp.plotting.references import is_oracle, oracle_records

#: Names of the task sets that leave the other columns room in a terminal 80 characters wide.
SHORT = {"train": "D (training)", "in_distribution": "D′ (new)", "out_of_distribution": "D″ (outside)"}

HEADERS = ("task set", "fast-updates", "return (m·steps)", "success", "final distance (m)", "episode length")


@dataclass(frozen=True)
class EvaluationRow:
    """One task set after one number of fast-updates, or a reference line.

    Attributes:
        task_set: ``train``, ``in_distribution`` or ``out_of_distribution``.
        fast_update: k; None for a reference.
        average_return: Mean over tasks, in metre·steps; None where there is no such run.
        average_return_std: Standard deviation over tasks, in metre·steps.
        success_rate: Share of the episodes that arrived.
        final_distance: Distance to the goal at the end of the episode, in metres.
        episode_length: Steps.
        reference: ``standing still`` or ``oracle``, the lines that frame the others; None for the run itself.
    """

    task_set: str
    fast_update: int | None
    average_return: float | None
    average_return_std: float | None = None
    success_rate: float | None = None
    final_distance: float | None = None
    episode_length: float | None = None
    reference: str | None = None


def evaluation_rows(run: Run, meta_update: int | None = None, oracle: Run | None = None) -> list[EvaluationRow]:
    """Return an evaluation's rows: D, D′, D″; in each standing still, the oracle, then k = 0 … K.

    Args:
        run: The run.
        meta_update: Which evaluation; None for the last complete one.
        oracle: The oracle trained on the same tasks; without one its row is empty.

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
            rows.append(_row(None, stand_still[task_set], "standing still"))
        if not is_oracle(run):
            told = {} if oracle is None else oracle_records(oracle)
            rows.append(_row(None, told.get(task_set, {"task_set": task_set}), "oracle"))
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


def _row(fast_update: int | None, record: Record, reference: str | None = None) -> EvaluationRow:
    return EvaluationRow(
        record["task_set"],
        fast_update,
        record.get("average_return"),
        record.get("average_return_std"),
        record.get("success_rate"),
        record.get("final_distance"),
        record.get("episode_length"),
        reference,
    )


def _cells(row: EvaluationRow, names: Mapping[str, str]) -> tuple[str, ...]:
    average = style.number(row.average_return, 1)
    if row.average_return_std is not None:
        average += f" ± {style.number(row.average_return_std, 1)}"
    return (
        names.get(row.task_set, row.task_set),
        row.reference or str(row.fast_update),
        average,
        style.percent(row.success_rate),
        style.number(row.final_distance, 2),
        style.number(row.episode_length, 0),
    )
