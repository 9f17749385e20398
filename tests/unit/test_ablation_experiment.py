"""The ablation's plan, how it is continued, and what its analysis makes of records."""

import gzip
import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

import tesp
from helpers.stored import evaluation
from tesp.config import to_json
from tesp.task_sets import TASK_SETS

FOLDER = Path(__file__).parents[2] / "experiments" / "ablation"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


@pytest.fixture
def sweep(load):
    return load("sweep")


@pytest.fixture
def analysis(load):
    return load("analysis")


def test_the_plan_is_whole_and_has_no_run_twice(sweep):
    planned = sweep.plan(sweep.Arguments())
    assert len(planned) == (9 + 4 + 5) * 3 * 3
    assert len({run.name for run in planned}) == len(planned)
    assert len({to_json(run.config) for run in planned}) == len(planned)
    assert planned == sweep.plan(sweep.Arguments())
    assert planned == sweep.plan(sweep.Arguments(methods=("tesp", "meta-sgd", "adapt-sv", "tesp")))


def test_the_plan_begins_with_what_matters_most(sweep):
    planned = sweep.plan(sweep.Arguments())
    names = [run.name for run in planned]
    assert names[:4] == [f"{f}-tesp-ABC-seed10" for f in sweep.FAMILIES] + ["point-tesp-none-seed10"]
    assert [run.seed for run in planned] == sorted(run.seed for run in planned)
    first = [(run.method, run.variant) for run in planned[: len(planned) // 3 : 3]]
    assert first[:6] == [
        *(("tesp", "ABC"), ("tesp", "none"), ("meta-sgd", "AB"), ("meta-sgd", "none")),
        *(("adapt-sv", "ABC"), ("adapt-sv", "none")),
    ]
    assert [len(variant) for _, variant in first[6:14]] == [1] * 8
    assert first[14:] == [("tesp", variant) for variant in ("AB", "AC", "BC", "ABC-no-penalty")]


def test_options_choose_a_part_of_the_plan(sweep):
    arguments = sweep.Arguments(families=("point",), variants=("AB", "C"), seeds=(5,), meta_updates=7)
    planned = sweep.plan(arguments)
    assert [run.name for run in planned] == [
        "point-meta-sgd-AB-seed5",
        "point-tesp-C-seed5",
        "point-adapt-sv-C-seed5",
        "point-tesp-AB-seed5",
    ]
    schedule = planned[0].config.schedule
    assert (schedule.meta_updates, schedule.evaluation_tasks, schedule.threads) == (7, 20, 1)


def test_every_variant_is_found_again_in_its_configuration(sweep, load):
    for run in sweep.plan(sweep.Arguments(families=("reacher2",), seeds=(0,))):
        assert load("variants").variant_of(json.loads(to_json(run.config))) == run.variant
        assert run.config.task.engine == "closed-form"
    other = tesp.preset_config("point", "quick", early_loss_weight=0.7)
    assert load("variants").variant_of(json.loads(to_json(other))) is None


def test_the_command_trains_what_is_planned(sweep, monkeypatch, tmp_path):
    trained = []
    monkeypatch.setattr(
        "tesp.runs.train", lambda config, folder, _console, **_: trained.append((config, folder)) or 1 / 0
    )
    for run in sweep.plan(sweep.Arguments(families=("wheeled",), variants=("none", "ABC-no-penalty"), seeds=(3,)))[:2]:
        with pytest.raises(ZeroDivisionError):
            importlib.import_module("tesp.cli").main(run.training(tmp_path / run.name))
        assert trained.pop() == (run.config, tmp_path / run.name)


def records_of(config, ends, seconds, returns, **other):
    """Records of meta-updates with some seconds each, and evaluations that return what a function says."""
    identity = {"family": config.family, "algorithm": config.algorithm, "seed": config.seed}
    rows = [{"kind": "train", **identity, "meta_update": m, **seconds(m)} for m in range(1, max(ends) + 1)]
    unused = ("average_return_std", "success_rate", "final_distance", "episode_length", "environment_steps")
    for m in ends:
        for task_set in TASK_SETS:
            for k in range(config.method.fast.fast_updates + 1):
                cell = {"meta_update": m, "task_set": task_set, "fast_update": k}
                row = {**cell, "average_return": returns(m, task_set, k), "wall_seconds": 0.0, "tasks": 20}
                rows.append({"kind": "evaluation", **identity, **dict.fromkeys(unused, 0.0), **row, **other})
    return rows


def write_run(folder, config, rows):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(to_json(config))
    (folder / "tasks.json").write_text("{}")
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


class Runner:
    """In the place of processes: makes folders, and stops, fails or finishes as told."""

    def __init__(self, planned, output):
        self.planned = {run.name: run for run in planned}
        self.calls, self.ended, self.environments = [], {}, []
        self.output = output

    def __call__(self, words, environment, _log):
        folder = Path(words[-1])
        self.calls.append((words[0], folder.name))
        self.environments.append(environment)
        if words[0] == "train":
            config = self.planned[folder.name].config
            write_run(folder, config, records_of(config, (0,), lambda _: {}, lambda *_: -1.0))
        return self.ended.get((words[0], folder.name), 0)

    def finished(self, folder):
        return ("resume", folder.name) in self.calls or ("train", folder.name) not in self.ended


@pytest.fixture
def begun(sweep, tmp_path, monkeypatch):
    planned = sweep.plan(sweep.Arguments(families=("point",), methods=("meta-sgd",), seeds=(0,), meta_updates=4))
    runner = Runner(planned, tmp_path)
    monkeypatch.setattr("tesp.runs.is_finished", runner.finished)
    return planned, runner, lambda: sweep.work(planned, tmp_path, tmp_path / "records", 1, runner)


def test_interrupted_runs_are_continued_and_finished_ones_skipped(begun, tmp_path):
    planned, runner, work = begun
    names = [run.name for run in planned]
    runner.ended["train", names[1]] = 130
    assert list(work()) == [names[1]]
    assert runner.calls == [("train", name) for name in names]
    assert work() == {}
    assert runner.calls[len(names) :] == [("resume", names[1])]
    assert {path.name for path in (tmp_path / "records").iterdir()} == {f"{name}.json.gz" for name in names}
    environment = runner.environments[0]
    assert environment["TESP_CPU_DEVICES"] == environment["OMP_NUM_THREADS"] == "1"
    assert environment["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "compiled")


def test_a_run_with_other_options_is_refused_and_the_rest_goes_on(begun, tmp_path):
    planned, runner, work = begun
    write_run(tmp_path / planned[0].name, tesp.preset_config("point", "quick", "meta-sgd"), [])
    wrong = work()
    assert list(wrong) == [planned[0].name]
    assert "other options" in wrong[planned[0].name]
    assert runner.calls == [("train", run.name) for run in planned[1:]]


@pytest.fixture
def invented(sweep, load, tmp_path):
    """Store runs of 40 meta-updates of the point, one for each variant, seed, seconds a meta-update and return."""

    offsets = {"train": 0, "in_distribution": 1, "out_of_distribution": 2}

    def store(*given, columns=("seconds_cpu", "seconds"), ends=(0, 10, 20, 30, 40), length=40):
        for variant, seed, cost, best in given:
            arguments = sweep.Arguments(
                ("point",), ("tesp",), (variant,), (seed,), meta_updates=length, evaluate_every=10, output=tmp_path
            )
            run = sweep.plan(arguments)[0]

            def seconds(m, cost=cost):
                # The first one is compiled in, and the clock on the wall goes twice as fast.
                cpu = 50 * cost if m == 1 else cost
                return {"seconds_cpu": cpu, "seconds": 2 * cpu}

            def returns(m, task_set, k, best=best):
                return best - (40 - m) - 10 * offsets[task_set] - 100 * (3 - k)

            rows = records_of(run.config, ends, lambda m: {n: seconds(m)[n] for n in columns}, returns)
            write_run(tmp_path / "runs" / run.name, run.config, rows)
            load("stored").store(tmp_path / "runs" / run.name, tmp_path / "records")
        return load("stored").load_all(tmp_path / "records")

    return store


def rows_of(table, first):
    """Return the cells of a table's row."""
    found = [line for line in table.splitlines() if line.startswith(f"| {first} |")]
    assert len(found) == 1
    return [cell.strip() for cell in found[0].strip("|").split("|")][1:]


def test_equal_meta_updates(analysis, invented):
    runs = invented(("none", 10, 1.0, -20.0), ("none", 11, 1.0, -30.0), ("ABC", 10, 2.0, -5.0))
    table = analysis.at_equal_updates(analysis.by_variant(runs))
    assert "At 40 meta-updates" in table
    # The last quarter of 40, from 30 on and 30 not in it, is the last evaluation alone.
    means = ["−25.0 [−30.0, −20.0]", "−35.0 [−40.0, −30.0]", "−45.0 [−50.0, −40.0]"]
    assert rows_of(table, "none") == ["2", *means, "−325.0 [−330.0, −320.0]", *means]
    assert rows_of(table, "ABC")[:5] == ["1", "−5.0", "−15.0", "−25.0", "−305.0"]
    late = analysis.late(runs[0], 20)
    assert late["train", 3] == -25.0


def test_equal_seconds(analysis, invented):
    runs = invented(("none", 10, 1.0, -20.0), ("none", 11, 1.25, -30.0), ("A", 10, 1.26, -20.0), ("ABC", 10, 2.0, -5.0))
    variants = analysis.by_variant(runs)
    # 40 meta-updates of 1.25 s, compilation left out.
    assert analysis.common_time(variants) == pytest.approx(50)
    table = analysis.at_equal_seconds(variants)
    assert "At 50 CPU seconds" in table
    assert rows_of(table, "none")[0] == "2"
    assert rows_of(table, "none")[4:] == ["−325.0 [−330.0, −320.0]", "40 [40, 40]", "1.12 [1.00, 1.25]"]
    # A takes 50.4 s, which is the same but for noise; of ABC the evaluation at 20 is the last within 50 s.
    assert rows_of(table, "A")[4:] == ["−320.0", "40", "1.26"]
    assert rows_of(table, "ABC") == ["1", "−25.0", "−35.0", "−45.0", "−325.0", "20", "2.00"]


def test_gains_are_of_the_same_seed(analysis, invented):
    runs = invented(("none", 10, 1.0, -20.0), ("A", 10, 1.0, -12.0), ("none", 11, 1.0, -30.0), ("A", 12, 1.0, 0.0))
    table = analysis.worth(analysis.by_variant(runs))
    assert rows_of(table, "A alone (A − none)") == ["1", "8.0", "8.0", "8.0"]
    assert "B alone" not in table
    assert "Not all rows have the same seeds" in analysis.report(runs)


def test_runs_of_other_options_are_told_apart(analysis, invented):
    runs = invented(("none", 10, 1.0, -20.0), ("A", 10, 1.0, -12.0), ("ABC-no-penalty", 10, 1.0, -12.0))
    assert "Not all runs have the same other options" not in analysis.report(runs)
    assert "A alone" in analysis.report(runs)
    alone = next(run for run in runs if run.variant == "A")
    rate, alone.others["learning_rate"] = alone.others["learning_rate"], 0.3
    report = analysis.report(runs)
    assert f"**Not all runs have the same other options**: `learning_rate` 0.3 or {rate}." in report
    assert "A alone" not in report


def test_runs_of_another_length_are_refused(invented):
    """Their step sizes are others at the same meta-update."""
    invented(("none", 10, 1.0, -20.0))
    with pytest.raises(tesp.RunFolderError, match=r"cannot be compared\. Train with one --meta-updates, or") as error:
        invented(("A", 10, 1.0, -12.0), length=100)
    assert {"point-tesp-A-seed10 with 100", "point-tesp-none-seed10 with 40"} == set(
        re.findall(r"point-[\w-]+ with \d+", str(error.value))
    )


def test_records_without_cpu_seconds_are_read_by_the_wall(analysis, invented):
    runs = invented(("none", 10, 1.0, -20.0), columns=("seconds",))
    assert analysis.total(runs[0]) == 80
    assert "wall-clock seconds stand in" in analysis.report(runs)


def test_unfinished_runs_are_left_out_unless_all_are(analysis, invented):
    begun = invented(("none", 10, 1.0, -20.0), ends=(0, 10))
    assert "At 10 meta-updates" in analysis.report(begun)
    assert "No run is finished yet" in analysis.report(begun)
    report = analysis.report(invented(("A", 10, 1.0, -20.0)))
    assert "Left out, for they are not finished: point-tesp-none-seed10." in report
    assert "At 40 meta-updates" in report


def test_stored_records_are_rounded_and_always_the_same(invented, load, tmp_path):
    run = invented(("none", 10, 1.0, -20.123456))[0]
    assert run.returns[40]["train", 3] == -20.123
    path = tmp_path / "records" / f"{run.name}.json.gz"
    before = path.read_bytes()
    load("stored").store(tmp_path / "runs" / run.name, tmp_path / "records")
    assert path.read_bytes() == before
    path.write_bytes(before[:-20])
    with pytest.raises(tesp.RunFolderError, match="damaged"):
        load("stored").load(path)


def test_tables_and_figure_are_written(analysis, invented, tmp_path):
    runs = invented(("none", 10, 1.0, -20.0), ("none", 11, 1.0, -30.0), ("ABC", 10, 2.0, -5.0))
    figure = analysis.plot(runs, analysis.clock, tmp_path / "ablation.png")
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    np.testing.assert_allclose(lines["none"].get_xdata(), [10, 20, 30, 40])
    np.testing.assert_allclose(lines["none"].get_ydata(), [-55, -45, -35, -25])
    np.testing.assert_allclose(lines["ABC"].get_xdata(), [20, 40, 60, 80])
    assert len(figure.axes) == 3
    assert (tmp_path / "ablation.png").stat().st_size > 0


class TestStepSizes:
    @pytest.fixture
    def step_sizes(self, load):
        return load("step_sizes")

    def test_the_plan(self, step_sizes, load, tmp_path):
        planned = step_sizes.plan(step_sizes.Arguments(seeds=(10,)))
        assert len(planned) == 2 * len(step_sizes.RULES)
        assert {load("variants").variant_of(json.loads(to_json(run.config))) for run in planned} == {"ABC", "AB"}
        configs = {run.name.split("-", 1)[1]: run.config.method.meta for run in planned if run.method == "tesp"}
        assert configs["tesp-first-2e-4-seed10"].learning_rate == 2e-4
        assert configs["tesp-constant-ceiling-seed10"].learning_rate_ceiling == "constant"
        assert configs["tesp-two-sided-seed10"] == configs["tesp-found-seed10"]
        children = step_sizes.WithRules()
        for rule, word in (("two-sided", "two-sided"), ("found", "-m")):
            command = children.command(["resume", "a b"], tmp_path / f"reacher2-tesp-{rule}-seed10.log")
            assert command[2 if rule == "two-sided" else 1] == word

    def test_the_two_sided_rule(self, step_sizes):
        settings = tesp.preset_config("point", "quick").method.meta
        bound = settings.kl_bound

        def after(last):
            return step_sizes.two_sided(settings, 1.0, 3e-3, np.array([0.0, bound / 9, last]))

        assert after(3 * bound) == after(np.nan) == pytest.approx(2e-3)
        assert after(bound) == 3e-3
        assert after(bound / 3) == pytest.approx(4.5e-3)

    def test_the_table(self, step_sizes, sweep, load, tmp_path):
        planned = step_sizes.plan(step_sizes.Arguments(families=("point",), methods=("tesp",), seeds=(1, 2)))
        for run in planned[:1] + planned[5:7]:
            rows = records_of(run.config, (0, 40), lambda _: {"seconds": 1.0}, lambda *_, seed=run.seed: -float(seed))
            write_run(tmp_path / run.name, run.config, rows)
            load("stored").store(tmp_path / run.name, tmp_path / "records")
        table = step_sizes.table(tmp_path / "records")
        assert rows_of(table, "point, tesp, found") == ["2", *["−1.5 [−2.0, −1.0]"] * 6]
        assert rows_of(table, "point, tesp, constant-ceiling") == ["1", *["−2.0"] * 6]


class TestPages:
    @pytest.fixture
    def overview(self, load):
        return load("overview")

    def test_pages_hold_what_the_records_say(self, load):
        pages = load("pages")
        texts = {page: page.read_text(encoding="utf-8") for page in pages.PAGES}
        outdated = [page.name for page, text in texts.items() if pages.filled(text) != text]
        assert not outdated, "python experiments/ablation/pages.py writes them anew"
        used = {found[2] for text in texts.values() for found in pages.PART.finditer(text)}
        assert used == set(pages.PARTS)

    def test_a_part_is_made_anew(self, load, monkeypatch):
        pages = load("pages")
        monkeypatch.setattr(pages, "PARTS", {"one": lambda: "| new |\n"})
        begin = "<!-- made by experiments/ablation/pages.py: {} -->\n"
        text = f"before\n{begin.format('one')}\nold\n<!-- end -->\nafter\n"
        assert pages.filled(text) == f"before\n{begin.format('one')}\n| new |\n\n<!-- end -->\nafter\n"
        with pytest.raises(KeyError, match="two"):
            pages.filled(text.replace("one", "two"))

    def test_tables_in_short(self, analysis, overview, invented):
        runs = invented(
            ("none", 10, 1.0, -20.0), ("none", 11, 1.0, -30.0), ("A", 10, 1.0, -12.0), ("ABC", 10, 4.0, -5.0)
        )
        family = {"tesp": analysis.by_variant(runs)}
        table = overview.at_equal_updates(family)
        assert rows_of(table, "TESP") == ["10, 11", "−25", "−35", "−45", "1.0"]
        assert rows_of(table, "**TESP + A + B + C**") == ["10", "−5", "−15", "−25", "4.0"]
        # The cheapest takes 40 seconds, in which the dearest has done 10 of 40 meta-updates.
        table = overview.at_equal_seconds(family)
        assert rows_of(table, "TESP + A") == ["10", "−12", "−22", "−32", "40"]
        assert rows_of(table, "**TESP + A + B + C**") == ["10", "−35", "−45", "−55", "10"]
        assert rows_of(overview.gains(family), "all together") == ["+15 / +15 / +15 (1)"]
        assert rows_of(overview.gains(family), "A alone") == ["+8 / +8 / +8 (1)"]
        assert rows_of(overview.at_a_time({"point": family}, ("none", "ABC")), "point") == [
            *("40", "−25 / −35 / −45", "−35 / −45 / −55")
        ]

    def test_the_gain_of_the_penalty(self, analysis, overview, invented):
        runs = invented(("none", 10, 1.0, 0.0), ("ABC", 10, 1.0, -5.0), ("ABC-no-penalty", 10, 1.0, -5.2))
        table = overview.gains({"tesp": analysis.by_variant(runs)})
        assert rows_of(table, "all together") == ["−5 / −5 / −5 (1)"]
        # What rounds to nothing has no sign.
        assert rows_of(table, "the penalty η") == ["0 / 0 / 0 (1)"]

    def test_a_run_beside_its_best(self, load):
        returns = {m: dict.fromkeys(TASK_SETS, x) for m, x in ((0, -90.0), (60, -10.0), (75, -20.0), (100, -30.0))}
        run = load("kept_runs").Run({}, 20, returns, 1.0)
        # The last quarter of 100 begins with 75.
        assert (run.best, run.late, run.last) == ([-10.0] * 3, [-25.0] * 3, [-30.0] * 3)
        assert load("kept_runs")._shares(run) == "0.40 / 0.40 / 0.40"

    def test_whole_runs_are_read_by_method(self, load, monkeypatch):
        kept = load("kept_runs")
        runs = kept._kept(r"reacher2-([a-z-]+)-small-seed(\d+)")
        assert runs["maml", "100"] == "campaign/reacher2-maml-small-seed100"
        assert not any("a6bc659" in name for name in runs.values())
        found = {"seed100": -10.0, "seed101": -20.0}
        monkeypatch.setattr(kept, "_kept", lambda _: {("maml", name[-3:]): name for name in found})
        monkeypatch.setattr(kept, "_standing_still", lambda _: [-90.0] * 3)
        monkeypatch.setattr(
            kept, "load", lambda name: kept.Run({}, 100, {120: dict.fromkeys(TASK_SETS, found[name])}, 1.0)
        )
        table = kept.campaign("reacher2")
        assert rows_of(table, "standing still") == ["100–101", *["−90"] * 3, "–"]
        assert rows_of(table, "MAML") == ["100–101", *["−15 [−20, −10]"] * 3, "1.00 / 1.00 / 1.00"]

    @pytest.fixture
    def ending(self, load, monkeypatch):
        """What reads kept runs, of which these names exist and end at these returns."""

        def pretend(names, ends):
            kept = load("kept_runs")
            monkeypatch.setattr(kept, "_kept", lambda _, folder="campaign": names[folder])
            monkeypatch.setattr(
                kept, "load", lambda name: kept.Run({}, 100, {120: dict.fromkeys(TASK_SETS, ends[name])}, 1.0)
            )
            return kept

        return pretend

    def test_the_papers_objective_beside_the_additions(self, ending):
        names = {
            "objective": {("tesp", "100"): "own 100", ("tesp", "101"): "own 101", ("maml", "103"): "own 101"},
            "campaign": {("tesp", "100"): "added 100", ("tesp", "102"): "added 102"},
        }
        kept = ending(names, {"own 100": -40.0, "own 101": -20.0, "added 100": -10.0, "added 102": -90.0})
        table = kept.objective("reacher2")
        # Only seed 100 has both, and MAML has none.
        assert rows_of(table, "TESP") == ["100", "−40 / −40 / −40", "−10 / −10 / −10", "+30 / +30 / +30"]
        assert "MAML" not in table

    def test_begun_runs_as_far_as_all_have_come(self, load, tmp_path, monkeypatch):
        kept = load("kept_runs")

        def write(method, updates, evaluated, seed=100):
            rows = [
                {
                    "kind": "train",
                    "meta_update": m,
                    "round_returns": [-90.0, m - 50.0],
                    "seconds_cpu": 9.0 if m == 1 else 2.0,
                }
                for m in range(1, updates + 1)
            ]
            rows += [evaluation(m, k, m + k - 50.0, task_set=s) for m in evaluated for s in TASK_SETS for k in (0, 1)]
            name = f"reacher2-{method}-paper-seed{seed}"
            (tmp_path / "paper").mkdir(exist_ok=True)
            with gzip.open(tmp_path / "paper" / f"{name}.jsonl.gz", "wt") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            (tmp_path / "paper" / f"{name}.config.json").write_text(json.dumps({"algorithm": method}))

        write("tesp", 13, (0, 10))
        write("maml", 11, (0, 10, 11))
        write("maml", 99, (0, 99), seed=101)
        monkeypatch.setattr(kept, "RECORDS", tmp_path)
        table = kept.so_far("reacher2")
        # In training after the last round; evaluated after the last fast-update; and without the one that compiles.
        assert rows_of(table, "method") == ["5", "10", "D / D′ / D″ at 10", "CPU-s"]
        assert rows_of(table, "TESP") == rows_of(table, "MAML") == ["−45", "−40", "−39 / −39 / −39", "2"]

    def test_ablations_beside_tesp_on_their_seeds(self, ending):
        names = {("tesp", "100"): "a", ("tesp", "101"): "b", ("tesp-v4", "100"): "c", ("tesp-v4", "101"): "d"}
        kept = ending({"campaign": names}, {"a": -10.0, "b": -30.0, "c": -50.0, "d": -20.0})
        both = "+15 [−10, +40]"
        assert rows_of(kept.ablations("reacher2"), "V4: no fast-update") == [
            *("100–101", "−35 / −35 / −35", "−20 / −20 / −20", f"{both} / {both} / {both}")
        ]

    def test_what_all_kept_runs_cost(self, load, invented, analysis, monkeypatch):
        kept = load("kept_runs")
        names = {
            "campaign": ["reacher2-tesp-small-seed100", "steps-reacher2-x"],
            "objective": ["reacher2-y"],
            "paper": ["reacher2-z"],
            "leads": [],
        }
        monkeypatch.setattr(
            kept, "_kept", lambda _, folder="campaign": {(name,): f"{folder}/{name}" for name in names[folder]}
        )
        monkeypatch.setattr(kept, "_seconds", lambda name: 3600.0 if "steps" in name else 1800.0)
        runs = analysis.by_variant(invented(("none", 10, 40.0, -20.0), ("A", 10, 40.0, -12.0)))
        table = kept.cost({"point": {"tesp": runs}})
        assert rows_of(table, "`small`, reacher2") == ["2", "1.0"]
        assert rows_of(table, "`paper`, reacher2") == ["1", "0.5"]
        assert rows_of(table, "rules for the step size") == ["1", "1.0"]
        # Two runs of 39 meta-updates of 40 s and one that is compiled in, of 50 times as many.
        assert rows_of(table, "the additions one by one") == ["2", "2.0"]
        assert rows_of(table, "all") == ["6", "4.5"]
