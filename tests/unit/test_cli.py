"""The command line: what it offers, what it refuses and with which words."""

import ast
import dataclasses
import inspect
import itertools
import re
import shutil
import textwrap

import numpy as np
import pytest
from PIL import Image

from helpers.documents import ROOT
from helpers.running import TINY, files, lines_of, options, records, tesp, timeless, tiny_config
from tesp.building import build_family
from tesp.config import Config, as_dict, preset_config
from tesp.methods.registry import absent_from
from tesp.storage.run_folder import RunFolder
from tesp.tasks.registry import families


def new_run(folder, **overrides):
    """A run that has just started: no record, no checkpoint."""
    config = tiny_config(**overrides)
    return RunFolder.create(
        folder, as_dict(config), build_family(config).sample_task_sets(0), family=config.family_reference
    ).path


class TestHelp:
    @staticmethod
    def fields(holder):
        """Name and docstring of every field, with those of groups in place of the group."""
        kind = type(holder)
        (body,) = [node.body for node in ast.parse(textwrap.dedent(inspect.getsource(kind))).body]
        texts = {
            node.target.id: following.value.value
            for node, following in itertools.pairwise(body)
            if isinstance(node, ast.AnnAssign) and isinstance(following, ast.Expr)
        }
        found = []
        for field in dataclasses.fields(kind):
            value = getattr(holder, field.name)
            found += TestHelp.fields(value) if dataclasses.is_dataclass(value) else [(field.name, texts[field.name])]
        return found

    def test_every_field_of_the_configuration_is_an_option_with_its_text(self):
        shown = tesp("train", "point", "--help")
        assert (shown.code, shown.err) == (0, "")
        letters = re.sub(r"[^\w]", "", shown.out)
        shown_here = {name for name, _ in self.fields(Config())} - absent_from("tesp")
        fields = [(n, text) for n, text in self.fields(Config()) if n in shown_here and not n.startswith("family")]
        assert len(fields) > 30
        for name, text in [*fields, ("output", "The run folder to make")]:
            assert re.search(rf"--{name.replace('_', '-')}[ ,]", shown.out), name
            assert text.strip(), name
            # Names may be broken where a line ends, so only what is written is compared, not how.
            assert re.sub(r"[^\w]", "", text) in letters, name

    def test_defaults_are_those_of_the_preset(self):
        text = " ".join(tesp("train", "ant", "--preset=quick", "--help").out.split())
        preset = preset_config("ant", "quick")
        assert f"(default: {preset.method.experience.buffer_size})" in text
        assert "(default: 16)" not in " ".join(tesp("train", "point", "--preset", "quick", "--help").out.split())

    @pytest.mark.parametrize("command", ["train", "resume", "evaluate", "adapt", "compare", "plot", "list"])
    def test_every_command_explains_itself(self, command):
        shown = tesp(command, "--help")
        assert (shown.code, shown.err) == (0, "")
        assert f"usage: tesp {command}" in shown.out
        assert f"tesp {command}" in tesp("--help").out

    def test_the_page_says_what_the_help_says_of_the_list(self):
        said = re.search(r"tesp list .*  (families.*?runs); ", tesp("--help").out)
        assert said
        assert f"  {said[1]}; " in (ROOT / "docs" / "command-line.md").read_text()

    def test_no_command(self):
        assert tesp().code == 2
        assert "usage: tesp COMMAND" in tesp().out


class TestTrain:
    def test_says_where_the_run_lies_and_how_it_went(self, reference):
        out = reference.finished.out
        assert (reference.finished.code, reference.finished.err) == (0, "")
        assert out.startswith(f"run folder: {reference.path}\n")
        for line in ("meta-update     1/4", "meta-update     4/4", "evaluation after 4 meta-updates", "standing still"):
            assert line in out
        assert f"drawn: {reference.path / 'figures' / 'learning_curves.png'}" in out

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["pont"], "no family 'pont' (did you mean 'point'?); known are: point, wheeled, ant, reacher2, reacher4"),
            ([], "needs the name of a family first"),
            (["--preset", "quick"], "needs the name of a family first"),
            (["point", "--preset", "fast"], "no preset 'fast'; known are: paper, quick"),
            (["point", "--algorithm", "dreamer"], "no algorithm 'dreamer'; known are: "),
            (["point", "--buffer-size", "40"], "buffer_size = 40 is not possible with episodes_per_round = 25"),
            (["point", "--fast-updates", "-1"], "fast_updates = -1 is not possible"),
            (["point", "--seed", "-1"], "seed = -1 is not possible"),
            (["point", "--spacing", "0.9"], "goals at least 0.9 m apart could not be placed"),
            (["point", "--tasks-per-set", "5"], "tasks_per_update = 20 is not possible with 5 training tasks"),
            (["point", "--horizon", "0"], "horizon is 0"),
            (["point", "--engine", "closed-form"], "'point' has no option 'engine'"),
        ],
    )
    def test_refuses(self, tmp_path, arguments, said):
        assert said in tesp("train", *arguments, "--output", tmp_path / "deep" / "run").sentence()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("arguments", [["--colour", "red"], ["--epochs", "many"], ["--preset"]])
    def test_options_that_do_not_exist_or_have_no_such_value(self, tmp_path, arguments):
        refused = tesp("train", "point", *arguments, "--output", tmp_path / "run")
        assert refused.code == 2
        assert arguments[0] in refused.err
        assert "Traceback" not in refused.err
        assert list(tmp_path.iterdir()) == []

    def test_an_existing_folder_stays_as_it_is(self, run):
        before = files(run)
        refused = tesp("train", "point", *options(), "--output", run)
        assert f"{run} exists already" in refused.sentence()
        assert files(run) == before

    def test_a_place_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("mine")
        refused = tesp("train", "point", *options(), "--output", tmp_path / "file" / "run")
        assert "cannot be made" in refused.sentence()
        assert files(tmp_path) == {"file": b"mine"}

    def test_number_of_devices(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tesp.devices.VARIABLE", "TESP_OTHER")
        monkeypatch.setenv("TESP_OTHER", "two")
        monkeypatch.delenv("XLA_FLAGS")
        assert "TESP_OTHER is 'two'" in tesp("list", tmp_path).sentence()


COMMANDS = {
    "resume": ["resume", "RUN"],
    "evaluate": ["evaluate", "RUN"],
    "adapt": ["adapt", "RUN", "--goal", "0.5", "0.5"],
    "plot": ["plot", "RUN"],
}


def command(name, folder):
    return [folder if word == "RUN" else word for word in COMMANDS[name]]


class TestWhatIsNoRun:
    @pytest.mark.parametrize("name", COMMANDS)
    def test_missing_folder(self, tmp_path, name):
        assert str(tmp_path / "run") in tesp(*command(name, tmp_path / "run")).sentence()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", COMMANDS)
    def test_another_folder(self, tmp_path, name):
        (tmp_path / "notes.txt").write_text("mine")
        assert str(tmp_path) in tesp(*command(name, tmp_path)).sentence()
        assert files(tmp_path) == {"notes.txt": b"mine"}

    @pytest.mark.parametrize("name", COMMANDS)
    def test_damaged_configuration(self, run, name):
        (run / "config.json").write_text("{")
        before = files(run)
        assert "config.json is " in tesp(*command(name, run)).sentence()
        assert files(run) == before

    @pytest.mark.parametrize("name", ["resume", "evaluate", "adapt"])
    def test_damaged_task_sets(self, run, name):
        (run / "tasks.json").write_text("{}")
        before = files(run)
        assert "tasks.json is damaged" in tesp(*command(name, run)).sentence()
        assert files(run) == before

    def test_damaged_records(self, run):
        text = (run / "records.jsonl").read_text()
        (run / "records.jsonl").write_text("{\n" + text)
        before = files(run)
        assert "Line 1 of" in tesp("resume", run).sentence()
        assert "Line 1 of" in tesp("plot", run).sentence()
        assert files(run) == before

    @pytest.mark.parametrize("name", ["resume", "evaluate", "adapt"])
    def test_checkpoints_of_another_family(self, reference, tmp_path, name):
        run = new_run(tmp_path / "run", family="reacher2")
        shutil.copytree(reference.path / "checkpoints", run / "checkpoints")
        shutil.copy(reference.path / "records.jsonl", run)
        before = files(run)
        assert "was written by another run" in tesp(*command(name, run)).sentence()
        assert files(run) == before


class TestEvaluate:
    def test_gives_the_numbers_of_training_every_time(self, run):
        stored = [r for r in records(run, "evaluation") if r["meta_update"] == TINY["meta_updates"]]
        for times in (1, 2):
            evaluated = tesp("evaluate", run, "--checkpoint", "latest")
            assert (evaluated.code, evaluated.err) == (0, "")
            assert "meta-update 4 " in evaluated.out
            evaluations = lines_of(run / "evaluations.jsonl")
            assert len(evaluations) == times * len(stored)
            assert timeless(evaluations[-len(stored) :]) == timeless(stored)

    def test_takes_the_best_checkpoint(self, run):
        assert "meta-update 2 " in tesp("evaluate", run).out

    @pytest.mark.parametrize(
        ("checkpoint", "said"),
        [("1", "no checkpoint of meta-update 1"), ("last", "no checkpoint 'last'; give best, latest or a number")],
    )
    def test_checkpoints_that_do_not_exist(self, run, checkpoint, said):
        before = files(run)
        assert said in tesp("evaluate", run, "--checkpoint", checkpoint).sentence()
        assert files(run) == before


class TestAdapt:
    def test_records_and_draws_every_round(self, run):
        adapted = tesp("adapt", run, "--goal", "-0.5", "0.25", "--checkpoint", "3")
        assert (adapted.code, adapted.err) == (0, "")
        for line in ("task (-0.5, 0.25)", "warm-up ", "1 fast-update ", "3 fast-updates", "filmed: "):
            assert line in adapted.out
        assert (run / "figures" / "trajectories.png").stat().st_size > 0
        stored = lines_of(run / "adaptations.jsonl")
        assert [r["fast_update"] for r in stored] == [-1, 0, 1, 2, 3]

    def test_a_goal_far_from_all_others_is_questioned_before_the_work(self, run):
        done = tesp("adapt", run, "--goal", "1e6,0", "--film", "none", "--fast-updates", "0")
        assert (done.code, done.err) == (0, "")
        assert done.out.index("The goal (1e+06, 0) lies 1e+06 m from the origin") < done.out.index("warm-up")
        assert done.out.count("those of D″ 1.1 to 1.5 m") == 1

    @pytest.mark.parametrize("goal", [["0.5"], ["0.1", "0.2", "0.3"], ["nan", "0.1"]])
    def test_goals_that_are_not_possible(self, run, goal):
        before = files(run)
        assert "a task of 'point' has 2 finite numbers" in tesp("adapt", run, "--goal", *goal).sentence()
        assert files(run) == before


class TestPlot:
    @pytest.mark.pictures
    def test_one_run_and_several(self, run, reference, tmp_path):
        shutil.rmtree(run / "figures")
        assert tesp("plot", run, "--x", "environment_steps").code == 0
        single = {"learning_curves.png", "fast_updates.png", "task_paths.png", "embeddings.png", "rates.png"}
        assert {p.name for p in (run / "figures").iterdir()} == single
        assert all(np.ptp(np.asarray(Image.open(p))) > 200 for p in (run / "figures").iterdir())
        assert "both have seed 0" in tesp("plot", run, reference.path, "--output", tmp_path / "both").sentence()
        for name in ("config.json", "records.jsonl"):
            (run / name).write_text((run / name).read_text().replace('"seed": 0', '"seed": 1'))
        assert tesp("plot", run, reference.path, "--output", tmp_path / "both").code == 0
        assert {p.name for p in (tmp_path / "both").iterdir()} == {"learning_curves.png"}

    def test_nothing_to_draw(self, tmp_path):
        assert "needs one run folder or more" in tesp("plot").sentence()
        run = new_run(tmp_path / "run")
        assert "holds no record yet" in tesp("plot", run).sentence()
        assert not (run / "figures").exists()

    def test_a_place_that_cannot_be_written(self, run, tmp_path):
        (tmp_path / "file").touch()
        refused = tesp("plot", run, "--output", tmp_path / "file")
        assert f"{tmp_path / 'file'} cannot be used: File exists" in refused.sentence()


class TestList:
    def test_runs_at_every_stage(self, reference, run, tmp_path):
        runs = tmp_path / "runs"
        runs.mkdir()
        shutil.move(run, runs / "finished")
        new_run(runs / "started", seed=12)
        damaged = new_run(runs / "damaged")
        (damaged / "config.json").write_text("{}}")
        (runs / "notes").mkdir()
        listed = tesp("list", runs)
        assert (listed.code, listed.err) == (0, "")
        assert {("meta-sgd", "Meta-SGD"), ("rl2", "RL²")} <= {
            tuple(cell.strip() for cell in line.split("│")) for line in listed.out.splitlines()
        }
        for name in families():
            assert name in listed.out
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in listed.out.splitlines()]
        assert ["finished", "point", "tesp", "quick", "0", "4/4"] in rows
        assert ["started", "point", "tesp", "quick", "12", "0/4"] in rows
        assert re.search(r"damaged: .*config\.json is damaged", listed.out)
        assert "notes" not in listed.out

    def test_no_runs(self, tmp_path):
        assert f"no runs in {tmp_path}" in tesp("list", tmp_path).out
        assert f"no runs in {tmp_path / 'missing'}" in tesp("list", tmp_path / "missing").out


def test_unknown_command():
    assert (
        "no command 'trian' (did you mean 'train'?); known are: train, resume, evaluate, adapt"
        in tesp("trian").sentence()
    )


def test_other_errors_keep_their_traceback(monkeypatch, tmp_path):
    def fail(*_):
        raise OSError("a bug")

    monkeypatch.setattr("tesp.commands.listing.run", fail)
    with pytest.raises(OSError, match="a bug"):
        tesp("list", tmp_path)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["evalute"], "'evaluate'"),
        (["train", "poit"], "'point'"),
        (["train", "point", "--preset", "quik"], "'quick'"),
        (["train", "point", "--algorithm", "meta-sdg"], "'meta-sgd'"),
    ],
)
def test_the_nearest_name_is_told(words, meant):
    assert f"did you mean {meant}?" in tesp(*words).sentence()


def test_goals_with_commas(run):
    for goal in (["--goal", "0.5,-0.7"], ["--goal=-0.5,0.7"], ["--task", "0.5,", "-0.7"]):
        done = tesp("adapt", run, *goal, "--film", "none")
        assert done.code == 0, done.err
        assert "task (0.5, -0.7)" in done.out or "task (-0.5, 0.7)" in done.out
