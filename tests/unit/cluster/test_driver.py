"""The driver of a sweep, told by machines that are only played."""

import io
from collections import deque
from types import SimpleNamespace

import pytest
from rich.console import Console

from helpers.running import tiny_config
from tesp import runs
from tesp.cluster import sweeps
from tesp.cluster.board import Board
from tesp.cluster.parcels import Parcel
from tesp.cluster.ray import Cluster, UnfitError
from tesp.cluster.sweeps import RaySettings
from tesp.cluster.worker import Begun, Failed, Finished, Refused, Trained, Unseen
from tesp.errors import BusyError, ConfigurationError, RunFolderError
from tesp.storage.run_folder import RunFolder


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class NodeDiedError(RayError):
    pass


LOST = NodeDiedError("Task failed because the node it was running on is dead.")
DONE = [Begun("10.0.0.1", 0, False), Trained(1, -2.0, 0.1), Finished()]


class PlayedRay:
    """Says what the machines say, by the names of the runs: a list of attempts, each a list of news."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, **told):
        self.told = {name: deque(attempts) for name, attempts in told.items()}
        self.orders, self.options, self.most, self.cancelled = [], [], 0, []
        self._streams = set()

    def remote(self, **_):
        return lambda _: SimpleNamespace(options=self._with)

    def _with(self, **options):
        def remote(order):
            self.orders.append(order)
            self.options.append(options)
            stream = iter(self.told[order.name].popleft())
            self._streams.add(stream)
            return stream

        return SimpleNamespace(remote=remote)

    def wait(self, streams, **_):
        self.most = max(self.most, len(streams))
        return list(streams), []

    def get(self, news):
        if isinstance(news, Exception):
            raise news
        return news() if callable(news) else news

    def cancel(self, stream, force):
        self.cancelled.append(stream)

    def nodes(self):
        found = ({"NodeID": f"n{i}", "NodeManagerAddress": f"10.0.0.{i}"} for i in (1, 2))
        return [{**node, "Alive": True, "Resources": {"CPU": 2.0}} for node in found]

    def cluster_resources(self):
        return {"CPU": 4.0}


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Work through a sweep of as many runs as there are names; return what failed, and leave what was shown."""
    made = SimpleNamespace(shown=io.StringIO(), folder=tmp_path)
    begun = []

    def begin(_, folder):
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        (folder / "records.jsonl").touch()
        begun.append(folder.name)

    monkeypatch.setattr(runs, "begin", begin)
    monkeypatch.setattr(runs, "is_finished", lambda _: True)

    def work(ray, **settings):
        waiting = deque(sweeps._Run(tmp_path / name, tiny_config(seed=0), tmp_path) for name in ray.told)
        board = Board(Console(file=made.shown, width=300), dict.fromkeys(ray.told, 4), set())
        sweep = sweeps._Sweep(Cluster(ray, "played"), RaySettings("played:1", **settings), board, tmp_path / "m", "x")
        failed = sweep.work(waiting)
        return {folder.name: reason for folder, reason in failed.items()}

    made.work, made.begun = work, begun
    return made


def test_runs_that_come_to_their_ends(play):
    ray = PlayedRay(a=[DONE], b=[DONE])
    assert play.work(ray) == {}
    assert play.begun == ["a", "b"]
    assert [order.folder for order in ray.orders] == [str(play.folder / "a"), str(play.folder / "b")]
    assert {options["num_cpus"] for options in ray.options} == {1}
    assert all(options["label_selector"] is None for options in ray.options)


def test_no_more_at_once_than_wanted(play):
    for most in (1, 3):
        ray = PlayedRay(**{f"run{n}of{most}": [DONE] for n in range(5)})
        assert play.work(ray, max_concurrent=most) == {}
        assert ray.most == most
    # Else some wait at Ray, besides those that there are cores for.
    ray = PlayedRay(**{f"more{n}": [[*DONE[:2], *[DONE[1]] * 40, DONE[2]]] for n in range(30)})
    assert play.work(ray, cpus_per_run=2) == {}
    assert ray.most == 2 * 2 + 8


def test_what_is_lost_goes_on_elsewhere(play):
    progress = [*DONE[:2], LOST]
    assert play.work(PlayedRay(a=[progress, [LOST], progress, [LOST], DONE])) == {}
    assert play.work(PlayedRay(b=[progress, [LOST], [LOST], DONE])) == {
        "b": "lost 3 times in a row, at last so: its machine is gone"
    }
    assert play.shown.getvalue().count("it goes on elsewhere") == 4 + 2
    assert "a: lost on 10.0.0.1 after 1 meta-updates (its machine is gone)" in play.shown.getvalue()


def test_one_that_fails_leaves_the_others_alone(play):
    ray = PlayedRay(a=[[*DONE[:2], Failed("it burnt.", "Traceback …")]], b=[DONE])
    assert play.work(ray) == {"a": "it burnt."}
    assert (play.folder / "a" / "error.txt").read_text() == "Traceback …"
    assert "a: failed: it burnt." in play.shown.getvalue()


def test_one_that_cannot_begin_is_a_failure_too(play, monkeypatch):
    def begin(*_):
        raise RunFolderError("The disk is full.")

    monkeypatch.setattr(runs, "begin", begin)
    assert play.work(PlayedRay(a=[DONE])) == {"a": "The disk is full."}


def test_an_end_that_the_folder_does_not_show_is_none(play, monkeypatch):
    monkeypatch.setattr(runs, "is_finished", lambda folder: folder.name != "a")
    assert list(play.work(PlayedRay(a=[DONE], b=[DONE]))) == ["a"]


class TestMachinesThatDoNotFit:
    def test_get_no_more_runs(self, play):
        missing = RayTaskError(
            "\x1b[36mray::a()\x1b[39m (pid=7, ip=10.0.0.2)\nModuleNotFoundError: No module named 'tesp'"
        )
        ray = PlayedRay(a=[[Refused("n1", "Old.")], DONE], b=[DONE])
        assert play.work(ray, max_concurrent=1) == {}
        assert [options["label_selector"] for options in ray.options] == [
            None,
            {"ray.io/node-id": "!in(n1)"},
            {"ray.io/node-id": "!in(n1)"},
        ]
        ray = PlayedRay(c=[[Refused("n1", "Old.")], [missing]])
        with pytest.raises(UnfitError, match=r"The machine 10.0.0.2 cannot train a run: .*No module named 'tesp'\.$"):
            play.work(ray)
        assert play.shown.getvalue().count("left out: ") == 3


class TestRunsThatTravel:
    def test_bring_what_has_changed_and_are_held_meanwhile(self, play):
        def held():
            with pytest.raises(BusyError), RunFolder(play.folder / "a").locked():
                pass
            return Parcel({"checkpoints/1": {"state": b"state"}, "records.jsonl": {"": b"{}\n"}})

        ray = PlayedRay(a=[[Unseen()], [Begun("10.0.0.1", 0, True), DONE[1], held, Finished()]])
        assert play.work(ray) == {}
        assert ray.orders[0].contents is None
        assert ray.orders[1].contents.parts.keys() == {"config.json", "records.jsonl"}
        assert (play.folder / "a" / "checkpoints" / "1" / "state").read_bytes() == b"state"
        assert "runs there are brought back as they grow" in play.shown.getvalue()
        with RunFolder(play.folder / "a").locked():
            pass

    def test_one_that_somebody_else_trains_meanwhile(self, play):
        (play.folder / "a").mkdir()
        (play.folder / "a" / "config.json").write_text("{}")
        (play.folder / "a" / "records.jsonl").touch()
        ray = PlayedRay(a=[[Unseen()], [Begun("10.0.0.1", 0, True), Finished()]])
        with RunFolder(play.folder / "a").locked():
            failed = play.work(ray)
        assert failed["a"].startswith("Another process is training")
        assert len(ray.cancelled) == 1


def test_says_that_nothing_happens(play, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(sweeps.time, "monotonic", lambda: now[0])

    ray = PlayedRay(a=[DONE])
    silent = iter([[]] * 3)
    wait = ray.wait

    def waits(streams, **options):
        now[0] += 40.0
        return (next(silent), []) if now[0] <= 120.0 else wait(streams, **options)

    monkeypatch.setattr(ray, "wait", waits)
    monkeypatch.setattr(sweeps, "_TICK", 0.0)
    assert play.work(ray, cpus_per_run=3) == {}
    assert play.shown.getvalue().count("waiting for one with 3 free cores") == 1


def test_settings_that_are_not_possible(monkeypatch):
    monkeypatch.setattr(sweeps, "usable_cores", lambda: 2)
    for values in ({"cpus_per_run": 0}, {"max_concurrent": 0}, {"cpus_per_run": 3}, {"cpus_per_run": 1.5}):
        with pytest.raises(ConfigurationError, match=rf"{next(iter(values))} = .* is not possible"):
            RaySettings(**values)
    RaySettings("10.0.0.1:6379", cpus_per_run=3)
