"""What happens beside training: records, TensorBoard, progress. They watch and change nothing."""

import abc
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from tesp.training.run_folder import RunFolder, append_records

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


class WriteTensorBoard(Callback):
    """Writes every number as a TensorBoard scalar over meta-updates."""

    def __init__(self, folder: RunFolder, first_meta_update: int):
        # Events of meta-updates that are done again after a crash are marked as replaced.
        purge = first_meta_update + 1 if first_meta_update else None
        self._writer = SummaryWriter(str(folder.tensorboard), purge_step=purge)

    def on_records(self, records):
        """Write the scalars of training and evaluation records."""
        for record in records:
            if record["kind"] == "reference":
                continue
            group = record["kind"]
            if group == "evaluation":
                group += f"/{record['task_set']}/k{record['fast_update']}"
            for name, value in record.items():
                if isinstance(value, int | float) and name not in (
                    "meta_update",
                    "seed",
                    "fast_update",
                    "tasks",
                ):
                    self._writer.add_scalar(f"{group}/{name}", value, record["meta_update"])

    def close(self):
        """Flush the event file."""
        self._writer.close()


class ShowProgress(Callback):
    """A progress bar in a terminal, plain lines in a pipe."""

    def __init__(self, console: Console, total: int, done: int, name: str):
        self._console, self._total, self._last = console, total, {}
        self._bar = None
        if console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[status]}"),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console)
            self._task = self._bar.add_task(name, total=total, completed=done, status="compiling …")
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
            self._bar.update(self._task, completed=record["meta_update"], status=status)
            return
        left = record["seconds"] * (self._total - record["meta_update"])
        self._console.print(f"meta-update {record['meta_update']:>5}/{self._total}  {status}  about {left:,.0f} s left")

    def _show_evaluation(self, evaluations):
        last = max(r["fast_update"] for r in evaluations)
        shown = {r["task_set"]: r for r in evaluations if r["fast_update"] == last}
        parts = "  ".join(
            f"{sign} {shown[name]['average_return']:8.2f}"
            for sign, name in (("D", "train"), ("D′", "in_distribution"), ("D″", "out_of_distribution"))
            if name in shown
        )
        done = evaluations[0]["meta_update"]
        self._console.print(f"evaluation after {done} meta-updates and {last} fast-updates:  {parts}")

    def close(self):
        """Take the bar down."""
        if self._bar is not None:
            self._bar.stop()
