"""Finding and starting Ray: what is refused before anything happens, and a Ray of this machine alone."""

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from helpers.clusters import needs_nodes
from helpers.comparing import compare
from tesp.cluster import ray
from tesp.cluster.ray import UnfitError, connect, imported, require_fitting, versions
from tesp.commands.parsing import with_value
from tesp.errors import ConfigurationError


def test_without_ray_everything_else_works_and_the_option_says_what_to_install(tmp_path):
    program = (
        "import sys; sys.modules['ray'] = None\n"
        "import tesp.cluster.sweeps, tesp.cluster.worker, tesp.sweep\n"
        "from tesp.cli import main\n"
        "assert main(['list']) == 0\n"
        "sys.exit(main(['compare', 'point', '--ray', '--output', 'runs/none']))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert "install it with `pip install 'tesp[ray]'`" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("found", ["2.49.1", "3.0.0", "1.13.0"])
def test_versions_that_do_not_fit_are_refused_by_name(monkeypatch, found):
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: found if name == "ray" else version(name))
    with pytest.raises(ConfigurationError, match=rf"Ray {found} is installed, and tesp needs 2\.60 or newer, below 3"):
        imported()


def test_a_machine_with_other_versions_is_refused_by_name():
    require_fitting(versions(), "10.0.0.7")
    with pytest.raises(
        UnfitError, match=r"The machine 10\.0\.0\.7 has jax .* \(not 0\.0\.1\), and results depend on it"
    ):
        require_fitting(versions() | {"jax": "0.0.1"}, "10.0.0.7")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("head", "give local, auto, or HOST:PORT"),
        ("head:", "give local, auto, or HOST:PORT"),
        ("head:port", "give local, auto, or HOST:PORT"),
        ("head:99999", "give local, auto, or HOST:PORT"),
        ("ray://head:10001", "not to a server in between"),
    ],
)
def test_addresses_that_are_none(address, said):
    with pytest.raises(ConfigurationError, match=said), connect(address):
        pass


@needs_nodes
def test_an_address_where_nothing_is(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigurationError, match=r"Nothing answers at --ray 127\.0\.0\.1"),
            connect(f"127.0.0.1:{port}"),
        ):
            pass
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", functools.cache(set))
    monkeypatch.setattr("ray._private.utils.read_ray_address", lambda *_: None)
    with (
        pytest.raises(ConfigurationError, match="No Ray runs on this machine that --ray auto could join"),
        connect("auto"),
    ):
        pass


def test_options_that_need_it(tmp_path):
    for words in (("--cpus-per-run", 2), ("--max-concurrent", 3)):
        refused = compare(tmp_path / "point", *words)
        assert f"{words[0]} is for runs by Ray; give --ray too" in refused.sentence()
    refused = compare(tmp_path / "point", "--ray", "--cpus-per-run", 1000)
    assert "cpus_per_run = 1000 is not possible on this machine" in refused.sentence()
    assert "cpus_per_run = 0 is not possible" in compare(tmp_path / "point", "--ray", "--cpus-per-run", 0).sentence()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_has_left_is_removed(monkeypatch, tmp_path):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    monkeypatch.setattr(ray, "Path", lambda *_: tmp_path)
    monkeypatch.setattr(ray.tempfile, "mkdtemp", lambda prefix, **_: f"{tmp_path}/{prefix}new")
    for name in (f"tesp-ray-{process.pid}-a", f"tesp-ray-{os.getpid()}-b", "tesp-ray-notes"):
        (tmp_path / name).mkdir()
    ray._own_folder()
    assert {path.name for path in tmp_path.iterdir()} == {f"tesp-ray-{os.getpid()}-b", "tesp-ray-notes"}


def listening() -> set[str]:
    """The addresses at which this process and those that it started can be reached, as Linux tells them."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[stat.parent.name] = stat.read_text().rpartition(")")[2].split()[1]
    own = {str(os.getpid())}
    while more := {child for child, parent in parents.items() if parent in own} - own:
        own |= more
    sockets = set()
    for process in own:
        for descriptor in Path("/proc", process, "fd").glob("*"):
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    entries = [line.split() for table in ("tcp", "tcp6") for line in Path("/proc/net", table).read_text().splitlines()]
    return {entry[1].rpartition(":")[0] for entry in entries if entry[3] == "0A" and entry[9] in sockets}


#: 127.0.0.1, and the same as an address of version 6, as the tables write them; and ::1.
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def test_the_file_behind_the_option_is_not_its_address(tmp_path):
    (tmp_path / "run").mkdir()
    for path in (str(tmp_path / "run"), "runs/none", "none.toml"):
        assert with_value(["--ray", path], "--ray", "local") == ["--ray", "local", path]
        assert with_value(["--ray", "auto", path], "--ray", "local") == ["--ray", "auto", path]
    for address in ("auto", "10.0.0.1:6379", "10.0.0.1", "ray://head:10001"):
        assert with_value(["--ray", address, "x"], "--ray", "local") == ["--ray", address, "x"]


@pytest.mark.cluster
@needs_nodes
def test_a_ray_of_this_machine_alone():
    """It opens no port beyond loopback, wants a token, and leaves the process as it was."""
    handler, environment = signal.getsignal(signal.SIGTERM), dict(os.environ)
    with connect() as cluster:
        assert set(cluster.nodes().values()) == {"127.0.0.1"}
        assert cluster.cores() == len(os.sched_getaffinity(0))
        assert len(opened := listening()) > 0
        assert opened <= LOOPBACK
        assert os.environ["RAY_AUTH_MODE"] == "token"
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
        assert signal.getsignal(signal.SIGTERM) is handler
        with pytest.raises(ConfigurationError, match="is connected to Ray already"), connect():
            pass
    assert dict(os.environ) == environment
    assert signal.getsignal(signal.SIGTERM) is handler
    assert not cluster.ray.is_initialized()


@pytest.mark.parametrize(("said", "times"), [("The current node timed out during startup.", 2), ("No disk.", 1)])
def test_a_start_that_took_too_long_is_tried_once_more(tmp_path, said, times):
    class Ray:
        begun = ended = 0

        def init(self, **_):
            self.begun += 1
            raise RuntimeError(said)

        def shutdown(self):
            self.ended += 1

    fake = Ray()
    with pytest.raises(RuntimeError, match=said):
        ray._begin(fake, 2**28, tmp_path)
    assert fake.begun == fake.ended == times
