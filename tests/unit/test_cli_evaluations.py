"""`tesp evaluate` under dynamics noise and of all checkpoints, the oracle beside a run, and what is drawn of both."""

import json
import re
import shutil

import pytest

from helpers.running import checkpoint_folders, files, lines_of, options, records, tesp, timeless
from tesp.task_sets import TASK_SETS
from tesp.tasks import registry
from tesp.tasks.point import PointFamily, PointSimulation
from tesp.tasks.simulation import Simulation

K = 3
ROWS = len(TASK_SETS) * (K + 1)
HINT = "for the oracle: tesp train point --preset quick --algorithm oracle --seed 0 --horizon 6 --tasks-per-set 4"
LIKE = "--meta-updates 4 --policy-units 8"


def stored(run):
    return lines_of(run / "evaluations.jsonl")


def returns(rows):
    return [row["average_return"] for row in rows]


def told(line):
    """The cells of a row of a table."""
    return re.split(r"\s{2,}", line.strip())


def cells(text, name):
    return [told(line) for line in text.splitlines() if name in told(line)]


def change(path, **changes):
    """Change columns of all records of a file, or of a configuration."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line if line.get("kind") == "run" else {**line, **changes} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def oracle_of(run, folder, **changes):
    """A run like another, as if the oracle had been trained; every return is 1234.5."""
    shutil.copytree(run, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "algorithm": "oracle", **changes}), encoding="utf-8")
    change(folder / "records.jsonl", algorithm="oracle", average_return=1234.5, average_return_std=0.5)


class TestDynamicsNoise:
    def test_one_evaluation_for_every_sigma(self, run):
        done = tesp("evaluate", run, "--dynamics-noise", "0", "0.1", "0.3", "--checkpoint", "latest")
        assert (done.code, done.err) == (0, "")
        rows = stored(run)
        assert [row["dynamics_noise"] for row in rows] == [0.0] * ROWS + [0.1] * ROWS + [0.3] * ROWS
        for index in range(3):
            part = rows[index * ROWS : (index + 1) * ROWS]
            assert [(r["task_set"], r["fast_update"]) for r in part] == [
                (n, k) for n in TASK_SETS for k in range(K + 1)
            ]
            assert {row["meta_update"] for row in part} == {4}
        # Without noise it is the evaluation of training; with it another, in every row.
        trained = [record for record in records(run, "evaluation") if record["meta_update"] == 4]
        assert timeless(rows[:ROWS]) == timeless(trained)
        for one, other in ((0, 1), (1, 2)):
            pairs = zip(returns(rows[one * ROWS :][:ROWS]), returns(rows[other * ROWS :][:ROWS]), strict=True)
            assert all(a != b for a, b in pairs)

    def test_prints_a_table_for_each(self, run):
        out = tesp("evaluate", run, "--dynamics-noise", "0", "0.1").out
        assert len(cells(out, "standing still")) == 2 * len(TASK_SETS)
        plain, noisy = out.split("σ = 0.1")
        rows = stored(run)
        for text, part in ((plain, rows[:ROWS]), (noisy, rows[ROWS:])):
            shown = [
                float(line[2].split(" ±")[0].replace("−", "-")) for k in range(K + 1) for line in cells(text, f"{k}")
            ]
            expected = [row["average_return"] for k in range(K + 1) for row in part if row["fast_update"] == k]
            assert shown == pytest.approx(expected, abs=0.051)

    def test_the_order_of_sigmas_changes_nothing(self, run):
        """And least of all what is evaluated without noise after it."""
        for sigmas in (("0.1", "0"), ("0", "0.1")):
            tesp("evaluate", run, "--checkpoint", "3", "--dynamics-noise", *sigmas)
        first, second, third, fourth = (timeless(stored(run)[i * ROWS : (i + 1) * ROWS]) for i in range(4))
        assert (first, second) == (fourth, third)
        assert first != second

    @pytest.mark.parametrize("sigmas", [["-0.1"], ["0", "0.1", "-0.1"], ["nan"], ["inf"]])
    def test_noise_that_is_not_possible(self, run, sigmas):
        before = files(run)
        refused = tesp("evaluate", run, "--dynamics-noise", *sigmas)
        assert f"dynamics_noise = {sigmas[-1]} is not possible; give a finite number, 0 or more" in refused.sentence()
        assert files(run) == before

    def test_no_number(self, run):
        assert "--dynamics-noise needs one number or more" in tesp("evaluate", run, "--dynamics-noise").sentence()

    def test_a_family_without_noise(self, run, monkeypatch):
        class Quiet(PointSimulation):
            disturb = Simulation.disturb

        monkeypatch.setattr(PointFamily, "simulate", lambda self, count, _threads=0: Quiet(self, count))
        assert registry.make_family("point").simulate(1).__class__ is Quiet
        assert "Quiet has no dynamics noise" in tesp("evaluate", run, "--dynamics-noise", "0.1").sentence()
        assert not (run / "evaluations.jsonl").exists()
        assert tesp("evaluate", run).code == 0


class TestAllCheckpoints:
    def test_every_one_that_was_kept(self, run):
        before = files(run / "checkpoints")
        done = tesp("evaluate", run, "--checkpoint", "all", "--dynamics-noise", "0", "0.1")
        assert (done.code, done.err) == (0, "")
        kept = sorted(map(int, checkpoint_folders(run)))
        assert kept == [2, 3, 4]
        pairs = [(number, sigma) for number in kept for sigma in (0.0, 0.1)]
        rows = stored(run)
        assert [(row["meta_update"], row["dynamics_noise"]) for row in rows] == [p for p in pairs for _ in range(ROWS)]
        assert len(set(returns(rows[::ROWS]))) == len(pairs)
        steps = {row["meta_update"]: row["environment_steps"] for row in rows}
        trained = {record["meta_update"]: record["environment_steps"] for record in records(run, "train")}
        assert steps == {number: trained[number] for number in kept}
        assert done.out.count("evaluating the checkpoint of meta-update") == len(pairs)
        assert files(run / "checkpoints") == before

    def test_there_is_none(self, run):
        shutil.rmtree(run / "checkpoints")
        assert "has no checkpoint yet" in tesp("evaluate", run, "--checkpoint", "all").sentence()
        assert not (run / "evaluations.jsonl").exists()


class TestTheOracle:
    def test_beside_the_run_it_stands_in_the_table(self, run):
        """Evaluated on the same tasks and under the same noise, whatever its own records are of."""
        told = run.parent / "told"
        assert tesp("train", "point", *options(evaluation_tasks=2, algorithm="oracle"), "--output", told).code == 0
        out = tesp("evaluate", run, "--dynamics-noise", "0.1").out
        tesp("evaluate", told, "--checkpoint", "latest", "--dynamics-noise", "0.1")
        expected = [f"{x:.1f}".replace("-", "−") for x in returns(stored(told))]
        assert [line[2].split(" ±")[0] for line in cells(out, "oracle")] == expected
        assert "for the oracle" not in out

    @pytest.mark.parametrize("changes", [{}, {"seed": 1}, {"family": "wheeled"}, {"task": {"horizon": 6}}])
    def test_without_one_of_the_same_tasks_its_row_is_empty(self, run, changes):
        if changes:
            oracle_of(run, run.parent / "told", **changes)
        out = tesp("evaluate", run).out
        # The command leads to an oracle of the same tasks, in the same place.
        assert out.splitlines()[-1] == f"{HINT} {LIKE} --output {run.parent / 'point-oracle-quick-seed0'}"
        assert [line[1:3] for line in cells(out, "oracle")] == [["oracle", "–"]] * len(TASK_SETS)


class TestPlot:
    def test_noise_is_drawn_where_it_was_evaluated(self, run):
        figures = {path.name for path in (run / "figures").iterdir()}
        assert tesp("evaluate", run).code == 0
        out = tesp("plot", run, "--no-details").out
        assert "dynamics_noise.png" not in out
        assert {path.name for path in (run / "figures").iterdir()} == figures
        assert tesp("evaluate", run, "--dynamics-noise", "0.1").code == 0
        drawn = tesp("plot", run, "--no-details")
        assert (drawn.code, drawn.err) == (0, "")
        assert f"drawn: {run / 'figures' / 'dynamics_noise.png'}" in drawn.out
        assert (run / "figures" / "dynamics_noise.png").read_bytes().startswith(b"\x89PNG")

    def test_nothing_was_published_for_the_point(self, run, tmp_path):
        refused = tesp("plot", run, "--published", "--output", tmp_path / "figures")
        assert "published curves of the family 'ant' only, and these runs are of point" in refused.sentence()
        assert not (tmp_path / "figures").exists()
