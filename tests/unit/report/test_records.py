import json

import pytest

from helpers.stored import evaluation, evaluations, reference, write_run
from tesp.errors import RunFolderError
from tesp.report.records import read_run
from tesp.storage.records import read_records


@pytest.mark.parametrize("torn", ['{"kind": "eval', '{"kind": "x", "a": "\u2033'.encode()[:-1], b"\0\0\0"])
def test_a_torn_last_line_is_left_out(tmp_path, torn):
    folder = write_run(tmp_path / "run", [reference()])
    path = folder / "records.jsonl"
    path.write_bytes(path.read_bytes() + (torn if isinstance(torn, bytes) else torn.encode()))
    assert read_records(path) == [reference()]


@pytest.mark.parametrize("line", ['{"kind": "eval', "[1]", '{"no": "kind"}', '{"kind": 3}'])
def test_any_other_bad_line_is_an_error_that_names_it(tmp_path, line):
    path = tmp_path / "records.jsonl"
    path.write_text(f"{json.dumps(reference())}\n{line}\n{json.dumps(reference())}\n")
    with pytest.raises(RunFolderError, match=r"Line 2 of .*records\.jsonl"):
        read_records(path)


def test_a_record_without_a_needed_field_is_an_error_that_names_it(tmp_path):
    record = evaluation(0, 0, -1.0)
    del record["success_rate"], record["seed"]
    folder = write_run(tmp_path / "run", [record])
    with pytest.raises(RunFolderError, match=r"Line 1 .* lacks seed, success_rate"):
        read_run(folder)


def test_a_run_holds_its_name_configuration_and_records_by_kind(tmp_path):
    records = [reference(), *evaluations(0), {"kind": "train", "meta_update": 1}, {"kind": "new"}]
    run = read_run(write_run(tmp_path / "my run", records))
    assert run.name == "my run"
    assert run.config == {"family": "wheeled"}
    assert {kind: len(found) for kind, found in run.records.items()} == {
        "reference": 1,
        "evaluation": 6,
        "train": 1,
        "new": 1,
    }
    assert run.stand_still() == {"train": reference()}


def test_missing_and_empty_things_are_clear_errors(tmp_path):
    with pytest.raises(RunFolderError, match="nowhere is not a folder"):
        read_run(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunFolderError, match=r"config\.json does not exist"):
        read_run(tmp_path / "empty")
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(RunFolderError, match=r"records\.jsonl does not exist"):
        read_run(tmp_path / "empty")
    with pytest.raises(RunFolderError, match="holds no record yet"):
        read_run(write_run(tmp_path / "started", [], torn='{"kind"'))
    folder = write_run(tmp_path / "run", [reference()])
    (folder / "config.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"config\.json is damaged: Expecting property name"):
        read_run(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(RunFolderError, match=r"config\.json is damaged: an object is needed"):
        read_run(folder)
    (folder / "config.json").unlink()
    with pytest.raises(RunFolderError, match=r"config\.json does not exist"):
        read_run(folder)


def test_the_later_of_two_equal_evaluations_counts(tmp_path):
    run = read_run(write_run(tmp_path / "run", [evaluation(25, 0, -9.0), evaluation(25, 0, -7.0)]))
    assert [record["average_return"] for record in run.evaluations().values()] == [-7.0]


def test_the_last_evaluation_is_the_last_complete_one(tmp_path):
    run = read_run(write_run(tmp_path / "run", [*evaluations(0, 25, last=2), evaluation(50, 0, -1.0)]))
    assert run.fast_updates == 2
    meta_update, chosen = run.last_evaluation()
    assert meta_update == 25
    assert {task_set: list(records) for task_set, records in chosen.items()} == {
        "train": [0, 1, 2],
        "in_distribution": [0, 1, 2],
        "out_of_distribution": [0, 1, 2],
    }


def test_a_run_without_evaluation_has_none_to_show(tmp_path):
    run = read_run(write_run(tmp_path / "run", [reference()]))
    assert run.evaluations() == {}
    for asked in (lambda: run.fast_updates, lambda: run.first, run.last_evaluation):
        with pytest.raises(RunFolderError, match="holds no evaluation"):
            asked()
