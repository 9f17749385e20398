"""Numbers of a run for TensorBoard.

A module of its own, imported by runs that write them: tensorboardX imports PyTorch where that is installed, which takes
longer than everything else.
"""

# The generated modules of TensorBoard's format have no type stubs.
# pyright: reportAttributeAccessIssue=false

import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import hparams

from tesp.report.records import groups_of
from tesp.storage.run_folder import RunFolder
from tesp.training.callbacks import Callback, Record, scalars


class WriteTensorBoard(Callback):
    """Writes numbers as TensorBoard's scalars over meta-updates, and the configuration once, as its hyper-parameters.

    Events are written here and at once: a writer with a thread of its own would wait forever on a full disk. A number
    that has been the same since the run began is held back: where it changes, all of its points are written.

    Args:
        folder: The run.
        config: The run's configuration, with its groups.
        first_meta_update: Meta-updates done before.
    """

    def __init__(self, folder: RunFolder, config: Mapping[str, Any], first_meta_update: int):
        folder.tensorboard.mkdir(exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        earlier = sum(1 for _ in folder.tensorboard.iterdir())
        self._held: dict[str, list[tuple[int, float]]] = {}
        self._changed: set[str] = set()
        self._file = RecordWriter(str(folder.tensorboard / f"{name}.{earlier}"))
        self._write(Event(file_version="brain.Event:2"))
        if not earlier:
            _, begun, _ = hparams(_hyper_parameters(config), {})
            self._write(Event(summary=begun))
            return
        # Events of meta-updates that are done again after a crash are marked as replaced.
        self._write(Event(step=first_meta_update + 1, session_log=SessionLog(status=SessionLog.START)))
        for record in folder.read_records():
            self._points(record)

    def _write(self, event: Event) -> None:
        event.wall_time = time.time()
        self._file.write(event.SerializeToString())

    def on_records(self, records: Sequence[Record]) -> None:
        """Write the scalars of training and evaluation records."""
        for record in records:
            for step, points in self._points(record).items():
                values = [Summary.Value(tag=tag, simple_value=value) for tag, value in points.items()]
                self._write(Event(step=step, summary=Summary(value=values)))
        self._file.flush()

    def _points(self, record: Record) -> dict[int, dict[str, float]]:
        """Return what is to be written of a record and of what was held back before it, by meta-update."""
        if record["kind"] not in ("train", "evaluation"):
            return {}
        found: dict[int, dict[str, float]] = {}
        step = record["meta_update"]
        for tag, value in scalars(record).items():
            points = self._held.setdefault(tag, [])
            points.append((step, value))
            if tag in self._changed or not _same(points[0][1], value):
                self._changed.add(tag)
                for place, held in self._held.pop(tag):
                    found.setdefault(place, {})[tag] = held
        return found

    def close(self) -> None:
        """Close the event file."""
        self._file.close()


def _same(one: float, other: float) -> bool:
    """Tell whether a number has not changed; what is never a number has not either."""
    return one == other or (one != one and other != other)


def _hyper_parameters(config: Mapping[str, Any]) -> dict[str, str | float]:
    """Return the fields of a configuration by group and name, lists and objects as JSON text; None is left out."""
    return {
        f"{group}.{name}": value if isinstance(value, str | int | float) else json.dumps(value)
        for group, fields in groups_of(config).items()
        for name, value in fields.items()
        if value is not None
    }
