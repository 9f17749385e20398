"""What a run leaves behind, and that nothing but its configuration decides about it."""

import json

import numpy as np
import pytest

import tesp
from helpers.running import (
    TINY,
    any_parameter_differs,
    as_json,
    assert_same_run,
    checkpoint_folders,
    files,
    records,
    rewrite_json,
    shared_learner,
    state,
    timeless,
    tiny_config,
)
from tesp import runs
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS

IDENTITY = {"kind", "family", "algorithm", "seed"}
PROGRESS = {"meta_update", "environment_steps", "wall_seconds"}
EPISODES = {"average_return", "success_rate", "final_distance", "episode_length", "unhealthy_rate"}
SAMPLE = EPISODES | {"average_return_std", "tasks", "episodes_per_task"}
REFERENCE = IDENTITY | SAMPLE | {"reference", "task_set"}
EVALUATION = IDENTITY | PROGRESS | SAMPLE | {"task_set", "fast_update", "dynamics_noise"}
EVALUATION |= {"average_return_quantiles"}
TRAIN = (
    IDENTITY
    | PROGRESS
    | EPISODES
    | {
        "round_returns",
        "policy_loss",
        "embedding_mean_square",
        "early_loss",
        "mean_kl",
        "epoch_kept",
        "epochs_run",
        "admissible_share",
        "gradient_norm_adapted",
        "gradient_norm_rates",
        "gradient_norm_shared",
        "gradient_norm_inner",
        "embedding_norm",
        "embedding_rms",
        "mean_absolute_rate",
        "share_of_negative_rates",
        "log_std",
        "step_size",
        "step_size_found",
        "steps_sampled",
        "seconds",
        "seconds_cpu",
        "seconds_physics",
        "seconds_acting",
        "seconds_recording",
        "seconds_fast_updates",
        "seconds_meta_update",
    }
)
K = 3
ROUNDS = K + 2


@pytest.fixture
def shared(monkeypatch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)


class TestWhatARunLeaves:
    def test_files(self, reference):
        assert {path.name for path in reference.path.iterdir()} - {".lock"} == {
            "config.json",
            "tasks.json",
            "interface.json",
            "versions.json",
            "records.jsonl",
            "tensorboard",
            "checkpoints",
            "figures",
        }
        assert {p.name for p in (reference.path / "figures").iterdir()} == {"learning_curves.png", "fast_updates.png"}
        stored = json.loads((reference.path / "config.json").read_text())
        assert stored == {"run": stored["run"], **as_json(tiny_config())}
        assert not [path.name for path in reference.path.parent.iterdir() if path.name.startswith(".")]

    def test_tasks_are_those_of_the_family_and_seed(self, reference):
        stored = json.loads((reference.path / "tasks.json").read_text())
        drawn = tesp.make_family("point", tasks_per_set=TINY["tasks_per_set"]).sample_task_sets(0)
        assert stored == {
            "run": stored["run"],
            **{name: task_set.tasks.tolist() for name, task_set in drawn.items()},
        }

    def test_the_last_two_and_the_best_checkpoint(self, reference):
        returns = {
            r["meta_update"]: r["average_return"]
            for r in records(reference.path, "evaluation")
            if r["task_set"] == "in_distribution" and r["fast_update"] == K
        }
        best = max(returns, key=returns.get)
        assert checkpoint_folders(reference.path) == sorted({"3", "4", str(best)})
        assert state(reference.path, "best").meta_update == best
        assert state(reference.path, "latest").meta_update == TINY["meta_updates"]

    def test_kinds_and_their_order(self, reference):
        kinds = [record["kind"] for record in records(reference.path)]
        evaluation = ["evaluation"] * 3 * (K + 1)
        assert kinds == ["reference"] * 3 + evaluation + (["train"] * 2 + evaluation) * 2

    def test_evaluation_records(self, reference):
        stored = records(reference.path, "evaluation")
        for record in stored:
            first = {"warm_up_return"} if record["fast_update"] == 0 else set()
            assert set(record) == EVALUATION | first
            assert (record["family"], record["algorithm"], record["seed"]) == ("point", "tesp", 0)
            assert (record["tasks"], record["episodes_per_task"], record["dynamics_noise"]) == (
                TINY["tasks_per_set"],
                3,
                0.0,
            )
        places = [(r["meta_update"], r["task_set"], r["fast_update"]) for r in stored]
        assert places == [(u, name, k) for u in (0, 2, 4) for name in TASK_SETS for k in range(K + 1)]

    def test_train_records(self, reference):
        stored = records(reference.path, "train")
        assert [record["meta_update"] for record in stored] == [1, 2, 3, 4]
        steps = 0
        for record in stored:
            assert set(record) == TRAIN
            assert len(record["round_returns"]) == ROUNDS
            assert record["round_returns"][-1] == pytest.approx(record["average_return"])
            assert 0 <= record["epoch_kept"] <= record["epochs_run"] == tiny_config().method.meta.steps
            assert 0 <= record["admissible_share"] <= 1
            steps += record["steps_sampled"]
            assert record["environment_steps"] == steps
            assert 0 < record["steps_sampled"] <= TINY["tasks_per_update"] * 3 * TINY["horizon"] * ROUNDS
            parts = [value for name, value in record.items() if name.startswith("seconds_")]
            parts.remove(record["seconds_cpu"])
            assert 0 < sum(parts) <= record["seconds"] + 1e-3
            assert record["mean_absolute_rate"] == pytest.approx(tiny_config().method.fast.initial_rate, rel=0.9)
        wall = [record["wall_seconds"] for record in stored]
        assert wall == sorted(wall)

    def test_standing_still_is_recorded_once_for_every_set(self, reference):
        stored = records(reference.path, "reference")
        tasks = json.loads((reference.path / "tasks.json").read_text())
        assert [record["task_set"] for record in stored] == list(TASK_SETS)
        for record in stored:
            assert set(record) == REFERENCE
            assert record["reference"] == "stand_still"
            distance = np.linalg.norm(tasks[record["task_set"]], axis=1)
            assert record["average_return"] == pytest.approx(-TINY["horizon"] * distance.mean())

    def test_nothing_is_compiled_after_the_first_meta_update(self, reference):
        done = next(i for i, e in enumerate(reference.events) if e != "compiled" and e["kind"] == "train")
        assert reference.events[:done].count("compiled") > 10
        assert reference.events[done:].count("compiled") == 0


@pytest.mark.usefixtures("shared")
class TestDeterminism:
    def test_the_same_seed_again(self, reference, tmp_path):
        trained = tesp.train(tiny_config(), tmp_path / "run")
        assert_same_run(trained.folder.path, reference.path)

    def test_another_seed(self, reference, tmp_path):
        trained = tesp.train(tiny_config(seed=1, meta_updates=1), tmp_path / "run")
        other, same = (
            {r["task_set"]: r["average_return"] for r in records(path, "evaluation") if r["meta_update"] == 0}
            for path in (trained.folder.path, reference.path)
        )
        assert all(other[name] != same[name] for name in TASK_SETS)
        assert any_parameter_differs(trained.parameters, state(reference.path).method.parameters)

    def test_threads_change_nothing(self, tmp_path):
        sizes = {"tasks_per_set": 2, "tasks_per_update": 2, "horizon": 3, "fast_updates": 1, "epochs": 2}
        tiny = {**sizes, "meta_updates": 1, "evaluate_every": 1}
        paths = []
        for threads in (1, 2):
            config = tiny_config("reacher2", threads=threads, **tiny)
            paths.append(tesp.train(config, tmp_path / str(threads)).folder.path)
        assert timeless(records(paths[0])) == timeless(records(paths[1]))
        assert len(records(paths[0], "train")) == 1


@pytest.mark.usefixtures("shared")
class TestResume:
    def test_a_finished_run_stays_as_it_is(self, run, reference):
        tesp.resume(run)
        assert (run / "records.jsonl").read_bytes() == (reference.path / "records.jsonl").read_bytes()
        assert_same_run(run, reference.path)

    def test_not_while_another_process_trains_it(self, run):
        before = files(run)
        with RunFolder.open(run).locked(), pytest.raises(tesp.RunFolderError, match="Another process is training"):
            tesp.resume(run)
        assert files(run) == before
        tesp.resume(run)

    def test_the_end_may_be_moved(self, run, tmp_path):
        """A longer schedule, written into the stored configuration, continues where the run ended."""
        config = tiny_config(meta_updates=5)
        rewrite_json(run / "config.json", **as_json(config))
        tesp.resume(run)
        straight = tesp.train(config, tmp_path / "straight").folder.path
        assert timeless(records(run, "train")) == timeless(records(straight, "train"))

    def test_evaluation_tasks_are_the_first_of_every_set(self, tmp_path):
        trained = tesp.train(tiny_config(meta_updates=0, evaluation_tasks=2), tmp_path / "run")
        assert {record["tasks"] for record in records(trained.folder.path)} == {2}
        assert {row["tasks"] for row in trained.evaluate()} == {TINY["tasks_per_set"]}


@pytest.mark.usefixtures("shared")
class TestLoading:
    @pytest.mark.parametrize(("which", "meta_update"), [("latest", 4), ("3", 3), (4, 4)])
    def test_checkpoints(self, reference, which, meta_update):
        assert runs.load_run(reference.path, which).state.meta_update == meta_update

    def test_one_that_is_neither_a_name_nor_a_number(self, reference):
        with pytest.raises(tesp.ConfigurationError, match="There is no checkpoint 'newest'; give best, latest or"):
            runs.load_run(reference.path, "newest")

    def test_a_run_without_a_checkpoint(self, tmp_path):
        config = tiny_config()
        sets = tesp.building.build_family(config).sample_task_sets(0)
        RunFolder.create(tmp_path / "run", tesp.config.as_dict(config), sets)
        with pytest.raises(tesp.RunFolderError, match=r"no checkpoint yet; `tesp resume .*run` starts it"):
            runs.load_run(tmp_path / "run")
        assert not (tmp_path / "run" / "checkpoints").exists()

    def test_default_folder(self):
        assert str(runs.default_output(tiny_config(seed=7))) == "runs/point-tesp-quick-seed7"
