"""Runs that version 0.1 wrote: configurations with its names, checkpoints with its fields."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import tesp
from helpers.running import as_json, records, shared_learner, tiny_config
from helpers.trees import assert_identical
from tesp import runs
from tesp.building import build_family
from tesp.config import from_json, of_today, override, to_json
from tesp.errors import ConfigurationError
from tesp.storage import checkpoint
from tesp.storage.checkpoint import Checkpoints, initial_state
from tesp.storage.tensor_files import UncheckedFileWarning

DATA = Path(__file__).parents[1] / "data" / "version_0_1.zip"
#: What its configurations had no field for.
META = {
    "judge_last_epoch",
    "learning_rate_range",
    "learning_rate_ceiling",
    "parameter_average",
    "early_loss_ratio",
    "early_loss_final",
}
#: All that its checkpoints had.
FIELDS = ("parameters", "optimiser_state", "meta_update", "environment_steps", "wall_seconds")
OPTIONS = {
    "learning_rate_schedule": "linear",
    "early_loss_weight": 0.3,
    "conditioning": "concatenate",
    "judge_last_epoch": True,
    "parameter_average": 0.0,
}


def of_version_0_1(config, **meta):
    """The configuration as that version would have stored it; other values by their names of then."""
    stored = as_json(config)
    groups = stored.pop("method")
    stored["sampling"] |= groups.pop("experience")
    stored |= groups
    stored["meta"] = {name: value for name, value in stored["meta"].items() if name not in META}
    stored["meta"]["learning_rate_decay"] = stored["meta"].pop("learning_rate_schedule")
    stored["meta"]["early_rounds_weight"] = stored["meta"].pop("early_loss_weight")
    del stored["network"]["conditioning"]
    return json.dumps({**stored, "meta": {**stored["meta"], **meta}})


@pytest.mark.parametrize(("then", "now"), [("none", "constant"), ("linear", "linear"), ("last_third", "last_third")])
def test_its_configurations_are_read(then, now):
    config = from_json(of_version_0_1(tiny_config(**OPTIONS), learning_rate_decay=then, early_rounds_weight=0.2))
    assert config.method.meta.learning_rate_schedule == now
    assert config.method.meta.early_loss_weight == 0.2
    meta = config.method.meta
    assert (meta.early_loss_ratio, meta.early_loss_final, meta.parameter_average) == (1, 1, 0)
    assert config.method.network.conditioning == "concatenate"
    assert from_json(to_json(config)) == config


def test_beside_runs_of_today_its_loss_is_another_one():
    config = tiny_config(**OPTIONS | {"early_loss_weight": 0.0})
    assert of_today(json.loads(of_version_0_1(config))) == as_json(config)
    meta = of_today(json.loads(of_version_0_1(config, early_rounds_weight=0.3)))["method"]["meta"]
    assert (meta["early_loss_weight"], meta["early_rounds_weight"]) == (0.0, 0.3)


def test_a_name_of_then_and_the_one_of_today_together_are_refused():
    with pytest.raises(
        ConfigurationError, match="'early_rounds_weight' and 'early_loss_weight', which is its name today"
    ):
        from_json(of_version_0_1(tiny_config(**OPTIONS), early_loss_weight=0.5))


def test_its_meta_updates_judged_the_last_epoch():
    """They took a step in every epoch, even where there was only one."""
    config = from_json(of_version_0_1(tiny_config(**OPTIONS), epochs=1))
    assert (config.method.meta.epochs, config.method.meta.steps) == (1, 1)


@pytest.fixture
def old_run(tmp_path, monkeypatch):
    """A run of one meta-update, as that version would have left it; and what its learner was."""
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    config = tiny_config(**OPTIONS)
    short = replace(config, schedule=replace(config.schedule, meta_updates=1))
    with monkeypatch.context() as patch:
        arrays = checkpoint._arrays
        patch.setattr("tesp.storage.identity.new_identity", lambda: None)
        patch.setattr(checkpoint, "_arrays", lambda state: {name: arrays(state)[name] for name in FIELDS})
        trained = runs.train(short, tmp_path / "run")
    (tmp_path / "run" / "config.json").write_text(of_version_0_1(override(config, meta_updates=2)))
    return tmp_path / "run", trained.state


def test_its_checkpoints_are_read_and_trained_on(old_run):
    folder, state = old_run
    loaded = runs.load_run(folder, "latest")
    assert_identical(loaded.state._replace(wall_seconds=0.0), state._replace(wall_seconds=0.0))
    assert loaded.state.method.step_size == loaded.config.method.meta.learning_rate
    assert loaded.state.method.average is None
    assert loaded.parameters is loaded.state.method.parameters
    runs.resume(folder)
    assert [r["meta_update"] for r in records(folder, "train")] == [1, 2]
    assert records(folder, "train")[1]["step_size"] == pytest.approx(0.5 * loaded.config.method.meta.learning_rate)


def test_one_of_its_checkpoints_begins_a_schedule_that_it_did_not_know(old_run):
    """A step size is missing, not damaged."""
    folder, state = old_run
    config = tiny_config(**OPTIONS | {"learning_rate_schedule": "adaptive"})
    shutil.rmtree(folder / "checkpoints" / "0")
    fresh = initial_state(shared_learner(config, build_family(config)).method, 0)
    restored = Checkpoints(folder / "checkpoints", read_only=True).restore(fresh, 1)
    assert restored.method.step_size == config.method.meta.learning_rate
    assert np.any(restored.method.parameters.shared.output.weight != fresh.method.parameters.shared.output.weight)
    assert restored.environment_steps == state.environment_steps


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Runs, learners and agents of the point family, made before options lived with their method."""
    folder = tmp_path_factory.mktemp("then")
    with zipfile.ZipFile(DATA) as stored:
        stored.extractall(folder)
    return folder


def test_its_files_say_that_nobody_can_tell_whether_they_are_whole(files):
    with pytest.warns(UncheckedFileWarning, match=r"tesp-learner\.safetensors was written by version 0\.1.*no digest"):
        tesp.load(files / "tesp-learner.safetensors")


@pytest.mark.filterwarnings("ignore::tesp.storage.tensor_files.UncheckedFileWarning")
class TestFilesThatItWrote:
    @pytest.mark.parametrize("name", ["tesp", "maml", "oracle"])
    def test_runs_are_loaded_evaluated_as_then_and_trained_on(self, files, name, tmp_path):
        folder = shutil.copytree(files / name, tmp_path / "run")
        loaded = runs.load_run(folder, "latest")
        assert loaded.config.algorithm == name
        assert not set(json.loads(to_json(loaded.config))["method"]) & {"ablation" if name != "tesp" else "sampling"}
        rows = loaded.evaluate()
        for row, record in zip(rows, records(folder, "evaluation")[-len(rows) :], strict=True):
            assert row["average_return"] == pytest.approx(record["average_return"], rel=1e-5)
        (folder / "config.json").write_text(to_json(override(loaded.config, meta_updates=3)))
        runs.resume(folder)
        assert [r["meta_update"] for r in records(folder, "train")] == [1, 2, 3]

    @pytest.mark.parametrize("name", ["tesp", "maml", "oracle", "tesp-v2"])
    def test_learners_are_loaded(self, files, name):
        loaded = tesp.load(files / f"{name}-learner.safetensors")
        assert loaded.config.algorithm == name
        if (files / name).exists():
            assert_identical(loaded.parameters, tesp.load(files / name).parameters)

    @pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning")
    @pytest.mark.parametrize("name", ["tesp", "maml", "tesp-v2"])
    def test_agents_act_as_then_and_go_on(self, files, name, tmp_path):
        then = json.loads((files / f"{name}-agent.json").read_text())
        agent = tesp.AdaptedAgent.load(files / f"{name}-agent.safetensors")
        seen = np.array([[0.0, 0.0], [0.5, -0.25]], np.float32)
        np.testing.assert_allclose(agent.predict(seen, deterministic=True)[0], then["actions"], rtol=1e-5)
        assert [past.returns.tolist() for past in agent.history] == then["returns"]
        again = tesp.AdaptedAgent.load(agent.save(tmp_path / "agent.safetensors"))
        assert_identical(again.progress, agent.progress)
        environment = gymnasium.make("tesp/Point-v0", goal=(0.3, 0.2), max_episode_steps=6)
        assert agent.adapt(environment, 1, progress=False).fast_updates == 4
