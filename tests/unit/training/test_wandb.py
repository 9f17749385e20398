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

from helpers.running import files, options, records, shared_learner, tesp, tiny_config
from tesp import compare, config, runs
from tesp.errors import ConfigurationError
from tesp.stored import stored_config
from tesp.training.callbacks import scalars
from tesp.training.run_folder import RunFolder
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


class FakeRun:
    url = "an address"

    def __init__(self):
        self.logged, self.defined, self.finished, self.broken = [], [], [], False

    def define_metric(self, name, step_metric):
        self.defined.append((name, step_metric))

    def log(self, row, step, commit):
        if self.broken:
            raise ConnectionResetError("the process is gone")
        assert commit
        self.logged.append((step, row))

    def finish(self, exit_code):
        if self.broken:
            raise ConnectionResetError("the process is gone")
        self.finished.append(exit_code)


class FakeWandb(types.ModuleType):
    """As much of the package as is used; keeps what it is asked for."""

    def __init__(self):
        super().__init__("wandb")
        self.run, self.begun, self.logins = FakeRun(), [], []
        self.refuses_login = self.refuses_start = None
        self.logged_in = True

    Settings = staticmethod(dict)

    def login(self, **given):
        self.logins.append(given)
        if self.refuses_login:
            raise RuntimeError(self.refuses_login)
        return self.logged_in

    def init(self, **given):
        self.begun.append(given)
        if self.refuses_start:
            raise RuntimeError(self.refuses_start)
        return self.run


@pytest.fixture
def wandb(monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    return fake


def writer(tmp_path, mode="offline", total=3, console=None):
    return WriteWandb(RunFolder(tmp_path), {"seed": 0}, LogSettings(wandb=mode), total, console)


class TestWriteWandb:
    def test_gets_what_tensorboard_gets(self, wandb, tmp_path):
        writer(tmp_path).on_records([{"kind": "reference", "average_return": -9.0}, TRAINED, EVALUATED])
        assert wandb.run.defined == [("*", "meta_update")]
        assert wandb.run.logged == [
            (6, {"meta_update": 3, "train/average_return": -2.25}),
            (7, {"meta_update": 3, "evaluation/in_distribution/k1/average_return": -2.0}),
        ]

    def test_the_rows_of_an_evaluation_are_logged_together(self, wandb, tmp_path):
        rows = [EVALUATED, {**EVALUATED, "fast_update": 2}, {**EVALUATED, "task_set": "train"}]
        writer(tmp_path).on_records(rows)
        [(_, row)] = wandb.run.logged
        assert row == {"meta_update": 3} | scalars(rows[0]) | scalars(rows[1]) | scalars(rows[2])
        assert len(row) == 4

    def test_is_told_configuration_name_and_folder(self, wandb, tmp_path):
        writer(tmp_path, "online")
        [given] = wandb.begun
        assert (given["project"], given["name"], given["mode"]) == ("tesp", tmp_path.name, "online")
        assert given["config"] == {"seed": 0, "run_folder": str(tmp_path)}
        assert given["dir"] == str(tmp_path)

    def test_goes_on_under_the_same_identifier(self, wandb, tmp_path):
        for _ in range(2):
            writer(tmp_path)
        (tmp_path / "other").mkdir()
        writer(tmp_path / "other")
        first, second, other = (given["id"] for given in wandb.begun)
        assert first == second != other
        assert all(given["resume"] == "allow" for given in wandb.begun)

    def test_a_run_that_did_not_reach_its_end_counts_as_failed(self, wandb, tmp_path):
        for total in (3, 4):
            started = writer(tmp_path, total=total)
            started.on_records([TRAINED])
            started.on_records([EVALUATED])
            started.close()
        assert wandb.run.finished == [0, 1]

    def test_says_where_to_look(self, wandb, tmp_path):
        console = Console(file=io.StringIO(), soft_wrap=True)
        writer(tmp_path, "online", console=console)
        writer(tmp_path, "offline", console=console)
        online, offline = console.file.getvalue().splitlines()
        assert "an address" in online
        assert f"wandb sync {tmp_path}/wandb/offline-run-*" in offline

    def test_a_process_that_dies_is_reported_once(self, wandb, tmp_path):
        console = Console(file=io.StringIO(), soft_wrap=True)
        started = writer(tmp_path, console=console)
        wandb.run.broken = True
        started.on_records([TRAINED])
        started.on_records([EVALUATED])
        started.close()
        _, *said = console.file.getvalue().splitlines()
        assert len(said) == 1
        assert "failed (the process is gone)" in said[0]

    def test_without_a_console_it_warns(self, wandb, tmp_path):
        started = writer(tmp_path)
        wandb.run.broken = True
        with pytest.warns(RuntimeWarning, match="the process is gone"):
            started.on_records([TRAINED])
        started.close()

    def test_tells_nothing_but_scalars(self, wandb, tmp_path):
        writer(tmp_path)
        told = wandb.begun[0]["settings"]
        assert (told["console"], told["x_disable_stats"], told["x_disable_meta"]) == ("off", True, True)


class TestRequireWandb:
    def test_asks_for_nothing_where_it_is_off_or_offline(self, wandb):
        require_wandb(LogSettings())
        require_wandb(LogSettings(wandb="offline"))
        assert wandb.logins == []

    def test_online_checks_the_key(self, wandb):
        require_wandb(LogSettings(wandb="online"))
        assert wandb.logins == [{"force": True, "verify": True}]

    def test_switched_off_needs_no_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "wandb", None)
        require_wandb(LogSettings())


class TestTraining:
    """What `tesp.train` and `tesp.resume` make of it; the runs have no meta-update and are only evaluated."""

    @pytest.fixture(autouse=True)
    def _compiled_once(self, monkeypatch):
        monkeypatch.setattr(runs, "build_learner", shared_learner)

    @pytest.mark.parametrize("mode", ["online", "offline"])
    def test_a_missing_package_is_refused_before_anything_is_made(self, monkeypatch, tmp_path, mode):
        monkeypatch.setitem(sys.modules, "wandb", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'tesp\[wandb\]'"):
            runs.train(tiny_config(wandb=mode), tmp_path / "deep" / "run")
        with pytest.raises(ConfigurationError, match=r"pip install 'tesp\[wandb\]'"):
            compare.compare([tiny_config(wandb=mode)], tmp_path / "compared")
        assert list(tmp_path.iterdir()) == []

    def test_no_login_is_refused_before_anything_is_made(self, wandb, tmp_path):
        wandb.refuses_login = "No API key configured."
        refused = tesp("train", "point", *options(), "--wandb", "online", "--output", tmp_path / "run").sentence()
        assert "(No API key configured)" in refused
        assert "wandb login" in refused
        wandb.refuses_login, wandb.logged_in = None, False
        with pytest.raises(WandbError, match="nobody is logged in"):
            runs.train(tiny_config(wandb="online"), tmp_path / "run")
        assert list(tmp_path.iterdir()) == []

    def test_a_start_that_fails_leaves_nothing(self, wandb, tmp_path):
        wandb.refuses_start = "permission denied"
        with pytest.raises(WandbError, match="permission denied"):
            runs.train(tiny_config(wandb="online"), tmp_path / "run")
        assert files(tmp_path) == {}
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

    def test_a_process_that_dies_loses_no_record(self, wandb, tmp_path):
        wandb.run.broken = True
        console = Console(file=io.StringIO(), soft_wrap=True)
        runs.train(tiny_config(wandb="offline", meta_updates=0), tmp_path / "run", console)
        assert len(records(tmp_path / "run", "evaluation")) == 12
        assert console.file.getvalue().count("Weights & Biases failed") == 1

    def test_a_finished_run_is_not_logged_again(self, wandb, tmp_path):
        runs.train(tiny_config(wandb="offline", meta_updates=0), tmp_path / "run")
        runs.resume(tmp_path / "run")
        assert len(wandb.begun) == 1
        assert wandb.run.finished == [0]

    def test_tensorboard_can_be_switched_off(self, tmp_path):
        runs.train(tiny_config(tensorboard=False, meta_updates=0), tmp_path / "run")
        assert not (tmp_path / "run" / "tensorboard").exists()


class TestSettings:
    def test_a_configuration_from_before_has_the_defaults(self):
        stored = json.loads(config.to_json(tiny_config(wandb="offline")))
        assert stored.pop("log") == {"tensorboard": True, "wandb": "offline", "wandb_project": "tesp"}
        assert config.from_json(json.dumps(stored)) == tiny_config()

    @pytest.mark.parametrize("given", [{"wandb_project": ""}, {"wandb_project": "a/b"}])
    def test_refuses(self, given):
        [(name, value)] = given.items()
        with pytest.raises(ConfigurationError, match=f"{name} = {value!r} is not possible; give"):
            LogSettings(**given)

    def test_a_mode_that_does_not_exist(self, tmp_path):
        refused = tesp("train", "point", *options(), "--wandb", "on", "--output", tmp_path / "run")
        assert refused.code == 2
        assert "offline" in refused.err
        assert list(tmp_path.iterdir()) == []

    def test_a_comparison_goes_on_with_another_log(self, run, tmp_path):
        (tmp_path / "all").mkdir()
        folder = tmp_path / "all" / "tesp-seed0"
        run.rename(folder)
        stored = stored_config(RunFolder.open(folder))
        other = dataclasses.replace(stored, log=LogSettings(wandb="offline", tensorboard=False))
        compare.compare([other], tmp_path / "all")
        assert (tmp_path / "all" / "comparison.md").is_file()


#: Logs a record of each kind, as a run and as the run that continues it.
SCRIPT = """
import sys
from tesp.training.run_folder import RunFolder
from tesp.training.settings import LogSettings
from tesp.training.wandb_callback import WriteWandb, require_wandb

settings = LogSettings(wandb="offline", wandb_project="somewhere")
for update in (0, 1):
    require_wandb(settings)
    writer = WriteWandb(RunFolder(sys.argv[1]), {"network": {"policy_units": (8, 8)}}, settings, 1)
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
