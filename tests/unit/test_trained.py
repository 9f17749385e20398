"""Learners that come with the package, and cards."""

import dataclasses
import shutil

import gymnasium
import numpy as np
import pytest
import yaml

import tesp
from helpers.running import shared_learner
from helpers.running import tesp as command
from tesp import trained
from tesp.errors import ConfigurationError, RunFolderError
from tesp.report.card import card, facts_of
from tesp.task_sets import TASK_SETS

NAMES = trained.names()


def test_there_are_some():
    assert {"tesp/point", "tesp/reacher2"} <= set(NAMES)
    files = [path for path in trained._SHELF.iterdir() if path.suffix in (".md", trained.ENDING)]
    assert len(files) == 2 * len(NAMES)
    assert sum(path.stat().st_size for path in files) < 10e6


@pytest.mark.parametrize("name", NAMES)
def test_each_is_loaded_and_its_card_is_of_it(name):
    learner = tesp.load(name)
    text = trained.card(name)
    head = trained.front_matter(text)
    assert head["license"] == "mit"
    assert {learner.config.family, learner.config.algorithm} <= set(head["tags"])
    assert head["model-index"][0]["name"] == name
    assert [r["dataset"]["type"] for r in head["model-index"][0]["results"]] == list(TASK_SETS)
    assert f"--seed {learner.config.seed}" in text
    assert f"\n{learner.origin.meta_update} meta-updates, " in text
    assert f'tesp.load("{name}")' in text or f"tesp adapt {name} " in text
    for title in ("Returns", "Tasks", "Training", "Limits", "Licence"):
        assert f"\n## {title}\n" in text


def test_the_table_of_all():
    said = command("list", "--trained")
    assert said.code == 0
    for name in NAMES:
        assert name in said.out


def test_names_that_are_not_known():
    with pytest.raises(RunFolderError, match=r"no trained learner 'tesp/poin' \(did you mean 'tesp/point'\?\)"):
        tesp.load("tesp/poin")
    with pytest.raises(RunFolderError, match="There is no run folder"):
        tesp.load("reacher2")


def test_what_lies_there_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learner = tesp.load("tesp/reacher2")
    (tmp_path / "tesp").mkdir()
    (tmp_path / "tesp" / "point").mkdir()
    with pytest.raises(RunFolderError, match="tesp/point is not a run folder"):
        tesp.load("tesp/point")
    learner.save(tmp_path / "tesp" / "reacher2.safetensors")
    assert tesp.load("tesp/reacher2.safetensors").config == learner.config


def test_the_point_learns_where_its_goal_is():
    """As the first example says: on a goal outside of what it was trained on."""
    env = gymnasium.make("tesp/Point-v0", goal=(0.9, 1.0))
    agent = tesp.load("tesp/point").adapt(env, progress=False)
    returns = [past.judged_returns.mean() for past in agent.history]
    assert returns[-1] > -30 > -90 > returns[0]


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def _here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    def test_adapts_by_name_and_by_file(self, tmp_path):
        tesp.load("tesp/point").save("own.safetensors")
        said = []
        for given in ("tesp/point", "own.safetensors"):
            done = command("adapt", given, "--goal", "0.9", "1.0", "--fast-updates", "0", "--film", "none")
            assert done.code == 0, done
            said.append(done.out.split("drawn:")[0].split("task (0.9, 1)")[1])
        assert said[0] == said[1]
        assert (tmp_path / "runs" / "adapted" / "point" / "trajectories.png").stat().st_size > 0
        assert (tmp_path / "runs" / "adapted" / "own" / "trajectories.png").stat().st_size > 0

    @pytest.mark.parametrize(("option", "value"), [("--checkpoint", ["best"]), ("--trust", [])])
    def test_options_of_runs_are_refused(self, option, value):
        done = command("adapt", "tesp/point", "--goal", "1", "1", option, *value)
        assert f"{option} is not possible with tesp/point, which is no run" in done.sentence()

    def test_pictures_go_where_they_are_wanted(self, tmp_path, reference):
        run = shutil.copytree(reference.path, tmp_path / "run")
        for given in ("tesp/point", run):
            out = tmp_path / "out"
            done = command("adapt", given, "--goal", "1", "1", "--fast-updates", "0", "--film", "none", "--output", out)
            assert done.code == 0, done
            (out / "trajectories.png").unlink()

    def test_is_exported_by_name(self, tmp_path):
        done = command("export", "tesp/point", "--format", "onnx")
        assert done.code == 0, done
        assert (tmp_path / "runs" / "exported" / "point" / "policy.onnx").is_file()
        assert "which can be exported with --format onnx only" in command("export", "tesp/point").sentence()


class TestCards:
    def test_of_a_run(self, reference, tmp_path, monkeypatch):
        monkeypatch.setattr("tesp.building.build_learner", shared_learner)
        shown = command("card", reference.path, "--name", "mine", "--license", "Apache-2.0")
        done = command(
            "card", reference.path, "--name", "mine", "--license", "Apache-2.0", "--output", tmp_path / "card.md"
        )
        assert (shown.code, done.code) == (0, 0)
        text = (tmp_path / "card.md").read_text()
        assert shown.out == text
        assert yaml.safe_load(text.split("---\n")[1])["license"] == "apache-2.0"
        assert "| D (training) | standing still |" in text
        assert "Begun with tesp" in text
        assert "tesp train point --preset quick" in text

    def test_intervals_are_over_tasks(self, reference):
        update = max(row["meta_update"] for row in facts_of(reference.path, 4).run.records["evaluation"])
        assert update == 4
        rows = facts_of(reference.path, 2).run.records["evaluation"]
        assert {row["meta_update"] for row in rows} == {2}

    def test_without_distances_nobody_succeeds_and_nothing_is_in_metres(self, reference):
        facts = facts_of(reference.path, 4)
        without = {"final_distance": np.nan, "success_rate": 0.0}
        rows = [{**row, **without, "tasks": 7} for row in facts.run.records["evaluation"]]
        still = [{**row, **without, "tasks": 2} for row in facts.run.records["reference"]]
        run = dataclasses.replace(facts.run, records={**facts.run.records, "evaluation": rows, "reference": still})
        text = card(dataclasses.replace(facts, run=run), "mine", "tesp train point")
        assert "| task set | agent | return | 95 % interval |\n" in text
        assert "Sums of the reward over an episode; greater is better. Means over 7 tasks" in text
        assert "| D (training) | standing still (2 tasks) |" in text
        assert "success" in card(facts, "mine", "tesp train point")

    def test_what_was_not_evaluated_has_none(self, reference):
        with pytest.raises(
            ConfigurationError, match="after 3 meta-updates was not evaluated on all task sets; `tesp eval"
        ):
            facts_of(reference.path, 3)

    def test_a_file_has_none(self, tmp_path):
        file = tesp.load("tesp/point").save(tmp_path / "point.safetensors")
        assert "does not say what its learner returned; give the run." in command("card", file).sentence()

    def test_a_place_that_cannot_be_written(self, reference, tmp_path):
        (tmp_path / "file").write_text("")
        said = command("card", reference.path, "--output", tmp_path / "file" / "card.md").sentence()
        assert "cannot be written" in said


def test_all_numbers_are_finite():
    for name in NAMES:
        for x in trained.front_matter(trained.card(name))["model-index"][0]["results"]:
            (metric,) = x["metrics"]
            assert metric["low"] <= metric["value"] <= metric["high"]
            assert np.isfinite(metric["value"])
