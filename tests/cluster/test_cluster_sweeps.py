"""Sweeps on a real cluster whose machines and drivers are killed."""

import io
import os
import re
import signal
import sys
import threading
from contextlib import contextmanager
from functools import partial

import pytest
from rich.console import Console

from helpers import clusters, running
from helpers.clusters import needs_nodes, wait_until
from helpers.comparing import WRITTEN
from helpers.running import assert_same_run, child, records, shared_learner, tiny_config, wait
from tesp import compare, runs
from tesp.cluster import sweeps
from tesp.cluster.ray import UnfitError
from tesp.cluster.sweeps import RaySettings
from tesp.commands.parsing import without_options
from tesp.errors import BusyError
from tesp.methods.registry import absent_from
from tesp.tasks import family_files

pytestmark = [
    pytest.mark.cluster,
    needs_nodes,
    # Nodes are begun by forking this process, in which other tests have computed.
    pytest.mark.filterwarnings("ignore:os.fork"),
]

SEEDS = (0, 1)


@pytest.fixture(scope="module")
def nodes():
    with clusters.nodes_of(2) as made:
        yield made


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """The driver does not compile: what is trained here, is trained with the shared learner."""
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    monkeypatch.setattr(family_files, "_MODULES", {})
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def gate(tmp_path):
    """A file of a family whose rounds wait for the file that this returns."""
    place = tmp_path / "families"
    place.mkdir()
    (place / "gated.py").write_text(clusters.GATED.format(gate=str(place / "open")))
    return place / "open"


def configs(gate, seeds=SEEDS):
    return [tiny_config(f"{gate.parent / 'gated.py'}:gated", algorithm="oracle", seed=seed) for seed in seeds]


def undisturbed(gate, folder, seeds=SEEDS):
    gate.touch()
    for config in configs(gate, seeds):
        runs.train(config, folder / f"oracle-seed{config.seed}")
    return folder


def trained(folder) -> int:
    return len(records(folder, "train")) if (folder / "records.jsonl").exists() else 0


@contextmanager
def meanwhile(happens):
    """Do something in another thread."""
    errors = []

    def run():
        try:
            happens()
        except BaseException as error:
            errors.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    yield
    thread.join(60)
    assert not thread.is_alive()
    assert not errors


def test_a_killed_driver_is_given_again_and_two_at_once_are_refused(nodes, gate, tmp_path):
    output = tmp_path / "compared"
    words = without_options(running.options(), absent_from("oracle"))
    command = ["tesp", "compare", f"{gate.parent / 'gated.py'}:gated", *words, "--algorithms", "oracle", "--seeds", 0]
    driver = child(*command, "--ray", nodes.address, "--output", output)
    try:
        wait_until(lambda: driver.poll() is not None or trained(output / "oracle-seed0") == 2)
        with pytest.raises(BusyError, match=r"Another process trains the runs in .*compared"):
            compare.compare(configs(gate, (0,)), output)
    finally:
        driver.send_signal(signal.SIGKILL)
        ended = wait(driver)
    assert ended.code == -signal.SIGKILL, ended
    gate.touch()
    shown = io.StringIO()
    work = partial(sweeps.work, RaySettings(nodes.address))
    paths = compare.compare(configs(gate, (0,)), output, Console(file=shown, width=200), work)
    assert "oracle-seed0: goes on after 2 meta-updates" in shown.getvalue()
    assert {path.name for path in paths} == WRITTEN
    assert_same_run(output / "oracle-seed0", undisturbed(gate, tmp_path / "alone", (0,)) / "oracle-seed0")


def lost_and_found(nodes, gate, folder):
    """Train two runs, kill the machine of the first in the middle; return what was shown."""
    folder.mkdir()
    folders = {folder / f"oracle-seed{config.seed}": config for config in configs(gate)}
    shown = io.StringIO()

    def kill():
        try:
            wait_until(lambda: all(trained(run) >= 2 for run in folders))
            nodes.kill(re.search(r"oracle-seed0: begins on (\S+)", shown.getvalue())[1])
            wait_until(lambda: "oracle-seed0: lost on" in shown.getvalue())
        finally:
            gate.touch()

    with meanwhile(kill):
        assert sweeps.work(RaySettings(nodes.address), folders, folder, Console(file=shown, width=200)) == {}
    return shown.getvalue()


def test_what_a_killed_machine_did_goes_on_elsewhere_where_no_path_is_shared(nodes, gate, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        marked = sweeps._marked
        patch.setattr(sweeps, "_marked", partial(other_mark, marked))
        shown = lost_and_found(nodes, gate, tmp_path / "travelling")
    assert "A machine does not see" in shown
    alone = undisturbed(gate, tmp_path / "alone")
    for seed in SEEDS:
        assert_same_run(tmp_path / "travelling" / f"oracle-seed{seed}", alone / f"oracle-seed{seed}")


@contextmanager
def other_mark(marked, output):
    with marked(output) as (mark, _):
        yield mark, "what no machine finds there"


@pytest.mark.long
def test_what_a_killed_machine_did_goes_on_elsewhere_on_a_shared_path(gate, tmp_path):
    with clusters.nodes_of(2) as nodes:
        shown = lost_and_found(nodes, gate, tmp_path / "shared")
    assert "A machine does not see" not in shown
    alone = undisturbed(gate, tmp_path / "alone")
    for seed in SEEDS:
        assert_same_run(tmp_path / "shared" / f"oracle-seed{seed}", alone / f"oracle-seed{seed}")


@pytest.mark.long
def test_a_machine_with_other_versions_gets_no_run(gate, tmp_path):
    """NumPy is told to be another one there, by what lies first on the path."""
    metadata = tmp_path / "other" / "numpy-0.0.1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    gate.touch()
    output, shown = tmp_path / "swept", io.StringIO()
    output.mkdir()
    folders = {output / f"oracle-seed{config.seed}": config for config in configs(gate)}
    with clusters.nodes_of(0) as nodes:
        path = os.pathsep.join(filter(None, [str(metadata.parent), os.environ.get("PYTHONPATH")]))
        other = nodes.add(PYTHONPATH=path)
        work = partial(sweeps.work, RaySettings(nodes.address), folders, output, Console(file=shown, width=300))
        with pytest.raises(UnfitError, match=rf"The machine {other} has numpy 0\.0\.1 \(not .*\), and results depend"):
            work()
        fitting = nodes.add()
        assert work() == {}
    assert f"begins on {fitting}" in shown.getvalue()
    assert f"begins on {other}" not in shown.getvalue()


@pytest.mark.long
def test_a_sweep_on_this_machine_computes_what_the_plain_command_computes(tmp_path):
    values = {name: list(x) if isinstance(x, tuple) else x for name, x in running.TINY.items()}
    text = 'families = ["point"]\nmethods = ["tesp"]\nseeds = [0, 1]\n[options]\n'
    (tmp_path / "two.toml").write_text(text + "".join(f"{name} = {x}\n" for name, x in values.items()))
    done = [
        wait(child("tesp", "sweep", tmp_path / "two.toml", *words, "--output", tmp_path / name))
        for name, words in (("by-ray", ["--ray"]), ("plain", []))
    ]
    assert [(one.code, one.err) for one in done] == [(0, "")] * 2, done
    for run in ("tesp-seed0", "tesp-seed1", "oracle-seed0", "oracle-seed1"):
        assert_same_run(tmp_path / "by-ray" / "point" / run, tmp_path / "plain" / "point" / run)
