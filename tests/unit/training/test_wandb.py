"""Weights & Biases: a fake package for what goes wrong, and once the real one, offline and in a process of its own."""

import dataclasses
import io
import json
import socket
import subprocess
import sys
import types

import pytest
from rich.console import Console

from helpers.running import files, options, shared_learner, tesp, tiny_config
from tesp import compare, config, runs
from tesp.errors import ConfigurationError
from tesp.runs.stored import stored_config
from tesp.storage.run_folder import RunFolder
from tesp.training.callbacks import scalars
from tesp.training.settings import LogSettings
from tesp.training.wandb_callback import WandbError, WriteWandb, require_wandb

TRAINED = {"kind": "train", "meta_update": 3, "average_return": -2.25, "round_returns": [-3.0, -2.25]}
EVALUATED = {
    "kind": "evaluation",
    "meta_update": 3,
    "fast_update": 1,
    "task_set": "in_distribution",
    "average_return": -2.0,
    "tasks": 6,
}
NAMES = {"family": "point", "algorithm": "tesp", "preset": "quick", "seed": 0}


class FakeWandb(types.ModuleType):
    """As much of the package as is used, and its run in one; keeps what it is asked for."""

    url = "an address"
    Settings = staticmethod(dict)

    def __init__(self):
        super().__init__("wandb")
        self.begun, self.logins, self.defined, self.logged, self.finished = [], [], [], [], []
        self.refuses_login = self.refuses_start = None
        self.logged_in = True

    def login(self, **given):
        self.logins.append(given)
        if self.refuses_login:
            raise RuntimeError(self.refuses_login)
        return self.logged_in

    def init(self, **given):
        self.begun.append(given)
        if self.refuses_start:
            raise RuntimeError(self.refuses_start)
        return self

    def define_metric(self, name, step_metric):
        self.defined.append((name, step_metric))

    def log(self, row, step):
        self.logged.append((step, row))

    def finish(self, exit_code):
        self.finished.append(exit_code)


@pytest.fixture
def wandb(monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    return fake


def writer(tmp_path, mode="offline", total=3, console=None):
    return WriteWandb(RunFolder(tmp_path), NAMES, LogSettings(wandb=mode), total, console)


class TestWriteWandb:
    def test_gets_what_tensorboard_gets_and_an_evaluation_in_one_row(self, wandb, tmp_path):
        rows = [EVALUATED, {**EVALUATED, "fast_update": 2}, {**EVALUATED, "task_set": "train"}]
        writer(tmp_path).on_records([{"kind": "reference", "average_return": -9.0}, TRAINED, *rows])
        assert wandb.defined == [("*", "meta_update")]
        evaluation = {"meta_update": 3} | scalars(rows[0]) | scalars(rows[1]) | scalars(rows[2])
        assert wandb.logged == [(6, {"meta_update": 3, "train/average_return": -2.25}), (7, evaluation)]
        assert len(evaluation) == 4

    def test_is_told_configuration_name_group_and_folder(self, wandb, tmp_path):
        writer(tmp_path, "online")
        [given] = wandb.begun
        assert (given["project"], given["name"], given["mode"]) == ("tesp", tmp_path.name, "online")
        assert given["group"] == "point-tesp-quick"
        assert given["config"] == NAMES | {"run_folder": str(tmp_path)}
        assert given["dir"] == str(tmp_path)
        # Nothing is told of the machine, the source or the terminal.
        told = given["settings"]
        assert told["console"] == "off"
        assert all(told[name] for name in ("x_disable_stats", "x_disable_meta", "disable_code", "disable_git"))

    def test_goes_on_under_the_same_identifier(self, wandb, tmp_path):
        for _ in range(2):
            writer(tmp_path)
        writer(tmp_path / "other")
        first, second, other = (given["id"] for given in wandb.begun)
        assert first == second != other
        assert all(given["resume"] == "allow" for given in wandb.begun)

    def test_a_run_that_did_not_reach_its_end_counts_as_failed(self, wandb, tmp_path):
        for total in (3, 4):
            started = writer(tmp_path, total=total)
            started.on_records([TRAINED, EVALUATED])
            started.close()
        assert wandb.finished == [0, 1]

    def test_what_fails_later_is_told_once_and_ends_nothing(self, wandb, tmp_path, monkeypatch):
        started, calls = writer(tmp_path), []

        def fail(*_, **__):
            calls.append("log")
            raise RuntimeError("the service died")

        monkeypatch.setattr(wandb, "log", fail)
        with pytest.warns(RuntimeWarning, match="lacks what follows .the service died.; the run goes on"):
            started.on_records([TRAINED])
        started.on_records([EVALUATED])
        started.close()
        assert calls == ["log"]
        assert wandb.finished == []

    def test_says_where_to_look(self, wandb, tmp_path):
        console = Console(file=io.StringIO(), soft_wrap=True)
        writer(tmp_path, "online", console=console)
        writer(tmp_path, "offline", console=console)
        online, offline = console.file.getvalue().splitlines()
        assert wandb.url in online
        assert f"wandb sync {tmp_path}/wandb/offline-run-*" in offline


def test_only_online_asks_for_the_key(wandb):
    require_wandb(LogSettings())
    require_wandb(LogSettings(wandb="offline"))
    assert wandb.logins == []
    require_wandb(LogSettings(wandb="online"))
    assert wandb.logins == [{"force": True, "verify": True}]


def test_switched_off_needs_no_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    require_wandb(LogSettings())


class TestTraining:
    """What `tesp.train` and `tesp.resume` make of it; the runs have no meta-update and are only evaluated."""

    @pytest.fixture(autouse=True)
    def _compiled_once(self, monkeypatch):
        monkeypatch.setattr("tesp.building.build_learner", shared_learner)

    def test_a_missing_package_is_refused_before_anything_is_made(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'tesp\[wandb\]'"):
            runs.train(tiny_config(wandb="offline"), tmp_path / "deep" / "run")
        with pytest.raises(ConfigurationError, match=r"pip install 'tesp\[wandb\]'"):
            compare.compare([tiny_config(wandb="online")], tmp_path / "compared")
        assert list(tmp_path.iterdir()) == []

    def test_a_login_or_a_start_that_fails_is_refused_and_leaves_nothing(self, wandb, tmp_path):
        wandb.refuses_login = "The server does not answer."
        refused = tesp("train", "point", *options(), "--wandb", "online", "--output", tmp_path / "run").sentence()
        assert "(The server does not answer)" in refused
        assert "wandb login" in refused
        wandb.refuses_login, wandb.logged_in = None, False
        with pytest.raises(WandbError, match="nobody is logged in"):
            runs.train(tiny_config(wandb="online"), tmp_path / "run")
        wandb.logged_in, wandb.refuses_start = True, "permission denied"
        with pytest.raises(WandbError, match="permission denied"):
            runs.train(tiny_config(wandb="online"), tmp_path / "run")
        assert list(tmp_path.iterdir()) == []

    def test_a_resumed_run_whose_start_fails_keeps_all_it_has(self, wandb, run):
        stored = json.loads((run / "config.json").read_text())
        stored["schedule"]["meta_updates"] = 6
        (run / "config.json").write_text(json.dumps(stored | {"log": {"wandb": "offline"}}))
        before = files(run)
        wandb.refuses_start = "permission denied"
        assert "permission denied" in tesp("resume", run).sentence()
        after = files(run)
        assert after.pop("wandb/run-id.txt")
        assert after == before

    def test_a_finished_run_is_not_logged_again(self, wandb, tmp_path):
        runs.train(tiny_config(wandb="offline", tensorboard=False, meta_updates=0), tmp_path / "run")
        runs.resume(tmp_path / "run")
        assert len(wandb.begun) == 1
        assert wandb.finished == [0]
        assert not (tmp_path / "run" / "tensorboard").exists()


class TestSettings:
    def test_a_configuration_from_before_has_the_defaults(self):
        stored = json.loads(config.to_json(tiny_config(wandb="offline")))
        assert stored.pop("log") == {"tensorboard": True, "wandb": "offline", "wandb_project": "tesp"}
        assert config.from_json(json.dumps(stored)) == tiny_config()

    @pytest.mark.parametrize("name", ["", "a/b"])
    def test_refuses(self, name):
        with pytest.raises(ConfigurationError, match=f"wandb_project = {name!r} is not possible; give"):
            LogSettings(wandb_project=name)

    def test_a_comparison_goes_on_with_another_log(self, run, tmp_path):
        (tmp_path / "all").mkdir()
        folder = tmp_path / "all" / "tesp-seed0"
        run.rename(folder)
        stored = stored_config(RunFolder.open(folder))
        other = dataclasses.replace(stored, log=LogSettings(wandb="offline", tensorboard=False))
        compare.compare([other], tmp_path / "all", episodes=())
        assert (tmp_path / "all" / "comparison.md").is_file()


#: Logs a record of each kind, as a run and as the run that continues it.
SCRIPT = """
import sys
from tesp.storage.run_folder import RunFolder
from tesp.training.settings import LogSettings
from tesp.training.wandb_callback import WriteWandb, require_wandb

settings = LogSettings(wandb="offline", wandb_project="somewhere")
names = {"family": "point", "algorithm": "tesp", "preset": "quick", "network": {"policy_units": (8, 8)}}
for update in (0, 1):
    require_wandb(settings)
    writer = WriteWandb(RunFolder(sys.argv[1]), names, settings, 1)
    common = {"meta_update": update, "average_return": -2.5}
    writer.on_records([{"kind": "train", **common}])
    writer.on_records([{"kind": "evaluation", "task_set": "train", "fast_update": 3, **common}])
    writer.close()
"""


def test_the_real_package_offline(tmp_path, monkeypatch):
    """It writes files that hold the curves, both times under one identifier, and asks nothing of the network."""
    pytest.importorskip("wandb")
    run = tmp_path / "run"
    run.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        # Whoever asks for another machine asks this one.
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for name in ("NO_PROXY", "no_proxy", "WANDB_ERROR_REPORTING", "WANDB_MODE", "WANDB_API_KEY"):
            monkeypatch.delenv(name, raising=False)
        for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
            monkeypatch.setenv(name, str(tmp_path / name))
        done = subprocess.run([sys.executable, "-c", SCRIPT, run], capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    logs = list(run.glob("wandb/offline-run-*/run-*.wandb"))
    identifier = (run / "wandb" / "run-id.txt").read_text().strip()
    assert [log.name for log in logs] == [f"run-{identifier}.wandb"] * 2
    for log in logs:
        data = log.read_bytes()
        for name in ("train/average_return", "evaluation/train/k3/average_return", "policy_units", str(run)):
            assert name.encode() in data, name
