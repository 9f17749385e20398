"""Records of runs as the project stores them: small, and with nothing lost that was measured."""

import json

import pytest

from helpers.documents import ROOT
from helpers.modules import loaded
from tesp.errors import RunFolderError
from tesp.report.records import read_archived

STORED = ROOT / "experiments" / "records" / "campaign" / "reacher2-maml-small-seed100.jsonl.gz"


@pytest.fixture(scope="module")
def keeping():
    return loaded(ROOT / "experiments" / "keep.py", "keep_records")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "a-run"
    folder.mkdir()
    (folder / "config.json").write_text(STORED.with_name("reacher2-maml-small-seed100.config.json").read_text())
    return folder


def test_floats_keep_six_digits_and_all_else_stays(keeping, run, tmp_path):
    whole = read_archived(STORED).records
    rows = [
        {**whole["train"][0], "average_return": -12.345678901, "seconds": 1e-9, "environment_steps": 123456789},
        {**whole["evaluation"][0], "average_return_quantiles": {"5": 0.1234567891}},
    ]
    (run / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    stored = read_archived(keeping.keep(run, tmp_path / "kept"))
    assert stored.name == "a-run"
    assert stored.config == json.loads((run / "config.json").read_text())
    assert stored.records["train"] == [{**rows[0], "average_return": -12.3457}]
    assert stored.records["evaluation"] == [{**rows[1], "average_return_quantiles": {"5": 0.123457}}]


def test_what_was_stored_is_stored_again_alike(keeping, tmp_path):
    again = keeping.keep(STORED, tmp_path)
    assert again.read_bytes() == STORED.read_bytes()
    assert read_archived(again).config == read_archived(STORED).config


@pytest.mark.parametrize("what", ["empty", "missing"])
def test_what_cannot_be_kept(keeping, run, tmp_path, what):
    if what == "empty":
        (run / "records.jsonl").write_text("")
    source = run if what == "empty" else tmp_path / "missing.jsonl.gz"
    with pytest.raises(RunFolderError, match="holds no record yet" if what == "empty" else "cannot be read"):
        keeping.keep(source, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
