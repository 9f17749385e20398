"""One evaluation as a table for the terminal."""

from rich import box
from rich.table import Table

from tesp.report.records import RunRecords
from tesp.report.results import Result, in_metres, measured, results_of_run
from tesp.report.words import ORACLE, SHORT, STANDING_STILL, number, percent


def evaluation_table(run: RunRecords, oracle: RunRecords | None = None, title: str | None = None) -> Table:
    """Return a run's last whole evaluation: D, D′, D″; in each standing still, the oracle, then k = 0 … K.

    It fits into a terminal 80 characters wide, with a rule between task sets.

    Args:
        run: The run.
        oracle: The oracle trained on the same tasks; without one its row is empty. An oracle's own table has none.
        title: What stands above.

    Raises:
        RunFolderError: The run has no evaluation.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    results = results_of_run(run, oracle)
    for index, header in enumerate(("task set", "fast-updates", *measured(in_metres(results)))):
        table.add_column(header.replace(" ", "\n"), justify="right" if index else "left")
    for task_set in dict.fromkeys(result.task_set for result in results):
        rows = [_cells(result, run.is_oracle) for result in results if result.task_set == task_set]
        if not run.is_oracle and all(name != ORACLE for name, *_ in rows):
            rows.insert(rows[0][0] == STANDING_STILL, (ORACLE, *["–"] * 4))
        for cells in rows:
            table.add_row(SHORT[task_set], *cells)
        table.add_section()
    return table


def _cells(result: Result, of_oracle: bool) -> tuple[str, ...]:
    framed = result.method == STANDING_STILL or (result.method == ORACLE and not of_oracle)
    average, success, distance, length = (estimate.mean for estimate in result.estimates.values())
    spread = "" if result.spread is None else f" ± {number(result.spread, 1)}"
    return (
        result.method if framed else str(result.fast_update),
        f"{number(average, 1)}{spread}",
        percent(success),
        number(distance, 2),
        number(length, 0),
    )
