import io
import struct

import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event, SessionLog

from helpers.running import records, tesp
from tesp.storage.run_folder import RunFolder
from tesp.training.callbacks import ShowProgress
from tesp.training.tensorboard_callback import WriteTensorBoard

TRAINED = {
    "kind": "train",
    "seed": 0,
    "meta_update": 3,
    "steps_sampled": 500,
    "seconds": 0.5,
    "average_return": -2.25,
    "round_returns": [-3.0, -2.25],
}
EVALUATED = {
    "kind": "evaluation",
    "meta_update": 4,
    "fast_update": 1,
    "task_set": "in_distribution",
    "average_return": -2.0,
    "tasks": 6,
}


def events(folder):
    """What TensorBoard reads: length, its checksum, an event, its checksum, and so on; file by file."""
    files = sorted(folder.iterdir(), key=lambda path: int(path.name.rsplit(".", 1)[1]))
    return [event for path in files for event in events_of(path.read_bytes())]


def events_of(data):
    found = []
    while data:
        (length,) = struct.unpack("Q", data[:8])
        event = Event()
        event.ParseFromString(data[12 : 12 + length])
        found.append(event)
        data = data[16 + length :]
    return found


def scalars(folder):
    return {(event.step, value.tag): value.simple_value for event in events(folder) for value in event.summary.value}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def test_tensorboard_gets_every_number(folder):
    writer = WriteTensorBoard(folder, 0)
    writer.on_records([{"kind": "reference", "average_return": -9.0}, TRAINED, EVALUATED])
    # Written at once, not only at the end.
    assert scalars(folder.tensorboard) == {
        (3, "train/average_return"): -2.25,
        (3, "train/steps_sampled"): 500.0,
        (3, "train/seconds"): 0.5,
        (4, "evaluation/in_distribution/k1/average_return"): -2.0,
    }
    writer.close()


def test_tensorboard_of_a_resumed_run_marks_what_is_done_again(folder):
    for first in (0, 2, 2):
        writer = WriteTensorBoard(folder, first)
        writer.on_records([TRAINED])
        writer.close()
    assert len(list(folder.tensorboard.iterdir())) == 3
    starts = [e.step for e in events(folder.tensorboard) if e.session_log.status == SessionLog.START]
    assert starts == [3, 3]


def test_tensorboard_of_a_run_agrees_with_its_records(reference):
    drawn = scalars(reference.path / "tensorboard")
    for record in records(reference.path, "train"):
        assert drawn[record["meta_update"], "train/policy_loss"] == pytest.approx(record["policy_loss"])
    for record in records(reference.path, "evaluation"):
        tag = f"evaluation/{record['task_set']}/k{record['fast_update']}/average_return"
        assert drawn[record["meta_update"], tag] == pytest.approx(record["average_return"])


def test_a_resumed_run_writes_events_beside_the_earlier_ones(run):
    before = {path.name: path.read_bytes() for path in (run / "tensorboard").iterdir()}
    assert tesp("resume", run).code == 0
    assert before.items() <= {path.name: path.read_bytes() for path in (run / "tensorboard").iterdir()}.items()


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_progress(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, highlight=False)
    progress = ShowProgress(console, 10, 2, "run")
    progress.on_records([TRAINED])
    progress.on_records([EVALUATED])
    progress.close()
    assert "-2.25" in text.getvalue()
    assert "1,000 steps/s" in text.getvalue()
    assert ("3 of 10" if terminal else "meta-update     3/10") in text.getvalue()
    assert "evaluation after 4 meta-updates and 1 fast-updates:  D′    -2.00" in text.getvalue()
