"""What a machine does for a sweep, without a cluster."""

import hashlib
import os
import pickle

import pytest
from filelock import FileLock

from helpers.running import assert_same_run, files, shared_learner, tiny_config
from tesp import runs
from tesp.cluster import worker
from tesp.cluster.parcels import Packer, Parcel, unpack
from tesp.cluster.worker import Failed, Finished, Order, Trained, in_thread
from tesp.errors import BusyError, NonFiniteError
from tesp.storage.run_folder import RunFolder


def order(folder, **changes):
    values = {"mark": str(folder.parent / "mark"), "marked": "0123", "cores": 1, "versions": {}, **changes}
    return Order(name=folder.name, folder=str(folder), **values)


def test_news_and_at_last_the_end():
    def work(tell):
        tell(Trained(1, -2.0, 0.5))

    assert list(in_thread(work)) == [Trained(1, -2.0, 0.5), Finished()]


def test_errors_become_news():
    def wrong(error):
        def work(tell):
            tell(Trained(1, -2.0, 0.5))
            raise error

        return list(in_thread(work))[-1]

    assert wrong(NonFiniteError("policy loss", 1)) == Failed("policy loss became NaN or infinite in task 1.")
    unforeseen = wrong(ZeroDivisionError("by zero"))
    assert unforeseen.reason.startswith("ZeroDivisionError: by zero (test_worker.py, line ")
    assert "Traceback" in unforeseen.details


def test_news_wait_for_those_who_take_them():
    told = []

    def work(tell):
        for number in range(20):
            tell(Trained(number, 0.0, 0.0))
            told.append(number)

    news = in_thread(work)
    next(news)
    assert len(told) <= worker.WAITING + 2
    assert len(list(news)) == 20


def test_whether_a_machine_sees_the_drivers_folder(tmp_path):
    seen = order(tmp_path / "a")
    assert not worker._sees(seen)
    (tmp_path / "mark").write_text("0123")
    assert worker._sees(seen)
    (tmp_path / "mark").write_text("another sweep's")
    assert not worker._sees(seen)


def test_copies_are_removed_and_so_is_what_was_left_of_those_that_were_cut_short(tmp_path, monkeypatch):
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    monkeypatch.setattr(worker.tempfile, "tempdir", str(tmp_path / "temporary"))
    # Another driver of the same sweep, with a mark of its own, has left the first.
    sweep = hashlib.sha256(str(tmp_path / "a").encode()).hexdigest()[:16]
    names = (f"tesp-a-{sweep}-x", f"tesp-a-{sweep}-y", "tesp-a-0123-z")
    left, used, others = (tmp_path / "temporary" / name for name in names)
    for folder in (left, used, others):
        folder.mkdir(parents=True)
    wanted = order(tmp_path / "a", contents=Parcel({"config.json": {"": b"{}"}}))
    with FileLock(used / ".lock"), worker._copy(wanted) as folder:
        assert (folder / "config.json").read_bytes() == b"{}"
        assert set((tmp_path / "temporary").iterdir()) == {used, others, folder}
    assert not folder.exists()


@pytest.fixture
def quickly(monkeypatch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)


def test_a_run_that_travels_comes_back_as_it_became(tmp_path, reference, quickly):  # noqa: ARG001
    """After every meta-update the driver's folder is one that can be resumed."""
    here, there = runs.begin(tiny_config(), tmp_path / "here").path, tmp_path / "there"
    unpack(Packer(here).pack(), there)
    states = []

    def work(tell):
        worker._train(order(here), there, worker._Telling("10.0.0.1", there, tell))

    for news in in_thread(work):
        if isinstance(news, Parcel):
            unpack(pickle.loads(pickle.dumps(news)), here)
            states.append(len(RunFolder(here).read_records()))
    assert isinstance(news, Finished)
    assert states == sorted(states)
    assert files(here) == files(there)
    assert_same_run(here, reference.path)
    assert runs.is_finished(here)


def test_waits_for_whoever_trained_it_before(tmp_path, monkeypatch):
    asked, now = [], [0.0]

    def resume(*_, **__):
        asked.append(now[0])
        if now[0] < 3.0:
            raise BusyError("Another process is training it.")

    monkeypatch.setattr(runs, "resume", resume)
    monkeypatch.setattr(worker.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(worker.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    telling = worker._Telling("10.0.0.1", None, lambda _: None)
    worker._train(order(tmp_path / "a"), tmp_path / "a", telling)
    assert len(asked) == 7
    monkeypatch.setattr(worker, "_PATIENCE", -1.0)
    now[0] = 0.0
    with pytest.raises(BusyError):
        worker._train(order(tmp_path / "a"), tmp_path / "a", telling)


def test_a_process_has_as_many_devices_as_cores(monkeypatch):
    from tesp.devices import use_cores

    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=7 --xla_dump_to=x")
    monkeypatch.setenv("OMP_NUM_THREADS", "9")
    monkeypatch.setenv("TESP_CPU_DEVICES", "9")
    use_cores(2)
    flags = os.environ["XLA_FLAGS"].split()
    assert flags == [
        "--xla_dump_to=x",
        "--xla_force_host_platform_device_count=2",
        "--xla_cpu_multi_thread_eigen=false",
    ]
    assert (os.environ["OMP_NUM_THREADS"], os.environ["TESP_CPU_DEVICES"]) == ("2", "2")
