import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tesp.errors import RunFolderError
from tesp.storage import run_folder
from tesp.storage.records import append_records
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS, TaskSet

SETS = {name: TaskSet(name, np.array([[0.1, index], [1 / 3, 0.5]])) for index, name in enumerate(TASK_SETS)}


@pytest.fixture
def folder(tmp_path):
    return RunFolder.create(tmp_path / "deep" / "run", {}, SETS)


def test_what_a_new_one_holds(folder):
    assert {path.name for path in folder.path.iterdir()} == {
        "config.json",
        "tasks.json",
        "versions.json",
        "records.jsonl",
    }
    assert [path.name for path in folder.path.parent.iterdir()] == ["run"]
    assert folder.read_config() == {}
    assert folder.read_records() == []
    stored = json.loads((folder.path / "versions.json").read_text())
    assert {"python", "system", "tesp", "jax", "jaxlib", "mujoco", "numpy", "orbax-checkpoint"} <= set(stored)
    assert all(stored.values())


def test_task_sets_come_back_bit_for_bit(folder):
    stored = RunFolder.open(folder.path).read_task_sets()
    assert list(stored) == list(TASK_SETS)
    for name in TASK_SETS:
        np.testing.assert_array_equal(stored[name].tasks, SETS[name].tasks)


def test_nothing_is_left_of_one_that_cannot_be_finished(tmp_path, monkeypatch):
    def fail():
        raise RuntimeError

    monkeypatch.setattr(run_folder, "versions", fail)
    with pytest.raises(RuntimeError):
        RunFolder.create(tmp_path / "run", {}, SETS)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_one_is_not_touched(folder):
    (folder.path / "config.json").write_text("mine")
    with pytest.raises(RunFolderError, match=r"exists already.*tesp resume"):
        RunFolder.create(folder.path, {}, SETS)
    assert (folder.path / "config.json").read_text() == "mine"


def test_a_place_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be made"):
        RunFolder.create(tmp_path / "file" / "run", {}, SETS)


def test_a_name_that_no_disk_takes(tmp_path):
    with pytest.raises(RunFolderError, match="cannot be made"):
        RunFolder.create(tmp_path / ("x" * 300), {}, SETS)


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "_LEAST_FREE", 2**62)
    with pytest.raises(RunFolderError, match=r"is full: \d+ MB are free"):
        RunFolder.create(tmp_path / "run", {}, SETS)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_run(tmp_path):
    with pytest.raises(RunFolderError, match="no run folder"):
        RunFolder.open(tmp_path / "missing")
    with pytest.raises(RunFolderError, match=r"has no config\.json"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"train": []}', '{"train": ["a"]}', "null"])
def test_damaged_task_sets(folder, text):
    (folder.path / "tasks.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"tasks\.json is damaged"):
        folder.read_task_sets()


def line(a):
    return {"kind": "x", "a": a}


class TestRecords:
    @pytest.fixture
    def path(self, tmp_path) -> Path:
        return tmp_path / "run" / "records.jsonl"

    @pytest.fixture
    def records(self, path):
        path.parent.mkdir()
        append_records(path, [line(1), line(2.5)])
        return RunFolder(path.parent)

    def test_come_back(self, records, path):
        append_records(path, [line("–")])
        assert records.read_records() == [line(1), line(2.5), line("–")]

    @pytest.mark.parametrize("torn", [b'{"a": 3', b"{", b'{"a": 3}', "{'–".encode()[:-1]])
    def test_a_torn_last_line_is_left_out_and_cut(self, records, path, torn):
        path.write_bytes(path.read_bytes() + torn)
        assert records.read_records() == [line(1), line(2.5)]
        append_records(path, [line(4)])
        assert [json.loads(text) for text in path.read_text().splitlines()] == [line(1), line(2.5), line(4)]

    def test_a_file_that_is_one_torn_line(self, path):
        path.parent.mkdir()
        path.write_bytes(b'{"a"')
        append_records(path, [line(4)])
        assert json.loads(path.read_bytes()) == line(4)

    def test_a_damaged_line_in_between(self, records, path):
        path.write_bytes(b'{"kind": "x"}\n{"a"\n{"kind": "x"}\n')
        with pytest.raises(RunFolderError, match="Line 2 of"):
            records.read_records()

    def test_of_several_processes_none_are_lost(self, path):
        path.parent.mkdir()
        (path.parent / "config.json").write_text('{"run": "same"}')
        program = (
            "import sys; from pathlib import Path; from tesp.storage.records import append_records\n"
            "for n in range(150): append_records(Path(sys.argv[1]), [{'kind': 'x', 'a': int(sys.argv[2]) + n}])"
        )
        writers = [subprocess.Popen([sys.executable, "-c", program, path, str(1000 * k)]) for k in (1, 2)]
        assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
        found = sorted(record["a"] for record in RunFolder(path.parent).read_records())
        assert found == [*range(1000, 1150), *range(2000, 2150)]

    def test_are_dropped_in_one_replacement(self, records, path):
        records.keep_records(lambda record: record["a"] > 2)
        assert json.loads(path.read_bytes()) == line(2.5)
        assert [p.name for p in path.parent.iterdir()] == ["records.jsonl"]
