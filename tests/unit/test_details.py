"""Every task by itself, and the learned rates: `tesp.runs.per_task`, and what `tesp plot` makes of them."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.pictures import leave_figures_blank
from helpers.running import TINY, files, shared_learner, tesp, tiny_config
from tesp import runs
from tesp.building import build_family, build_learner
from tesp.errors import ConfigurationError, NonFiniteError
from tesp.evaluation.protocol import evaluation_key
from tesp.methods.gradient.rates import _layer
from tesp.runs import load_run
from tesp.runs.per_task import evaluate_per_task as details
from tesp.storage.checkpoint import initial_state
from tesp.storage.records import read_records, write_records
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS
from tesp.tasks.point import PointFamily, PointSimulation

FIGURES = {"task_paths.png", "embeddings.png", "rates.png"}
K = 3


@pytest.fixture
def loaded(run, monkeypatch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    return load_run(run, "latest")


def of_kind(records, kind):
    return [record for record in records if record["kind"] == kind]


class TestRecords:
    def test_the_means_are_those_of_the_evaluation(self, loaded):
        tasks = of_kind(details(loaded), "task")
        assert len(tasks) == len(TASK_SETS) * TINY["tasks_per_set"]
        for row in loaded.evaluate():
            own = [task for task in tasks if task["task_set"] == row["task_set"]]
            k = row["fast_update"]
            assert np.mean([task["average_return"][k] for task in own]) == pytest.approx(
                row["average_return"], rel=1e-12
            )
            assert np.mean([task["success_rate"][k] for task in own]) == pytest.approx(row["success_rate"], rel=1e-12)
            if k == 0:
                assert np.mean([task["warm_up_return"] for task in own]) == pytest.approx(row["warm_up_return"])

    def test_the_first_tasks_are_what_they_are_among_all(self, loaded):
        some = of_kind(details(loaded, 2), "task")
        everything = of_kind(details(loaded, 0), "task")
        assert [(task["task_set"], task["index"]) for task in some] == [(name, i) for name in TASK_SETS for i in (0, 1)]
        for task in some:
            (same,) = [x for x in everything if (x["task_set"], x["index"]) == (task["task_set"], task["index"])]
            # Other numbers of rows are summed in another order.
            np.testing.assert_allclose(task["average_return"], same["average_return"], rtol=1e-5)
            assert task["task"] == loaded.task_sets[task["task_set"]].tasks[task["index"]].tolist()

    def test_paths_and_embeddings(self, loaded):
        adaptation = loaded.learner.adapt(
            loaded.parameters,
            loaded.family.simulate(2 * TINY["episodes_per_round"]),
            loaded.task_sets["train"].tasks[:2],
            TINY["horizon"],
            details_key(loaded, "train"),
            keep_beliefs=True,
        )
        for index, task in enumerate(of_kind(details(loaded, 2), "task")[:2]):
            last = adaptation.rounds[-1]
            returns = last.outcomes.average_return[index]
            (episode,) = np.flatnonzero(returns == np.median(returns))
            length = last.outcomes.length[index, episode]
            assert task["path_return"] == returns[episode]
            assert task["start"] == [0.0, 0.0]
            np.testing.assert_allclose(task["path"], last.outcomes.position[index, episode, :length], atol=5.1e-4)
            for moment, k in (("before", 0), ("after", K)):
                (known,) = [r.belief.embedding[index] for r in adaptation.rounds if r.fast_update == k]
                np.testing.assert_allclose(task["embedding"][moment], known, rtol=1e-5)
            assert task["embedding"]["before"] != task["embedding"]["after"]
            assert (task["is_goal"], task["boundary_radius"]) == (True, 1.1)

    def test_rates(self, loaded):
        rates = of_kind(details(loaded, 2), "rates")
        assert [record["layer"] for record in rates] == [
            "GRU input weight",
            "GRU recurrent weight",
            "GRU bias",
            "GRU candidate bias",
            "output layer weight",
            "output layer bias",
        ]
        values = np.asarray(loaded.parameters.rates.gru.bias, float)
        bias = rates[2]
        assert bias["entries"] == values.size
        assert bias["negative"] == np.mean(values < 0)
        assert bias["quantiles"]["0"] == pytest.approx(values.min(), rel=1e-5)
        assert bias["quantiles"]["50"] == pytest.approx(np.median(values), rel=1e-5)
        assert bias["quantiles"]["100"] == pytest.approx(values.max(), rel=1e-5)
        assert (bias["bound"], bias["initial_rate"], bias["learned"]) == (0.1, 0.001, True)
        assert bias["at_bound"] == 0.0

    def test_rates_at_the_bound_are_counted(self, loaded, monkeypatch):
        rates = jax.tree.map(lambda a: jnp.full_like(a, 0.1).at[..., 0].set(-0.2), loaded.parameters.rates)
        monkeypatch.setattr(runs.Run, "parameters", loaded.parameters._replace(rates=rates))
        for record in of_kind(details(loaded, 2), "rates"):
            assert record["at_bound"] == 1.0
            assert 0.0 < record["negative"] < 1.0

    def test_the_file_is_what_was_returned_and_is_replaced_whole(self, loaded):
        loaded.folder.details.write_text("older")
        records = details(loaded, 2)
        assert read_records(loaded.folder.details) == records
        assert len(of_kind(records, "task")) == 2 * len(TASK_SETS)
        assert {record["meta_update"] for record in records} == {TINY["meta_updates"]}
        assert not list(loaded.folder.path.glob("*.tmp"))

    def test_a_number_of_tasks_that_is_not_possible(self, loaded):
        with pytest.raises(ConfigurationError, match="tasks = -1 is not possible; give 1 or more, or 0"):
            details(loaded, -1)
        assert not loaded.folder.details.exists()

    def test_a_number_that_went_wrong_names_task_and_set(self, loaded, monkeypatch):
        monkeypatch.setattr(PointFamily, "simulate", lambda self, count, _threads=0: Broken(self, count))
        with pytest.raises(NonFiniteError, match=r"task 1.*in the set train"):
            details(loaded, 2)
        assert not loaded.folder.details.exists()


def details_key(run, name):
    return evaluation_key(run.config.seed, run.state.meta_update, name)


class Broken(PointSimulation):
    """The last simulation answers with NaN."""

    def step(self, ids, actions):
        done = super().step(ids, actions)
        done.observation[ids == ids[-1]] = np.nan
        return done


class Nowhere(PointSimulation):
    """No position, and distances that are not of goals."""

    @property
    def positions(self):
        return np.full_like(super().positions, np.nan)

    def step(self, ids, actions):
        done = super().step(ids, actions)
        done.position[:] = np.nan
        return done


class TestOtherMethods:
    def fresh(self, name, folder):
        """A run of another method that was never trained, without a folder of its own."""
        config = tiny_config(algorithm=name)
        family, learner = build_family(config), shared_learner(config)
        state = initial_state(learner.method, config.seed)
        return runs.Run(RunFolder(folder), config, family, family.sample_task_sets(0), learner, state)

    def test_without_embedding_and_with_one_rate(self, tmp_path):
        records = details(self.fresh("maml", tmp_path), 1)
        assert {x for task in of_kind(records, "task") for x in task["embedding"].values()} == {None}
        assert {task["warm_up_return"] for task in of_kind(records, "task")} == {None}
        (rate,) = of_kind(records, "rates")
        assert (rate["layer"], rate["entries"], rate["learned"]) == ("all parameters", 1, False)
        assert set(rate["quantiles"].values()) == {rate["initial_rate"]}

    def test_the_oracle_has_no_rates_is_conditioned_on_the_task_and_may_have_no_position(self, tmp_path, monkeypatch):
        monkeypatch.setattr(PointFamily, "simulate", lambda self, count, _threads=0: Nowhere(self, count))
        records = details(self.fresh("oracle", tmp_path), 1)
        assert of_kind(records, "rates") == []
        for task in of_kind(records, "task"):
            np.testing.assert_allclose(task["embedding"]["before"], task["task"], rtol=1e-5)
            assert task["embedding"]["before"] == task["embedding"]["after"]
            assert len(task["average_return"]) == 1
            assert (task["start"], task["path"], task["is_goal"]) == (None, None, False)

    @pytest.mark.parametrize(
        ("name", "layers"),
        [
            ("meta-sgd", ["hidden layer 1 weight", "hidden layer 1 bias", "output layer weight", "output layer bias"]),
            ("adapt-sv", ["adapted vector"]),
            ("tesp-v2", ["encoder GRU input weight", "policy hidden layer 1 bias", "policy output layer weight"]),
            ("tesp-v5", ["all parameters"]),
        ],
    )
    def test_layers_have_names_for_people(self, name, layers):
        config = tiny_config(algorithm=name)
        rates = build_learner(config, build_family(config)).method.algorithm.init(jax.random.key(0)).rates
        named = [_layer(rates, path) for path, _ in jax.tree_util.tree_flatten_with_path(rates)[0]]
        assert len(set(named)) == len(named)
        assert set(layers) <= set(named)


def test_layers_of_an_algorithm_of_ones_own():
    rates = {"start": (np.zeros(2), {"end": np.zeros(3)})}
    named = [_layer(rates, path) for path, _ in jax.tree_util.tree_flatten_with_path(rates)[0]]
    assert named == ["start ndarray", "start dict end"]


@pytest.fixture(scope="module")
def plotted(reference, tmp_path_factory):
    """A run of which two tasks of each set were measured, and what `tesp plot` said."""
    path = tmp_path_factory.mktemp("plotted") / "run"
    shutil.copytree(reference.path, path)
    with pytest.MonkeyPatch.context() as patch:
        leave_figures_blank(patch)
        return path, tesp("plot", path, "--tasks", "2", "--checkpoint", "latest")


class TestPlot:
    @pytest.fixture
    def stored(self, plotted, tmp_path):
        return shutil.copytree(plotted[0], tmp_path / "stored")

    def figures(self, run):
        return {path.name for path in (run / "figures").iterdir()}

    def test_everything_of_one_run(self, plotted):
        run, done = plotted
        assert (done.code, done.err) == (0, "")
        assert self.figures(run) >= FIGURES
        for name in FIGURES:
            assert f"drawn: {run / 'figures' / name}" in done.out
        assert "measuring 2 tasks of each set with the checkpoint of meta-update 4, which may take about" in done.out

    def test_what_is_stored_is_not_measured_again(self, stored):
        marked = (stored / "details.jsonl").read_bytes().replace(b'"success_rate"', b'"mark": 1, "success_rate"')
        (stored / "details.jsonl").write_bytes(marked)
        for words in ((), ("--tasks", "2")):
            out = tesp("plot", stored, "--checkpoint", "4", *words).out
            assert "measuring" not in out
            assert out.count("drawn: ") == 5
        assert (stored / "details.jsonl").read_bytes() == marked

    @pytest.mark.parametrize(
        "words", [("--checkpoint", "3", "--tasks", "2"), ("--checkpoint", "4", "--tasks", "4")], ids=" ".join
    )
    def test_those_of_another_checkpoint_or_number_of_tasks_are_made_again(self, stored, words):
        assert "measuring" in tesp("plot", stored, *words).out
        records = read_records(stored / "details.jsonl")
        assert {record["meta_update"] for record in records} == {int(words[1])}
        assert len(of_kind(records, "task")) == 3 * int(words[3])

    def test_a_damaged_file_is_made_again_with_as_many_tasks_as_the_run_evaluates(self, run):
        config = json.loads((run / "config.json").read_text())
        config["schedule"]["evaluation_tasks"] = 2
        (run / "config.json").write_text(json.dumps(config))
        (run / "details.jsonl").write_text('{"kind": "task"}\n')
        assert "measuring 2 tasks of" in tesp("plot", run).out
        assert len(of_kind(read_records(run / "details.jsonl"), "task")) == 6

    def test_left_out_on_request(self, run):
        before = files(run)
        assert tesp("plot", run, "--no-details").code == 0
        assert files(run).keys() == before.keys()

    def test_a_folder_of_records_alone_still_has_curves(self, run):
        shutil.rmtree(run / "checkpoints")
        (run / "checkpoints").mkdir()
        done = tesp("plot", run)
        assert done.code == 0
        assert "left out: paths on every task, embeddings and learned rates. " in done.out
        assert "has no checkpoint yet" in done.out
        assert not self.figures(run) & FIGURES

    @pytest.mark.parametrize(
        ("words", "said"),
        [(("--tasks", "-1"), "tasks = -1 is not possible"), (("--checkpoint", "newest"), "no checkpoint 'newest'")],
    )
    def test_refused_before_anything_is_drawn(self, run, words, said):
        before = files(run)
        assert said in tesp("plot", run, *words).sentence()
        assert files(run) == before

    def test_a_method_without_embedding_and_rates_gets_sentences(self, stored):
        lines = []
        for record in read_records(stored / "details.jsonl"):
            other = {"learned": False} if record["kind"] == "rates" else {"embedding": {"before": None, "after": None}}
            lines.append(record | other | {"algorithm": "maml"})
        write_records(stored / "details.jsonl", lines)
        done = tesp("plot", stored, "--checkpoint", "latest")
        assert (done.code, done.err) == (0, "")
        assert "left out: 'maml' has no task embedding to draw." in done.out
        assert "left out: 'maml' learns no rates, so there are none to draw." in done.out
