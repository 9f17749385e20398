"""A run folder from somebody else runs no code without consent, whatever is done with it."""

import json
import shutil
from unittest import mock

import pytest

from helpers.running import options, rewrite_json, tesp, tiny_config
from tesp import trust
from tesp.errors import RunFolderError, UntrustedError
from tesp.runs import load, load_run, resume, train
from tesp.tasks import family_files

FAMILY = """
from pathlib import Path
from tesp.tasks.point import PointFamily
Path({ran!r}).touch()
mine = PointFamily(horizon=9)
"""


@pytest.fixture(autouse=True)
def as_another_process(monkeypatch):
    monkeypatch.setattr(family_files, "_MODULES", {})
    monkeypatch.setattr(trust, "_ALLOWED", set())
    monkeypatch.setattr(trust, "_OF_RUNS", {})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where the run is that all tests begin with: consent is to what lies at a place."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def stored(place):
    """A finished run of a family in a file, as it is kept apart."""
    file = place / "code" / "own.py"
    file.parent.mkdir()
    file.write_text(FAMILY.format(ran=str(place / "ran")))
    with mock.patch.dict(family_files._MODULES, clear=True):
        run = train(tiny_config(f"{file}:mine", meta_updates=1, horizon=9), place / "runs" / "own")
    return run.folder.path.rename(place / "stored")


@pytest.fixture
def ran(place):
    """A file that appears when the family's code runs."""
    (place / "ran").unlink(missing_ok=True)
    return place / "ran"


@pytest.fixture
def own(place, stored, ran):  # noqa: ARG001
    """The run where it was trained; its code has run in none of this process's modules."""
    shutil.rmtree(place / "runs", ignore_errors=True)
    return shutil.copytree(stored, place / "runs" / "own")


@pytest.fixture
def foreign(own, tmp_path):
    """The same run as it comes from somebody else."""
    return shutil.copytree(own, tmp_path / "foreign" / "own")


COMMANDS = {
    "resume": (),
    "evaluate": (),
    "adapt": ("--goal", "0.5", "0.5", "--film", "none"),
    "render": ("--view", "plane"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_that_need_the_family_refuse_in_one_sentence_and_run_with_consent(foreign, ran, command):
    said = tesp(command, foreign, *COMMANDS[command]).sentence()
    assert f"{foreign} has code of its own, {foreign / 'family.py'}" in said
    assert "--trust" in said
    assert not ran.exists()
    done = tesp(command, foreign, *COMMANDS[command], "--trust")
    assert done.code == 0, done.err
    assert f"running the code of {foreign / 'family.py'}, as you allow" in done.err
    assert ran.exists()


def test_what_does_not_need_the_family_works_without(foreign, ran, tmp_path):
    assert tesp("list", foreign.parent).code == 0
    plotted = tesp("plot", foreign)
    assert plotted.code == 0
    assert "--trust" in plotted.out
    assert (foreign / "figures" / "learning_curves.png").is_file()
    # Not with a learner that was compiled for the family before.
    assert tesp("export", foreign, fresh=True).code == 0
    report = tesp("report", foreign, "--output", tmp_path / "report.html")
    assert report.code == 0
    assert "has code of its own" in (tmp_path / "report.html").read_text()
    load(foreign)
    assert not ran.exists()


def test_python_refuses_and_takes_consent(foreign, ran):
    for needing in (load_run, resume):
        with pytest.raises(UntrustedError, match="trust=True"):
            needing(foreign)
    assert not ran.exists()
    assert load_run(foreign, trust=True).family.horizon == 9
    assert ran.exists()


def test_ones_own_run_needs_no_consent(own, ran):
    assert load_run(own).family.horizon == 9
    assert ran.exists()


@pytest.mark.parametrize("change", ["another file", "moved", "forgotten"])
def test_consent_holds_for_the_contents_at_the_place_as_training_wrote_them(own, ran, tmp_path, monkeypatch, change):
    if change == "another file":
        (own / "family.py").write_text((own / "family.py").read_text() + "other = 1\n")
    elif change == "moved":
        own = own.rename(own.with_name("moved"))
    else:
        monkeypatch.setenv(trust.VARIABLE, str(tmp_path / "state"))
    with pytest.raises(UntrustedError):
        load_run(own)
    assert not ran.exists()


def test_a_configuration_cannot_name_another_file_to_run(own, foreign, tmp_path):
    evil = tmp_path / "evil.py"
    evil.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'harm')!r}).touch()\nmine = None\n")
    for folder in (own, foreign):
        rewrite_json(folder / "config.json", family_file=str(evil))
    # The copy beside the configuration is what runs, with what lies beside the file that it was made of.
    with pytest.raises(UntrustedError):
        load_run(foreign)
    with pytest.warns(family_files.FamilyFileWarning):
        assert load_run(own).family.horizon == 9
    assert not (tmp_path / "harm").exists()


def test_a_neighbours_oracle_runs_nothing_that_the_run_does_not(own, tmp_path):
    """Evaluating one's own run looks for an oracle among the folders beside it, and runs none of them."""
    harm = tmp_path / "harm"
    oracle = shutil.copytree(own, own.with_name("oracle"))
    rewrite_json(oracle / "config.json", algorithm="oracle")
    (oracle / "family.py").write_text(f"from pathlib import Path\nPath({str(harm)!r}).touch()\nmine = None\n")
    shutil.copytree(oracle, own.with_name("nonsense"))
    (own.with_name("nonsense") / "config.json").write_text("[" * 100_000)
    done = tesp("evaluate", own)
    assert done.code == 0, done.err
    assert not harm.exists()
    assert "oracle" not in {line.split()[0] for line in done.out.splitlines() if line.split()}


def test_state_that_cannot_be_written_costs_consent_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "state").touch()
    monkeypatch.setenv(trust.VARIABLE, str(tmp_path / "state"))
    trust.remember(tmp_path / "family.py", "digest", "original")
    assert trust._recalled(tmp_path / "family.py", "digest") is None


def test_damaged_state_is_no_consent(tmp_path, monkeypatch):
    monkeypatch.setenv(trust.VARIABLE, str(tmp_path / "state"))
    trust.remember(tmp_path / "family.py", "digest", "original")
    assert trust._recalled(tmp_path / "family.py", "digest") == "original"
    assert trust._recalled(tmp_path / "family.py", "other") is None
    (entry,) = (tmp_path / "state" / "trusted").iterdir()
    for text in ("[]", "{", json.dumps({"file": 1}), "[" * 100_000):
        entry.write_text(text)
        assert trust._recalled(tmp_path / "family.py", "digest") is None


def test_training_with_the_command_line_remembers_too(tmp_path, ran, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(FAMILY.format(ran=str(ran)))
    assert tesp("train", "own.py:mine", *options(meta_updates=0, horizon=9), "--output", "run").code == 0
    family_files._MODULES.clear()
    assert tesp("resume", "run").code == 0


@pytest.mark.parametrize("name", ["{file}:mine", "{file}", "evil.py:mine"])
def test_a_familys_name_leads_to_no_file(foreign, own, tmp_path, monkeypatch, name):
    """The name in a configuration is parsed like one that a user gives."""
    monkeypatch.chdir(tmp_path)
    evil = tmp_path / "evil.py"
    evil.write_text(f"from pathlib import Path\nPath({str(tmp_path / 'harm')!r}).touch()\nmine = None\n")
    for folder in (own, foreign):
        for file in (None, str(evil)):
            rewrite_json(folder / "config.json", family=name.format(file=evil), family_file=file)
            for command in ("evaluate", "resume", "plot", "report", "export", "list"):
                assert tesp(command, folder if command != "list" else folder.parent).code in (0, 2)
            with pytest.raises(RunFolderError, match=r"config\.json is damaged: its family is"):
                load(folder, trust=True)
    assert not (tmp_path / "harm").exists()


def test_links_out_of_a_foreign_folder_are_not_written_through(foreign, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    for name, command in (
        ("export", ["export"]),
        ("figures", ["plot"]),
        ("figures", ["plot", "--no-details"]),
        ("figures", ["render", "--view", "plane"]),
    ):
        shutil.rmtree(foreign / name, ignore_errors=True)
        (foreign / name).symlink_to(target)
        refused = tesp(command[0], foreign, *command[1:], *(["--trust"] if command[0] != "plot" else []))
        assert refused.code == 2
        assert "is a symbolic link" in refused.err
        (foreign / name).unlink()
    assert list(target.iterdir()) == []
