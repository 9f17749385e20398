"""Several methods on several seeds in one word: what is trained, what is not, and what is written."""

import csv
import json
import shutil

import numpy as np
import pytest

from helpers.comparing import WRITTEN, compare, entries, going_wrong
from helpers.running import assert_same_run, files, lines_of, records, tesp
from tesp.errors import NonFiniteError
from tesp.evaluation.protocol import Evaluator
from tesp.runs.scores import score
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS
from tesp.training import loop

METHODS = ("oracle", "adapt-sv", "maml")
RUNS = {f"{method}-seed{seed}" for method in METHODS for seed in (0, 1)}
K = {"oracle": 0, "adapt-sv": 3, "maml": 3}


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison that nothing interrupted; tests must not change it."""
    folder = tmp_path_factory.mktemp("compare") / "point"
    more = ("--evaluation-episodes", 2)
    finished = compare(folder, *more, algorithms=("adapt-sv", "maml", "adapt-sv"), seeds=(0, 1, 0))
    assert (finished.code, finished.err) == (0, ""), finished
    return folder


@pytest.fixture
def copy(compared, tmp_path):
    """A copy of the comparison without some of its runs, and without table and figure."""

    def make(without=()):
        ignored = shutil.ignore_patterns(*WRITTEN, *without)
        return shutil.copytree(compared, tmp_path / "copy", ignore=ignored)

    return make


def rows_of(folder):
    with (folder / "comparison.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def never(*_):
    raise AssertionError("something was trained or evaluated")


class TestWhatIsWritten:
    def test_every_method_and_the_oracle_on_every_seed(self, compared):
        assert entries(compared) == WRITTEN | RUNS
        for method in METHODS:
            for seed in (0, 1):
                config = json.loads((compared / f"{method}-seed{seed}" / "config.json").read_text())
                assert (config["algorithm"], config["seed"], config["preset"]) == (method, seed, "quick")
                assert config["method"]["fast"]["fast_updates"] == K[method]
                assert config["schedule"]["meta_updates"] == 2
        for seed in (0, 1):
            folders = [RunFolder(compared / f"{method}-seed{seed}") for method in METHODS]
            tasks = [[sets.tasks.tolist() for sets in folder.read_task_sets().values()] for folder in folders]
            assert tasks[0] == tasks[1] == tasks[2]
            assert len({folder.identity for folder in folders}) == len(folders)

    def test_rows(self, compared):
        expected = []
        for task_set in TASK_SETS:
            expected.append((task_set, "standing still", ""))
            expected += [(task_set, method, str(k)) for method in METHODS for k in range(K[method] + 1)]
        rows = rows_of(compared)
        assert [(row["task_set"], row["method"], row["fast_update"]) for row in rows] == expected
        assert {row["seeds"] for row in rows} == {"2"}

    def test_numbers_are_means_over_the_last_evaluations(self, compared):
        for row in rows_of(compared):
            kind = "reference" if row["fast_update"] == "" else "evaluation"
            method = "maml" if kind == "reference" else row["method"]
            stored = [
                record
                for seed in (0, 1)
                for record in records(compared / f"{method}-seed{seed}", kind)
                if record["task_set"] == row["task_set"]
                and (
                    kind == "reference"
                    or (record["meta_update"], str(record["fast_update"])) == (2, row["fast_update"])
                )
            ]
            assert len(stored) == 2
            for name in ("average_return", "success_rate", "final_distance", "episode_length"):
                assert float(row[name]) == pytest.approx(np.mean([record[name] for record in stored])), (row, name)

    def test_table_and_figure(self, compared):
        text = (compared / "comparison.md").read_text(encoding="utf-8")
        table = [line for line in text.splitlines() if line.startswith("|")]
        assert len(table) == 2 + len(rows_of(compared))
        for name in ("standing still", "Oracle", "AdaptSV", "MAML"):
            assert sum(f"| {name} |" in line for line in table) >= 3
        assert (compared / "learning_curves.png").read_bytes().startswith(b"\x89PNG")


class TestAtEqualExperience:
    """What is written of single tasks; N = 3 is that of training, and 2 was asked for."""

    def test_single_tasks_are_those_of_the_last_evaluation(self, compared):
        for method in METHODS:
            stored = lines_of(compared / f"{method}-seed0" / "scores.jsonl")
            numbers = {r["episodes_per_round"] for r in stored if r["kind"] == "scores"}
            assert numbers == ({3} if method == "oracle" else {2, 3})
            last = [r for r in records(compared / f"{method}-seed0", "evaluation") if r["meta_update"] == 2]
            found = [r for r in stored if r["kind"] == "scores" and r["as_trained"]]
            for scores, evaluation in zip(found, last, strict=True):
                for name in ("average_return", "success_rate"):
                    assert np.mean(scores[name]) == pytest.approx(evaluation[name])

    def test_rows(self, compared):
        with (compared / "by_episodes.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        of_maml = [row for row in rows if (row["method"], row["task_set"]) == ("maml", "in_distribution")]
        used = [(row["episodes_per_round"], float(row["episodes_used"])) for row in of_maml]
        assert used == [(n, int(n) * k) for n in ("2", "3") for k in range(4)]
        assert {(row["seeds"], row["tasks"]) for row in rows} == {("2", "4")}
        assert {row["method"] for row in rows} == {"standing still", *METHODS}

    def test_score_matrices(self, compared):
        for task_set in TASK_SETS:
            matrices = dict(np.load(compared / f"scores-{task_set}.npz"))
            assert {name: x.shape for name, x in matrices.items()} == dict.fromkeys(METHODS, (2, 4))
            [row] = [
                r
                for r in rows_of(compared)
                if (r["task_set"], r["method"], r["fast_update"]) == (task_set, "maml", "3")
            ]
            assert matrices["maml"].mean() == pytest.approx(float(row["average_return"]))

    def test_only_what_is_missing_is_evaluated(self, copy, monkeypatch):
        folder = copy()
        evaluated = []

        def noted(run, episodes, console):
            evaluated.append(run.folder.path.name)
            return score(run, episodes, console)

        monkeypatch.setattr("tesp.compare.score", noted)
        assert compare(folder).code == 0
        assert evaluated == []
        (folder / "maml-seed1" / "scores.jsonl").unlink()
        assert compare(folder).code == 0
        assert evaluated == ["maml-seed1"]
        # N = 2 is left out, for one of the runs was not evaluated with it.
        assert "| MAML | **3** | 3 | 9 |" in (folder / "by_episodes.md").read_text(encoding="utf-8")
        assert "| MAML | 2 |" not in (folder / "by_episodes.md").read_text(encoding="utf-8")

    def test_numbers_that_go_wrong_leave_the_run_in_the_other_table(self, copy, monkeypatch):
        folder = copy()
        # Of an earlier state, as it is when a run was made longer.
        scores = folder / "maml-seed1" / "scores.jsonl"
        scores.write_text(scores.read_text().replace('"meta_update": 2', '"meta_update": 1'))

        def fails(*_):
            raise NonFiniteError("action", 0, "at control step 0 of episode 0")

        monkeypatch.setattr(Evaluator, "evaluate_tasks", fails)
        finished = compare(folder)
        assert finished.code == 1
        assert "maml-seed1: evaluated with other numbers of episodes: action became NaN" in finished.line()
        counts = {row["method"]: row["seeds"] for row in rows_of(folder)}
        assert counts["maml"] == "2"
        text = (folder / "by_episodes.md").read_text(encoding="utf-8")
        assert "**Left out:** maml-seed1" in text
        assert {x.shape for x in np.load(folder / "scores-train.npz").values()} == {(2, 4), (1, 4)}


class TestTheOracleOfAComparison:
    def test_stands_beside_the_others_and_needs_no_oracle_itself(self, copy):
        folder = copy()
        evaluated = [tesp("evaluate", folder / f"{method}-seed1", "--checkpoint", "latest") for method in METHODS[:2]]
        assert [done.code for done in evaluated] == [0, 0]
        lines = [[line.split() for line in done.out.splitlines()] for done in evaluated]
        assert not any("oracle" in line for line in lines[0])
        shown = [line[line.index("oracle") + 1] for line in lines[1] if "oracle" in line]
        last = [r["average_return"] for r in records(folder / "oracle-seed1", "evaluation") if r["meta_update"] == 2]
        assert [float(word.replace("−", "-")) for word in shown] == pytest.approx(last, abs=0.051)


class TestContinuing:
    def test_a_finished_comparison_trains_nothing(self, compared, copy, monkeypatch):
        folder = copy()
        before = files(folder)
        monkeypatch.setattr("tesp.training.loop.one_meta_update", never)
        for name in ("evaluate", "evaluate_tasks"):
            monkeypatch.setattr(Evaluator, name, never)
        assert compare(folder).code == 0
        after = files(folder)
        assert before.items() <= after.items()
        assert {name for name in after.keys() - before.keys() if "/tensorboard/" not in name} == WRITTEN
        for name in WRITTEN - {"learning_curves.png", "by_episodes.png", "score_profiles.png"}:
            assert (folder / name).read_bytes() == (compared / name).read_bytes()

    def test_an_interrupted_comparison_is_continued(self, compared, copy, monkeypatch):
        """In the second run: the first is finished, two others have not begun."""
        folder = copy(without=["adapt-sv-seed1", "maml-seed0", "oracle-seed1"])
        one_meta_update = loop.one_meta_update

        def interrupted(training, state, simulation):
            if state.meta_update == 1:
                raise KeyboardInterrupt
            return one_meta_update(training, state, simulation)

        with monkeypatch.context() as patch:
            patch.setattr("tesp.training.loop.one_meta_update", interrupted)
            assert compare(folder).code == 130
        assert [record["meta_update"] for record in records(folder / "adapt-sv-seed1", "train")] == [1]
        assert not (folder / "maml-seed0").exists()
        assert not WRITTEN & entries(folder)
        assert compare(folder).code == 0
        assert entries(folder) == WRITTEN | RUNS
        for name in ("adapt-sv-seed1", "maml-seed0", "oracle-seed1"):
            assert_same_run(folder / name, compared / name)
        assert (folder / "comparison.csv").read_bytes() == (compared / "comparison.csv").read_bytes()

    def test_other_options_with_the_same_folder_are_refused(self, copy):
        """Even if they fit every run that would have been trained before."""
        folder = copy(without=[f"{method}-seed{seed}" for method in ("adapt-sv", "maml") for seed in (0, 1)])
        before = files(folder)
        for other in ({"epochs": 3}, {"meta_updates": 3}, {"spacing": 0.01}):
            refused = compare(folder, **other)
            assert f"{folder / 'oracle-seed0'} was made with other options than these" in refused.sentence()
        assert files(folder) == before


def test_a_comparison_grows_and_forgets_nothing(copy):
    folder = copy(without=["adapt-sv-seed0", "adapt-sv-seed1"])
    for algorithms, seeds in ((("maml",), (0,)), (("adapt-sv",), (1,))):
        assert compare(folder, algorithms=algorithms, seeds=seeds).code == 0
    counts = {row["method"]: row["seeds"] for row in rows_of(folder)}
    assert counts == {"standing still": "2", "oracle": "2", "maml": "2", "adapt-sv": "1"}


class TestNumbersThatGoWrong:
    def test_a_run_is_left_out_and_the_others_go_on(self, compared, copy, monkeypatch):
        folder = copy(without=["adapt-sv-seed0", "maml-seed1"])
        going_wrong(monkeypatch, ("adapt-sv", 0))
        finished = compare(folder)
        assert finished.code == 1
        assert "1 run(s) left out: adapt-sv-seed0: policy loss became NaN" in finished.line()
        assert finished.out.count("left out of the comparison: ") == 1
        assert "policy loss" in finished.out
        said = (folder / "comparison.md").read_text(encoding="utf-8")
        assert "**Left out:** adapt-sv-seed0: policy loss became NaN" in said
        assert "**Not all methods have the same seeds**" in said
        assert {(row["method"], row["seeds"]) for row in rows_of(folder)} == {
            ("standing still", "2"),
            ("oracle", "2"),
            ("adapt-sv", "1"),
            ("maml", "2"),
        }
        assert_same_run(folder / "maml-seed1", compared / "maml-seed1")

    def test_all_of_them(self, tmp_path, monkeypatch):
        going_wrong(monkeypatch, *((method, 0) for method in ("oracle", "adapt-sv", "maml")))
        finished = compare(tmp_path / "point", seeds=(0,))
        assert finished.code == 1
        assert "policy loss" in finished.line()
        assert finished.out.count("left out of the comparison: ") == 3
        assert not WRITTEN & entries(tmp_path / "point")
