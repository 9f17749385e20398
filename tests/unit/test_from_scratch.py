"""Training from scratch beside adapting: the environments, the plan, how it goes on, and what records say."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest

import tesp
from helpers.documents import ROOT
from helpers.modules import loaded
from tesp.errors import RunFolderError, TespError

FOLDER = ROOT / "experiments" / "from_scratch"
RECORDS = ROOT / "experiments" / "records" / "from_scratch"
PAGE = ROOT / "docs" / "from-scratch.md"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str):
        # Another experiment has modules that are called the same.
        shared = name in ("analysis", "run")
        return loaded(FOLDER / f"{name}.py", f"from_scratch_{name}") if shared else importlib.import_module(name)

    return load


@pytest.fixture
def run(load):
    return load("run")


@pytest.fixture
def reaching(load):
    return load("reaching")


def point(horizon: int = 4):
    return tesp.make_family("point", horizon=horizon)


class TestTheEnvironment:
    @pytest.fixture(autouse=True)
    def _installed(self):
        pytest.importorskip("stable_baselines3")

    def test_copies_are_what_the_familys_environment_is(self, load):
        """Observations, rewards and ends of every copy, over arrivals and truncations."""
        goal, family = np.array([0.25, 0.0]), point()
        copies, single = load("single_task").SingleTask(family, goal, 2), family.environment(goal)
        generator = np.random.default_rng(0)
        seen, _ = single.reset()
        np.testing.assert_array_equal(copies.reset()[0], seen.astype(np.float32))
        ends = []
        for _ in range(40):
            actions = generator.uniform(-0.2, 1.2, (2, 2)).astype(np.float32)
            actions[0] = (generator.uniform(0.2, 1.0), 0.0)
            rows, rewards, over, infos = copies.step(actions)
            seen, reward, terminated, truncated, _ = single.step(actions[0])
            assert rewards[0] == np.float32(reward)
            assert over[0] == (terminated or truncated)
            if over[0]:
                np.testing.assert_array_equal(infos[0]["terminal_observation"], seen.astype(np.float32))
                assert infos[0]["TimeLimit.truncated"] == (truncated and not terminated)
                ends.append(terminated)
                seen, _ = single.reset()
            np.testing.assert_array_equal(rows[0], seen.astype(np.float32))
        assert {True, False} == set(map(bool, ends))
        copies.close()

    def test_a_return_is_the_sum_of_the_distance_reward(self, load):
        goal = (0.9, 0.0)
        total = load("single_task").return_of(lambda _: np.ones(2) * (1.0, 0.0), point().environment(goal))
        assert total == pytest.approx(-(0.8 + 0.7 + 0.6 + 0.5))

    @pytest.mark.parametrize(("algorithm", "copies"), [("ppo", 2), ("sac", 2)])
    @pytest.mark.parametrize("reachable", [True, False])
    def test_training_ends_at_its_target_or_its_budget(self, load, monkeypatch, algorithm, copies, reachable):
        baselines, jobs = load("baselines"), load("jobs")
        options = {"ppo": {"n_steps": 8, "batch_size": 8, "n_epochs": 1}, "sac": {"learning_starts": 4}}[algorithm]
        setting = jobs.Setting(copies, options, normalise=True, units=(4,))
        monkeypatch.setitem(jobs.SETTINGS[algorithm], "tiny", setting)
        monkeypatch.setattr(baselines.Judge.__init__, "__defaults__", (16,))
        job = jobs.Job(jobs.Goal("point", "in_distribution", 0), algorithm, "tiny", 0, 64)
        done = baselines.train(job, point(), np.array([0.5, 0.5]), -100.0 if reachable else 0.0)
        assert done["reached"] == reachable
        assert done["steps"] == ([16, 32] if reachable else [16, 32, 48, 64])
        assert len(done["returns"]) == len(done["cpu_seconds"]) == len(done["seconds"]) == len(done["steps"])
        again = baselines.train(job, point(), np.array([0.5, 0.5]), -100.0 if reachable else 0.0)
        assert again["returns"] == done["returns"]

    def test_every_setting_makes_a_model(self, load):
        baselines, jobs = load("baselines"), load("jobs")
        for algorithm, settings in jobs.SETTINGS.items():
            for setting in settings.values():
                model = baselines.made(algorithm, setting, point(), np.array([0.5, 0.5]), 0)
                assert model.n_envs == setting.copies
                assert (model.get_vec_normalize_env() is not None) == setting.normalise


def test_the_plan_is_whole_and_balanced_from_the_beginning(run):
    planned = run.plan(run.Arguments())
    assert len(planned) == len({job.name for job in planned}) == 2 * 10 * 2 * 2
    assert [job.goal.family for job in planned] == ["reacher2"] * 40 + ["wheeled"] * 40
    for end in range(4, 41, 4):
        begun = [(job.goal.task_set, job.algorithm) for job in planned[:end]]
        assert {begun.count(pair) for pair in begun} == {end // 4}
    assert all(job.goal.tasks_seed is None for job in planned)


def test_tuning_has_goals_of_its_own(run, load):
    jobs, planned = load("jobs"), run.plan(run.Arguments(tuning=True))
    assert len(planned) == len({job.name for job in planned})
    for pair, finalists in jobs.FINALISTS.items():
        own = [job for job in planned if (job.goal.family, job.algorithm) == pair]
        first, further = len(jobs.TUNING_GOALS[pair[0]]), len(jobs.FURTHER_GOALS[pair[0]])
        assert len(own) == first * len(jobs.SETTINGS[pair[1]]) + further * 2
        assert {job.setting for job in own[-further * 2 :]} == set(finalists)
    assert all(10 <= job.goal.tasks_seed < 20 for job in planned)
    assert set(jobs.CHOSEN) == {(family, algorithm) for family in jobs.FAMILIES for algorithm in jobs.ALGORITHMS}
    assert all(setting in jobs.SETTINGS[algorithm] for (_, algorithm), setting in jobs.CHOSEN.items())


def test_finished_trainings_are_skipped(run, monkeypatch, tmp_path, capsys):
    arguments = run.Arguments(output=tmp_path, goals=(0,), families=("reacher2",), learners=("tesp/reacher2",))
    planned = run.plan(arguments)
    run.write_record(planned[0].name, tmp_path, {"kind": "job"})
    worked = []

    def work(job, learner, folder):
        if len(worked) == 2:
            raise KeyboardInterrupt
        run.write_record(job.name, folder, {"kind": "job"})
        worked.append((job, learner))
        return "reached"

    monkeypatch.setattr(run, "work", work)
    monkeypatch.setattr(run, "find_spec", lambda _: True)
    monkeypatch.setattr(run, "single_threaded", lambda: None)
    with pytest.raises(KeyboardInterrupt):
        run.main(arguments)
    assert worked == [(job, "tesp/reacher2") for job in planned[1:3]]
    assert run.main(replace(arguments, dry_run=True)) == 0
    shown = capsys.readouterr().out
    assert "1 of 4 trainings are finished" in shown
    assert shown.endswith(f"3 of 4 trainings are finished\n{planned[3].name}\n")
    assert not list(tmp_path.glob(".*")), "nothing half-written"


def test_a_record_of_another_learner_is_refused(run, load, monkeypatch, tmp_path):
    class Learner:
        digest = "one"

        def target(self, goal):
            return {"learner": self.digest}

    goal = load("jobs").Goal("reacher2", "in_distribution", 0)
    monkeypatch.setattr(run, "adapting", lambda _: Learner())
    assert run.target_of(goal, "tesp/reacher2", tmp_path)["learner"] == "one"
    monkeypatch.setattr(Learner, "digest", "other")
    with pytest.raises(RunFolderError, match=r"are of another learner than tesp/other; give another --output"):
        run.target_of(goal, "tesp/other", tmp_path)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"families": ("reacher2",)}, "2 --learners for 1 --families"),
        ({"workers": 0}, "workers = 0 is not possible"),
    ],
)
def test_arguments_that_are_not_possible(run, tmp_path, options, said):
    with pytest.raises(TespError, match=said):
        run.main(run.Arguments(output=tmp_path / "new", **options))
    assert not (tmp_path / "new").exists()


def test_without_stable_baselines_it_says_what_to_install(run, monkeypatch, tmp_path):
    monkeypatch.setattr(run, "find_spec", lambda _: None)
    with pytest.raises(TespError, match=r"pip install 'tesp\[sb3\]'"):
        run.main(run.Arguments(output=tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("good", "found"), [([], None), ([1], None), ([0, 1, 1], 1), ([1, 0, 1], None), ([1, 1, 0, 1, 1], 0)]
)
def test_two_in_a_row(reaching, good, found):
    assert reaching.first_in_a_row(np.array(good, bool)) == found


def made_trial(reaching, returns, least=-10.0, adapted=500, **job):
    steps = [1000 * (i + 1) for i in range(len(returns))]
    common = {"family": "reacher2", "task_set": "in_distribution", "tasks_seed": None, "index": 0, "learner": "a"}
    whole = {"algorithm": "sac", "setting": "small", "seed": 0, "budget": steps[-1]}
    record = {"kind": "job", **common, **whole, **job, "steps": steps, "returns": returns, "cpu_seconds": steps}
    own = {"rounds": [[-30.0, least]], "deterministic": [least], "steps": [[100, adapted]], "cpu_seconds": [0.1]}
    return reaching.Trial(record, {"kind": "target", **common, **own, "episodes": 4, "fewer": {}})


def test_steps_to_a_target(reaching):
    trial = made_trial(reaching, [-50.0, -9.0, -11.0, -10.0, -9.0])
    assert trial.steps_to(-10.0) == 4000
    assert trial.steps_to(-60.0) == 1000
    assert trial.steps_to(-9.0) == np.inf
    assert reaching.ratios([trial]).told(1) == "8.0 [8.0, 8.0]"
    first = reaching.ratios(
        [trial], lambda target: reaching.sampled(target, 0), lambda target: reaching.adapted_after(target, 0)
    )
    assert first.told() == "20 [20, 20]"


def test_what_was_not_reached_is_a_bound(reaching):
    reached, never = [-50.0, -9.0, -9.0], [-50.0] * 3
    members = [made_trial(reaching, returns) for returns in (reached, never, never)]
    assert reaching.share(members) == pytest.approx(1 / 3)
    quantity = reaching.steps(members)
    assert quantity.told() == "> 3,000 [2,000, > 3,000]"
    assert reaching.steps(members[:1]).told() == "2,000 [2,000, 2,000]"


def test_intervals_hold_the_median_and_shrink(reaching):
    generator = np.random.default_rng(0)
    widths = []
    for count in (10, 200):
        values = generator.lognormal(size=count)
        quantity = reaching.median(values, values)
        assert quantity.low <= quantity.value == np.median(values) <= quantity.high
        widths.append(quantity.high - quantity.low)
    assert widths[1] < widths[0] / 2


def test_meta_training_is_paid_by_what_it_saves(load, reaching):
    analysis = load("analysis")
    needed = reaching.Quantity(1500.0, 0, 0, (False,) * 3)
    assert analysis._tasks(1e6, needed, 500.0) == "1,000"
    assert analysis._tasks(1e6, replace(needed, open=(True,) * 3), 500.0) == "< 1,000"
    assert analysis._tasks(1e6, needed, 1500.0) == "never"


def test_archives_and_folders_hold_the_same(load, reaching, tmp_path):
    trial = made_trial(reaching, [-9.0, -9.0])
    for name, record in (("a", trial.job), ("b", trial.target)):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(record) + "\n")
    archive = load("archive")
    path = archive.main(archive.Arguments(tmp_path, tmp_path / "kept" / "all.jsonl.gz"))
    assert reaching.trials(reaching.read(path)) == reaching.trials(reaching.read(tmp_path)) == [trial]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(RunFolderError, match="cannot be read"):
        reaching.read(path)
    with pytest.raises(RunFolderError, match="no adaptation of the same learner"):
        reaching.trials([trial.job, {**trial.target, "learner": "b"}])


def test_the_page_holds_what_the_records_say(load, reaching):
    analysis = load("analysis")
    defaults = analysis.Arguments()
    made = analysis.parts(*(reaching.trials(reaching.read(path)) for path in (defaults.records, defaults.tuning)))
    text = PAGE.read_text(encoding="utf-8")
    assert {found[2] for found in analysis.PART.finditer(text)} == set(made)
    assert analysis.filled(text, made) == text, "python experiments/from_scratch/analysis.py writes it anew"


def test_settings_are_those_that_tuning_found_best(load, reaching):
    """Of all settings the two best on the first goals, and of these two the one that is best on all, or as good."""
    analysis, jobs = load("analysis"), load("jobs")
    scores: dict[tuple[str, str], tuple[dict[str, float], dict[str, float]]] = {}
    for (*pair, setting), members in analysis.by_setting(
        reaching.trials(reaching.read(analysis.Arguments().tuning))
    ).items():
        first, further = analysis.stages(*pair, setting, members)
        found = scores.setdefault(tuple(pair), ({}, {}))
        found[0][setting] = analysis.score(first)
        if further:
            found[1][setting] = analysis.score(further)
    for pair, (first, further) in scores.items():
        assert set(first) == set(jobs.SETTINGS[pair[1]])
        assert set(sorted(first, key=first.__getitem__)[:2]) == set(jobs.FINALISTS[pair])
        judged = further if set(further) == set(jobs.FINALISTS[pair]) else first
        assert judged[jobs.CHOSEN[pair]] == min(judged.values())


def test_an_empty_folder_is_refused(reaching, tmp_path):
    with pytest.raises(RunFolderError, match=r"holds no records; run\.py writes them"):
        reaching.read(tmp_path)
