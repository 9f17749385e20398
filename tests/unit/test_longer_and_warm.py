"""Runs that are trained longer than first configured, and runs that begin with what another one learned."""

import jax
import numpy as np
import pytest

import tesp
from helpers.running import (
    any_parameter_differs,
    assert_same_run,
    files,
    options,
    records,
    shared_learner,
    state,
    tiny_config,
)
from helpers.running import tesp as command
from helpers.trees import assert_identical
from tesp import runs


@pytest.fixture(autouse=True)
def _shared(monkeypatch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)


class TestLonger:
    def test_a_finished_run_goes_on_as_one_of_that_length_would_have(self, run, tmp_path):
        # Its schedules do not depend on the length.
        done = command("resume", run, "--meta-updates", "6")
        assert done.code == 0, done.err
        straight = runs.train(tiny_config(meta_updates=6), tmp_path / "straight").folder.path
        assert_same_run(run, straight)
        assert runs.load_run(run).config.schedule.meta_updates == 6
        # It stays so long.
        assert runs.is_finished(run)

    def test_from_python(self, run):
        assert tesp.resume(run, meta_updates=5).state.meta_update == 5
        assert [record["meta_update"] for record in records(run, "train")] == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize(("given", "said"), [(3, "has 4 already; give that or more"), (-1, "meta_updates = -1")])
    def test_lengths_that_are_not_possible_change_nothing(self, run, given, said):
        before = files(run)
        assert said in command("resume", run, f"--meta-updates={given}").sentence()
        assert files(run) == before


class TestWarm:
    @pytest.fixture
    def exported(self, reference, tmp_path):
        return tesp.load(reference.path, "latest").save(tmp_path / "learner.safetensors")

    @pytest.mark.parametrize("source", ["run", "file"])
    def test_begins_with_the_parameters_and_nothing_else(self, reference, exported, tmp_path, source):
        given = reference.path if source == "run" else exported
        folder = tmp_path / "warm"
        done = command("train", "point", *options(seed=5, meta_updates=1), "--from", given, "--output", folder)
        assert done.code == 0, done.err
        first = state(folder, "0")
        wanted = tesp.load(given).parameters
        assert_identical(first.method.parameters, jax.tree.map(np.asarray, wanted))
        fresh = shared_learner(tiny_config()).method.init(jax.random.key(5))
        assert_identical(jax.tree.map(np.asarray, fresh.optimiser_state), first.method.optimiser_state)
        assert first.method.step_size == fresh.step_size
        assert any_parameter_differs(state(folder).method.parameters, first.method.parameters)

    def test_a_run_that_was_killed_at_once_still_knows_where_it_began(self, exported, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr("tesp.runs.starting.train_loop", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                tesp.train(tiny_config(seed=5, meta_updates=1), tmp_path / "killed", start=exported)
        tesp.resume(tmp_path / "killed")
        tesp.train(tiny_config(seed=5, meta_updates=1), tmp_path / "whole", start=exported)
        assert_same_run(tmp_path / "killed", tmp_path / "whole")

    def test_shapes_that_do_not_fit_are_named_and_leave_nothing(self, exported, tmp_path):
        sizes = options(policy_units=(7, 7))
        refused = command("train", "point", *sizes, "--from", exported, "--output", tmp_path / "run").sentence()
        assert "Training cannot begin from" in refused
        assert "hidden[0].weight: (2, 8) there, (2, 7) here" in refused
        assert not (tmp_path / "run").exists()

    def test_another_method_does_not_fit(self, exported, tmp_path):
        with pytest.raises(tesp.ConfigurationError, match="a learner of the method 'tesp'"):
            tesp.train(tiny_config(algorithm="maml"), tmp_path / "run", start=exported)

    def test_what_is_no_learner(self, tmp_path):
        (tmp_path / "text").write_text("x")
        for given in (tmp_path / "nothing", tmp_path / "text"):
            with pytest.raises(tesp.RunFolderError):
                tesp.train(tiny_config(), tmp_path / "run", start=given)
        assert not (tmp_path / "run").exists()
