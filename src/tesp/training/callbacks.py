"""What happens beside training: records, progress. They watch and change nothing."""

import abc
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from tesp.progress import ProgressBar
from tesp.report.words import SIGNS
from tesp.storage.run_folder import RunFolder, append_records

Record = dict[str, Any]


class Callback(abc.ABC):
    """Told of every record as it is made."""

    @abc.abstractmethod
    def on_records(self, records: Sequence[Record]) -> None:
        """Take records of kind ``train``, ``evaluation`` or ``reference``."""

    @abc.abstractmethod
    def close(self) -> None:
        """Write out what is still held; called once, also after an error."""


class WriteRecords(Callback):
    """Appends every record to ``records.jsonl``."""

    def __init__(self, folder: RunFolder):
        self._path = folder.records

    def on_records(self, records):
        """Append the records in one write."""
        append_records(self._path, records)

    def close(self):
        """Nothing is held back."""


#: Columns that say where a number belongs and are no curves themselves.
_NOT_DRAWN = ("meta_update", "seed", "fast_update", "tasks", "episodes_per_task")


def scalars(record: Record) -> dict[str, int | float]:
    """Return the numbers of a training or evaluation record by the names that curves have; lists are left out."""
    group = record["kind"]
    if group == "evaluation":
        group += f"/{record['task_set']}/k{record['fast_update']}"
    return {
        f"{group}/{name}": value
        for name, value in record.items()
        if isinstance(value, int | float) and name not in _NOT_DRAWN
    }


class ShowProgress(Callback):
    """A progress bar in a terminal, plain lines in a pipe."""

    def __init__(self, console: Console, total: int, done: int, name: str):
        self._console, self._total = console, total
        self._bar = None
        if console.is_interactive:
            self._bar = ProgressBar(console, name, total, keep=True)
            self._bar.update(done, "compiling …")
            self._bar.start()

    def on_records(self, records):
        """Show the newest meta-update, or the newest evaluation."""
        for record in records:
            if record["kind"] == "train":
                self._show_training(record)
        evaluations = [r for r in records if r["kind"] == "evaluation"]
        if evaluations:
            self._show_evaluation(evaluations)

    def _show_training(self, record):
        speed = record["steps_sampled"] / max(record["seconds"], 1e-9)
        status = f"return {record['average_return']:8.2f}  {speed:8,.0f} steps/s"
        if self._bar is not None:
            self._bar.update(record["meta_update"], status)
            return
        left = record["seconds"] * (self._total - record["meta_update"])
        self._console.print(f"meta-update {record['meta_update']:>5}/{self._total}  {status}  about {left:,.0f} s left")

    def _show_evaluation(self, evaluations):
        last = max(r["fast_update"] for r in evaluations)
        shown = {r["task_set"]: r for r in evaluations if r["fast_update"] == last}
        parts = "  ".join(
            f"{sign} {shown[name]['average_return']:8.2f}" for name, sign in SIGNS.items() if name in shown
        )
        done = evaluations[0]["meta_update"]
        self._console.print(f"evaluation after {done} meta-updates and {last} fast-updates:  {parts}")

    def close(self):
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()
