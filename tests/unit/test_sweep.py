"""Sweeps from a file: what is planned, what is refused, and what is written; and what they will cost."""

import csv
import json
import re

import pytest

from helpers.comparing import going_wrong
from helpers.documents import ROOT
from helpers.running import assert_same_run, files, tesp, tiny_config
from tesp import runs
from tesp.config import value_of
from tesp.errors import ConfigurationError
from tesp.estimating import Cost
from tesp.sweep import SweepFile, planned, read_sweep

SMALL = {
    "tasks_per_set": 2, "tasks_per_update": 2, "episodes_per_round": 3, "horizon": 6, "policy_units": [8],
    "epochs": 2, "meta_updates": 2, "evaluate_every": 2,
}  # fmt: skip


def written(path, **said):
    """Write the file of a sweep."""
    text = "".join(f"{name} = {json.dumps(x)}\n" for name, x in said.items() if not isinstance(x, dict))
    for name, table in said.items():
        if isinstance(table, dict):
            text += f"[{name}]\n" + "".join(f"{key} = {json.dumps(x)}\n" for key, x in table.items())
    path.write_text(text)
    return path


def plan(tmp_path, **said):
    folders, tables = planned(SweepFile(**{"families": ["point"], "seeds": [0], **said}), tmp_path)
    return {folder.relative_to(tmp_path).as_posix(): config for folder, config in folders.items()}, tables


class TestThePlan:
    def test_families_methods_and_seeds(self, tmp_path):
        folders, tables = plan(tmp_path, families=["point", "reacher2"], methods=["maml"], seeds=[0, 3])
        wanted = [
            f"{family}/{method}-seed{seed}"
            for family in ("point", "reacher2")
            for method in ("maml", "oracle")
            for seed in (0, 3)
        ]
        assert list(folders) == wanted
        config = folders["reacher2/maml-seed3"]
        assert (config.family, config.algorithm, config.seed, config.preset) == ("reacher2", "maml", 3, "quick")
        assert [(table.family, table.choice, len(table.runs)) for table in tables] == [
            ("point", "", 4),
            ("reacher2", "", 4),
        ]
        assert tables[0].folder == tmp_path / "point"

    def test_what_makes_no_difference_to_a_method_is_trained_once(self, tmp_path):
        grid = {"embedding_size": [2, 4], "horizon": [8, 9]}
        folders, tables = plan(tmp_path, methods=["tesp", "maml"], grid=grid)
        names = [name.removeprefix("point/") for name in folders]
        assert sorted(names) == sorted(
            [f"tesp-embedding_size={e},horizon={h}-seed0" for e in (2, 4) for h in (8, 9)]
            + [f"{method}-horizon={h}-seed0" for method in ("maml", "oracle") for h in (8, 9)]
        )
        assert [table.choice for table in tables] == [f"embedding_size={e},horizon={h}" for e in (2, 4) for h in (8, 9)]
        assert tables[1].runs[1:] == tables[3].runs[1:]
        assert tables[1].runs[0] != tables[3].runs[0]
        assert value_of(folders["point/tesp-embedding_size=4,horizon=9-seed0"], "embedding_size") == 4

    def test_choices_by_name_and_together_with_a_grid(self, tmp_path):
        choices = [{"name": "wide", "policy_units": [48, 48]}, {"encoder_units": 8}]
        folders, _ = plan(tmp_path, methods=["tesp", "maml"], choices=choices)
        assert value_of(folders["point/tesp-wide-seed0"], "policy_units") == (48, 48)
        assert {"point/tesp-encoder_units=8-seed0", "point/maml-wide-seed0", "point/maml-seed0"} <= folders.keys()
        _, tables = plan(tmp_path, methods=["tesp"], choices=choices, grid={"clip": [0.1, 0.2]})
        assert [table.choice for table in tables][:2] == ["clip=0.1,wide", "clip=0.1,encoder_units=8"]

    def test_options_of_all_and_equal_experience(self, tmp_path):
        folders, _ = plan(tmp_path, methods=["tesp", "maml"], options={"buffer_size": 3}, equal_experience=True)
        assert value_of(folders["point/tesp-seed0"], "buffer_size") == 3
        assert value_of(folders["point/maml-seed0"], "extra_episodes") is True

    def test_names_are_those_of_folders(self, tmp_path):
        units = [[n] * 40 for n in (10, 11)]
        _, tables = plan(tmp_path, methods=["maml"], grid={"policy_units": units})
        assert len({table.choice for table in tables}) == 2
        assert all(len(table.choice) <= 80 for table in tables)
        _, tables = plan(tmp_path, methods=["maml"], choices=[{"name": "../a b/c", "clip": 0.1}])
        assert tables[0].choice == "-a-b-c"

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            ({"families": []}, "has no families"),
            ({"seeds": []}, "has no seeds"),
            ({"methods": ["dreamer"]}, "no algorithm 'dreamer'"),
            ({"families": ["hopper"]}, "hopper"),
            ({"grid": {"clip": []}}, "no value of clip"),
            ({"grid": {"clipp": [1]}}, "no field 'clipp' .did you mean 'clip'"),
            ({"options": {"clip": "much"}}, "clip = 'much' is not possible"),
            ({"options": {"seed": 1}}, "seed is no option of a sweep's runs"),
            (
                {"methods": ["maml"], "grid": {"encoder_units": [8]}},
                "encoder_units is no option of the algorithm 'maml'",
            ),
            ({"choices": [{"name": "a", "clip": 0.1}, {"name": "a", "clip": 0.2}]}, "have the same name"),
        ],
    )
    def test_refuses(self, tmp_path, said, why):
        with pytest.raises(ConfigurationError, match=why):
            plan(tmp_path, **said)


class TestTheFile:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("families = [", "says no sweep: "),
            ("seeds = [0]", "families"),
            ('families = "point"', "a list is needed"),
            ('families = ["point"]\nseed = [0]', "seed"),
            ('families = ["point"]\nseeds = [0.5]', "an integer is needed, not 0.5"),
        ],
    )
    def test_that_says_something_else(self, tmp_path, text, why):
        (tmp_path / "s.toml").write_text(text)
        refused = tesp("sweep", tmp_path / "s.toml", "--output", tmp_path / "out")
        assert why in refused.sentence()
        assert not (tmp_path / "out").exists()

    def test_that_is_not_there(self, tmp_path):
        assert "cannot be read: No such file" in tesp("sweep", tmp_path / "s.toml").sentence()

    def test_of_the_examples(self, tmp_path):
        folders, tables = planned(read_sweep(ROOT / "examples" / "sweep.toml"), tmp_path)
        assert len(tables) == 4
        assert len(folders) == 2 * 3 * (2 + 2 + 1 + 1)


@pytest.fixture
def file(tmp_path):
    return written(
        tmp_path / "small.toml", families=["point"], methods=["adapt-sv"], seeds=[0, 1], options=SMALL,
        grid={"embedding_size": [2, 3]}, evaluation_episodes=[],
    )  # fmt: skip


def test_a_sweep_is_planned_trained_and_grows(file, tmp_path, monkeypatch):
    output = tmp_path / "out"
    shown = tesp("sweep", file, "--output", output, "--dry-run")
    assert shown.code == 0, shown
    assert not output.exists()
    assert "6 runs, " in shown.out
    lines = [line for line in shown.out.splitlines() if line.startswith("point/")]
    assert len(lines) == 6
    assert all(re.search(r"-seed\d: 2 meta-updates, \S+ core-hours left \(\S+ core-s each\)$", line) for line in lines)

    going_wrong(monkeypatch, ("oracle", 1))
    finished = tesp("sweep", file, "--output", output)
    assert finished.code == 1
    assert "1 run(s) left out: point/oracle-seed1: policy loss became NaN" in finished.line()
    monkeypatch.undo()
    finished = tesp("sweep", file, "--output", output)
    assert (finished.code, finished.err) == (0, ""), finished
    tables = [output / "point" / f"embedding_size={size}" for size in (2, 3)]
    for folder in tables:
        assert {path.name for path in folder.iterdir()} >= {"comparison.md", "comparison.csv", "learning_curves.png"}
    with (output / "sweep.csv").open(encoding="utf-8", newline="") as read:
        rows = list(csv.DictReader(read))
    for folder in tables:
        with (folder / "comparison.csv").open(encoding="utf-8", newline="") as read:
            own = [{"family": "point", "choice": folder.name, **row} for row in csv.DictReader(read)]
        assert [row for row in rows if row["choice"] == folder.name] == own
    assert {row["seeds"] for row in rows} == {"2"}
    values = {name: tuple(x) if isinstance(x, list) else x for name, x in SMALL.items()}
    runs.train(tiny_config(algorithm="oracle", **{**values, "checkpoint_every": 5}), tmp_path / "alone")
    assert_same_run(output / "point" / "oracle-seed0", tmp_path / "alone")

    again = tesp("sweep", file, "--output", output, "--dry-run")
    assert "6 runs, 0 core-hours in all" in again.out
    assert "measuring" not in again.out
    before = files(output)
    other = written(tmp_path / "other.toml", families=["point"], methods=["adapt-sv"], options=SMALL | {"clip": 0.3})
    refused = tesp("sweep", other, "--output", output)
    assert "oracle-seed0 was made with other options than these" in refused.sentence()
    assert files(output) == before


def test_the_cost_of_a_run():
    """10 meta-updates of 2 s and evaluations of 5 s at 0, 4, 8 and 10."""
    config = tiny_config(meta_updates=10, evaluate_every=4)
    cost = Cost(meta_update=2.0, evaluation=5.0)
    assert cost.of(config) == 10 * 2 + 4 * 5
    assert cost.of(config, 4) == 6 * 2 + 2 * 5
    assert cost.of(config, 5) == 5 * 2 + 2 * 5
    assert cost.of(tiny_config(meta_updates=8, evaluate_every=4)) == 8 * 2 + 3 * 5
