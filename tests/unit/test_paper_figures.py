"""The paper's figures from the stored records."""

from pathlib import Path

import pytest

from helpers.documents import ROOT
from helpers.modules import loaded
from tesp.errors import RunFolderError
from tesp.report.records import read_archived
from tesp.sweep import planned, read_sweep

FOLDER = ROOT / "experiments" / "paper_figures"
RECORDS = ROOT / "experiments" / "records" / "campaign"


@pytest.fixture(scope="module")
def analysis():
    return loaded(FOLDER / "analysis.py", "analysis_of_paper_figures")


def test_whole_runs_of_the_preset_are_found(analysis):
    runs = analysis.found(RECORDS)["reacher2"]
    named = {(run.config["algorithm"], run.config["seed"]) for run in runs}
    assert len(named) == len(runs)
    assert {(method, seed) for method in analysis.FIGURES[4] for seed in range(100, 105)} <= named
    assert all(run.config["preset"] == "small" for run in runs)


def test_methods_are_compared_on_common_seeds(analysis):
    runs = [run for run in analysis.found(RECORDS)["reacher2"] if run.name != "reacher2-maml-small-seed102"]
    chosen = analysis.of_common_seeds(runs, analysis.FIGURES[4])
    assert {run.config["seed"] for run in chosen} == {100, 101, 103, 104}
    assert {run.config["algorithm"] for run in chosen} == {*analysis.FIGURES[4], "oracle"}


@pytest.mark.parametrize("figure", [4, 5])
def test_sweeps_train_what_is_drawn(analysis, figure):
    configs, tables = planned(read_sweep(FOLDER / f"figure{figure}.toml"), Path("runs"))
    trained = {config.algorithm for config in configs.values()}
    assert trained == {*analysis.FIGURES[figure], "oracle"}
    assert {config.preset for config in configs.values()} == {"small"}
    assert min(config.seed for config in configs.values()) == 100
    assert tables


@pytest.mark.parametrize("spoil", ["records", "config", "all"])
def test_archives_that_cannot_be_read(tmp_path, spoil):
    records, config = tmp_path / "run.jsonl.gz", tmp_path / "run.config.json"
    if spoil != "all":
        records.write_bytes((RECORDS / "reacher2-maml-small-seed100.jsonl.gz").read_bytes()[:99])
        config.write_text("{" if spoil == "config" else "{}")
    with pytest.raises(RunFolderError, match=r"run\.jsonl\.gz or its configuration cannot be read: "):
        read_archived(records)
