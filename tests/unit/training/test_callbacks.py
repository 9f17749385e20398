import io
import struct

import numpy as np
import pytest
from rich.console import Console
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from helpers.running import assert_same_run, records, shared_learner, tesp, tiny_config
from tesp import runs
from tesp.storage.records import append_records
from tesp.storage.run_folder import RunFolder
from tesp.training.callbacks import Callback, ShowProgress, TimeLeft
from tesp.training.settings import ScheduleSettings
from tesp.training.tensorboard_callback import WriteTensorBoard

TRAINED = {
    "kind": "train",
    "seed": 0,
    "meta_update": 3,
    "steps_sampled": 500,
    "seconds": 0.5,
    "wall_seconds": 1.5,
    "average_return": -2.25,
    "round_returns": [-3.0, -2.25],
}
EVALUATED = {
    "kind": "evaluation",
    "meta_update": 4,
    "fast_update": 1,
    "task_set": "in_distribution",
    "wall_seconds": 2.5,
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
    values = ((event.step, value) for event in events(folder) for value in event.summary.value)
    return {(step, value.tag): value.simple_value for step, value in values if value.HasField("simple_value")}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


CONFIG = {
    "family": "point",
    "seed": 0,
    "schedule": {"meta_updates": 3},
    "method": {"network": {"units": (8, 8), "x": None}},
}


def hyper_parameters(folder):
    """What TensorBoard's page of hyper-parameters is made of, once for every time that it was written."""
    told = [
        HParamsPluginData.FromString(value.metadata.plugin_data.content).session_start_info.hparams
        for event in events(folder)
        for value in event.summary.value
        if value.tag == "_hparams_/session_start_info"
    ]
    return [{name: getattr(x, x.WhichOneof("kind")) for name, x in found.items()} for found in told]


def test_tensorboard_gets_every_number_that_changes(folder):
    writer = WriteTensorBoard(folder, CONFIG, 0)
    earlier = {name: x - 1 if name not in ("seed", "kind", "round_returns") else x for name, x in TRAINED.items()}
    evaluated = EVALUATED | {"dynamics_noise": 0.0, "success_rate": 0.5}
    later = evaluated | {"meta_update": 8, "average_return": -1.0, "wall_seconds": 3.0}
    writer.on_records([{"kind": "reference", "average_return": -9.0}, earlier, TRAINED, evaluated, later])
    # Written at once, not only at the end.
    assert scalars(folder.tensorboard) == {
        (2, "train/average_return"): -3.25,
        (2, "train/steps_sampled"): 499.0,
        (2, "train/seconds"): -0.5,
        (2, "train/wall_seconds"): 0.5,
        (3, "train/average_return"): -2.25,
        (3, "train/steps_sampled"): 500.0,
        (3, "train/seconds"): 0.5,
        (3, "train/wall_seconds"): 1.5,
        (4, "evaluation/in_distribution/k1/average_return"): -2.0,
        (8, "evaluation/in_distribution/k1/average_return"): -1.0,
    }
    writer.close()


def test_tensorboard_gets_all_points_of_a_number_once_it_changes(folder):
    """Also where the run was continued in between; what never was a number does not change."""
    values = [(0.0, float("nan")), (0.0, float("nan")), (0.0, float("nan")), (0.5, float("nan")), (0.5, 1.0)]
    for update, (rate, distance) in enumerate(values, 1):
        record = {
            "kind": "train",
            "meta_update": update,
            "success_rate": rate,
            "final_distance": distance,
            "epochs": 20,
        }
        writer = WriteTensorBoard(folder, CONFIG, update - 1)
        append_records(folder.records, [record])
        writer.on_records([record])
        writer.close()
        curve = {step: value for (step, tag), value in scalars(folder.tensorboard).items() if "success" in tag}
        assert curve == ({} if update < 4 else {step: values[step - 1][0] for step in range(1, update + 1)})
    distances = {step: value for (step, tag), value in scalars(folder.tensorboard).items() if "distance" in tag}
    assert distances == pytest.approx({1: np.nan, 2: np.nan, 3: np.nan, 4: np.nan, 5: 1.0}, nan_ok=True)
    assert "train/epochs" not in {tag for _, tag in scalars(folder.tensorboard)}


def test_tensorboard_is_told_the_configuration_once(folder):
    for first in (0, 2):
        WriteTensorBoard(folder, CONFIG, first).close()
    told = {"run.family": "point", "run.seed": 0.0, "schedule.meta_updates": 3.0, "network.units": "[8, 8]"}
    assert hyper_parameters(folder.tensorboard) == [told]


def test_tensorboard_of_a_resumed_run_marks_what_is_done_again(folder):
    for first in (0, 2, 2):
        writer = WriteTensorBoard(folder, CONFIG, first)
        writer.on_records([TRAINED])
        writer.close()
    assert len(list(folder.tensorboard.iterdir())) == 3
    starts = [e.step for e in events(folder.tensorboard) if e.session_log.status == SessionLog.START]
    assert starts == [3, 3]


def test_tensorboard_of_a_run_agrees_with_its_records_and_has_no_constant_curve(reference):
    drawn = scalars(reference.path / "tensorboard")
    told = {tag for _, tag in drawn}
    for record in records(reference.path, "train"):
        assert drawn[record["meta_update"], "train/policy_loss"] == pytest.approx(record["policy_loss"])
    for record in records(reference.path, "evaluation"):
        tag = f"evaluation/{record['task_set']}/k{record['fast_update']}/average_return"
        assert drawn[record["meta_update"], tag] == pytest.approx(record["average_return"])
    curves = {tag: [value for (_, other), value in drawn.items() if other == tag] for tag in told}
    assert [tag for tag, values in curves.items() if len(set(values)) == 1] == []
    assert "train/epochs_run" not in told
    [found] = hyper_parameters(reference.path / "tensorboard")
    assert (found["run.family"], found["network.policy_units"], found["task.horizon"]) == (
        "point",
        "[8]",
        6.0,
    )


def test_a_resumed_run_writes_events_beside_the_earlier_ones(run):
    before = {path.name: path.read_bytes() for path in (run / "tensorboard").iterdir()}
    assert tesp("resume", run).code == 0
    assert before.items() <= {path.name: path.read_bytes() for path in (run / "tensorboard").iterdir()}.items()


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
def test_progress(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120, highlight=False)
    progress = ShowProgress(console, ScheduleSettings(meta_updates=10), 2, "run")
    progress.on_records([TRAINED])
    progress.on_records([EVALUATED])
    progress.close()
    assert "-2.25" in text.getvalue()
    assert "1,000 steps/s" in text.getvalue()
    assert ("3 of 10" if terminal else "meta-update     3/10") in text.getvalue()
    assert "evaluation after 4 meta-updates and 1 fast-updates:  D′    -2.00" in text.getvalue()


class TestTimeLeft:
    def told(self, seconds, evaluation, every, end, begins=0):
        """What is said after every meta-update of a run whose parts take so long, and what is true."""
        left = TimeLeft(ScheduleSettings(meta_updates=end, evaluate_every=every))
        clock, said, at = 0.0, [], []
        for done in range(begins, end + 1):
            if done > begins:
                clock += seconds(done - begins)
                said.append(left.after({"meta_update": done, "seconds": seconds(done - begins), "wall_seconds": clock}))
                at.append(clock)
            if done % every == 0 or done == end:
                clock += evaluation
                left.evaluated({"wall_seconds": clock})
        return said, [clock - then for then in at]

    def test_the_first_estimate_is_within_a_factor_of_two_whatever_compilation_takes(self):
        said, true = self.told(lambda count: 30.0 if count == 1 else 2.0, evaluation=5.0, every=10, end=40)
        assert said[0] is None
        first = next(index for index, seconds in enumerate(said) if seconds is not None)
        assert first == 1
        assert 0.5 < said[first] / true[first] < 2
        assert all(abs(s - t) <= 0.25 * t + 10 for s, t in zip(said[1:], true[1:], strict=True))
        assert said[-1] == 5.0

    def test_a_resumed_run_is_judged_by_what_it_does_now(self):
        said, true = self.told(lambda count: 20.0 if count == 1 else 1.0, evaluation=3.0, every=5, end=30, begins=12)
        assert said[0] is None
        assert 0.5 < said[1] / true[1] < 2


class Watching(Callback):
    """Notes what it hears, and asks to stop after a meta-update."""

    def __init__(self, stop=None):
        self.heard, self._stop = [], stop

    def on_start(self, folder, config, meta_update):
        assert (folder / "config.json").is_file()
        self.heard.append(("start", config.algorithm, meta_update))

    def on_records(self, records):
        self.heard += [(record["kind"], record.get("meta_update")) for record in records if record["kind"] == "train"]
        return any(record["kind"] == "train" and record["meta_update"] == self._stop for record in records)

    def on_checkpoint(self, meta_update):
        self.heard.append(("checkpoint", meta_update))

    def on_end(self, meta_update):
        self.heard.append(("end", meta_update))

    def close(self):
        self.heard.append("close")


class TestCallbacksOfOnesOwn:
    @pytest.fixture(autouse=True)
    def shared(self, monkeypatch):
        monkeypatch.setattr("tesp.building.build_learner", shared_learner)

    def test_hear_everything_in_order_and_change_nothing(self, reference, tmp_path):
        watching = Watching()
        folder = runs.train(tiny_config(), tmp_path / "run", callbacks=[watching, Callback()]).folder.path
        updates = [event for n in range(1, 5) for event in (("train", n), ("checkpoint", n))]
        assert watching.heard == [("start", "tesp", 0), ("checkpoint", 0), *updates, ("end", 4), "close"]
        assert_same_run(folder, reference.path)

    def test_may_ask_to_stop_and_the_run_goes_on_later_as_if_nothing_had_been(self, reference, tmp_path):
        watching = Watching(stop=3)
        stopped = runs.train(tiny_config(), tmp_path / "run", callbacks=[watching])
        assert stopped.state.meta_update == 3
        assert watching.heard[-3:] == [("checkpoint", 3), ("end", 3), "close"]
        assert not runs.is_finished(tmp_path / "run")
        again = Watching()
        runs.resume(tmp_path / "run", callbacks=[again])
        assert again.heard[:2] == [("start", "tesp", 3), ("checkpoint", 3)]
        assert_same_run(tmp_path / "run", reference.path)

    def test_an_error_in_one_loses_nothing_and_closes_all(self, reference, tmp_path):
        class Failing(Callback):
            def on_checkpoint(self, meta_update):
                if meta_update == 2:
                    raise ZeroDivisionError

        watching = Watching()
        with pytest.raises(ZeroDivisionError) as error:
            runs.train(tiny_config(), tmp_path / "run", callbacks=[watching, Failing()])
        assert "`tesp resume" in error.value.__notes__[0]
        assert watching.heard[-1] == "close"
        runs.resume(tmp_path / "run")
        assert_same_run(tmp_path / "run", reference.path)
