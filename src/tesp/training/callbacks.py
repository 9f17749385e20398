"""What happens beside training: records, TensorBoard, progress. They watch and change nothing."""

# The generated modules of TensorBoard's format have no type stubs.
# pyright: reportAttributeAccessIssue=false

import abc
import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from tesp.progress import ProgressBar
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


#: Columns that say where a number belongs and are no curves themselves.
_NOT_DRAWN = ("meta_update", "seed", "fast_update", "tasks", "episodes_per_task")


class WriteTensorBoard(Callback):
    """Writes every number as a TensorBoard scalar over meta-updates.

    Events are written here and at once: a writer with a thread of its own would wait forever on a full disk.
    """

    def __init__(self, folder: RunFolder, first_meta_update: int):
        folder.tensorboard.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        earlier = sum(1 for _ in folder.tensorboard.iterdir())
        self._file = RecordWriter(str(folder.tensorboard / f"{name}.{earlier}"))
        self._write(Event(file_version="brain.Event:2"))
        if earlier:
            # Events of meta-updates that are done again after a crash are marked as replaced.
            self._write(Event(step=first_meta_update + 1, session_log=SessionLog(status=SessionLog.START)))

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._file.write(event.SerializeToString())

    def on_records(self, records):
        """Write the scalars of training and evaluation records."""
        for record in records:
            if record["kind"] != "reference":
                values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(record).items()]
                self._write(Event(step=record["meta_update"], summary=Summary(value=values)))
        self._file.flush()

    def close(self):
        """Close the event file."""
        self._file.close()


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
