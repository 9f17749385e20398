"""Numbers of a run for TensorBoard.

A module of its own, imported by runs that write them: tensorboardX imports PyTorch where that is installed, which takes
longer than everything else.
"""

# The generated modules of TensorBoard's format have no type stubs.
# pyright: reportAttributeAccessIssue=false

import os
import socket
import time

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from tesp.storage.run_folder import RunFolder
from tesp.training.callbacks import Callback, scalars


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
