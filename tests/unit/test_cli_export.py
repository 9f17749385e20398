import csv
import json
import sys

import onnx
import pytest

from helpers.reported import adaptation, evaluation
from helpers.running import records, tesp
from tesp.report.export import export_records, records_csv
from tesp.storage.records import append_records, write_records


def table(path):
    data = path.read_bytes()
    assert data.endswith(b"\n")
    assert b"\r" not in data
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tables(done):
    """What a command said of tables."""
    return [line for line in done.out.splitlines() if line.endswith(".csv")]


def number(text):
    return json.loads(text)


def test_tables_of_a_run(run):
    done = tesp("export", run)
    assert (done.code, done.err) == (0, "")
    assert tables(done) == [f"written: {run / 'export' / name}.csv" for name in ("train", "evaluation")]
    for kind in ("train", "evaluation"):
        stored, exported = records(run, kind), table(run / "export" / f"{kind}.csv")
        assert len(exported) == len(stored) > 0
        columns = {name for record in stored for name in record}
        for record, row in zip(stored, exported, strict=True):
            assert set(row) == columns
            for name, text in row.items():
                value = record.get(name)
                assert (text == (value or "")) if value is None or isinstance(value, str) else number(text) == value


def test_evaluations_and_adaptations(run, tmp_path):
    append_records(run / "evaluations.jsonl", [evaluation(4, "train", k, -5.0) for k in range(3)])
    append_records(run / "adaptations.jsonl", [adaptation(k, goal=(0.5, -0.7)) for k in range(-1, 4)])
    done = tesp("export", run, "--output", tmp_path / "new" / "tables")
    assert len(tables(done)) == 4
    assert len(table(tmp_path / "new" / "tables" / "evaluations.csv")) == 3
    adaptations = table(tmp_path / "new" / "tables" / "adaptations.csv")
    assert [number(row["goal"]) for row in adaptations] == [[0.5, -0.7]] * 5
    assert "episodes" not in adaptations[0]
    assert not (run / "export").exists()


def test_text_of_all_kinds_comes_back():
    given = [
        {"kind": "a", "text": 'quotes ", comma, \n line and D′', "number": 0.1, "list": [1, {"x": None}]},
        {"kind": "b", "later": True, "number": None, "nan": float("nan")},
    ]
    header, *rows = csv.reader(records_csv(given).splitlines(keepends=True))
    assert header == ["kind", "text", "number", "list", "later", "nan"]
    assert rows == [
        ["a", given[0]["text"], "0.1", '[1, {"x": null}]', "", ""],
        ["b", "", "", "", "true", "nan"],
    ]


def test_exported_again_the_newer_records_count(run):
    export_records(run, run / "export")
    path = run / "records.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"meta_update": 4' not in line), encoding="utf-8")
    export_records(run, run / "export")
    assert [row["meta_update"] for row in table(run / "export" / "train.csv")] == ["1", "2", "3"]
    assert sorted(p.name for p in (run / "export").iterdir()) == ["evaluation.csv", "train.csv"]


class TestONNX:
    """What is in the files is tested in test_onnx.py."""

    def test_of_a_run(self, run):
        done = tesp("export", run, "--format", "onnx", "--checkpoint", "3")
        assert (done.code, done.err) == (0, "")
        assert "the learner before any adaptation" in done.out
        assert [line for line in done.out.splitlines() if line.startswith("written")] == [
            f"written: {run / 'export' / name}.onnx" for name in ("policy", "encoder")
        ]
        model = onnx.load(run / "export" / "encoder.onnx")
        told = {one.key: json.loads(one.value) for one in model.metadata_props}
        assert told["run"] == json.loads((run / "config.json").read_text())["run"]
        assert told["meta_update"] == 3
        assert not (run / "export" / "train.csv").exists()

    def test_of_a_file(self, run, tmp_path):
        tesp("export", run, "--output", tmp_path)
        done = tesp("export", tmp_path / "learner.safetensors", "--format=onnx")
        assert (done.code, done.err) == (0, "")
        assert f"written: {tmp_path / 'learner' / 'policy.onnx'}" in done.out
        tesp("export", run, "--format", "onnx", "--output", tmp_path / "of the run")
        for name in ("policy.onnx", "encoder.onnx"):
            assert (tmp_path / "learner" / name).read_bytes() == (tmp_path / "of the run" / name).read_bytes()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "is a file, which can be exported with --format onnx only"),
            (["--format=onnx", "--checkpoint=best"], "--checkpoint is not possible with"),
            (["--format=onnx", "--trust"], "--trust is not possible with"),
            (["--format=onnx"], "is damaged or no safetensors file"),
        ],
    )
    def test_files_that_are_not_possible(self, tmp_path, words, said):
        (tmp_path / "given").write_bytes(b"no such file")
        assert said in tesp("export", tmp_path / "given", *words).sentence()
        assert [path.name for path in tmp_path.iterdir()] == ["given"]

    def test_refuses_before_anything_else(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "onnx", None)
        refused = tesp("export", tmp_path / "nothing", "--format", "onnx")
        assert "onnx is not installed; install it with `pip install 'tesp[onnx]'`" in refused.sentence()

    def test_links_are_not_written_through(self, run, tmp_path):
        (run / "export").mkdir()
        (run / "export" / "policy.onnx").symlink_to(tmp_path / "elsewhere")
        assert "is a symbolic link" in tesp("export", run, "--format", "onnx").sentence()
        # In a folder that is the user's own, a link is replaced.
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "policy.onnx").symlink_to(tmp_path / "elsewhere")
        (run / "export" / "policy.onnx").unlink()
        assert tesp("export", run, "--format", "onnx", "--output", tmp_path / "mine").code == 0
        assert not (tmp_path / "elsewhere").exists()


class TestRefuses:
    def test_what_is_no_run(self, tmp_path):
        assert "There is no run folder" in tesp("export", tmp_path / "nothing").sentence()

    @pytest.mark.parametrize("name", ["records", "evaluations"])
    def test_damaged_records_and_writes_nothing(self, run, name):
        with (run / f"{name}.jsonl").open("a", encoding="utf-8") as file:
            file.write("{\n")
        assert f"{name}.jsonl is not a record" in tesp("export", run).sentence()
        assert not (run / "export").exists()

    def test_a_run_without_measurements(self, run):
        write_records(
            run / "records.jsonl",
            [{"kind": "reference", "reference": "", "family": "", "task_set": "", "average_return": 0}],
        )
        assert "nothing to export yet" in tesp("export", run).sentence()
        assert not (run / "export").exists()

    def test_a_folder_that_cannot_be_made(self, run, tmp_path):
        (tmp_path / "file").touch()
        refused = tesp("export", run, "--output", tmp_path / "file").sentence()
        assert f"{tmp_path / 'file'} cannot be written" in refused
