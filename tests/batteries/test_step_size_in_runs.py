"""A run whose step size finds itself and whose parameters are averaged: all of it is stored and resumed."""

import pytest

from helpers.running import any_parameter_differs, assert_same_run, records, shared_learner, tiny_config
from helpers.trees import assert_close, assert_identical
from tesp import runs
from tesp.adaptation.step_size import averaged
from tesp.evaluation.protocol import Evaluator
from tesp.storage.checkpoint import Checkpoints, initial_state

DECAY = 0.9
OPTIONS = {
    "learning_rate_schedule": "adaptive",
    "learning_rate": 1e-2,
    "learning_rate_range": (1e-5, 1.0),
    "parameter_average": DECAY,
    "early_loss_weight": 0.3,
    "early_loss_final": 0.5,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of four meta-updates, every state that it stored, and the parameters that it evaluated."""
    folder, stored, judged = tmp_path_factory.mktemp("averaged") / "run", [], []
    save, evaluate = Checkpoints.save, Evaluator.evaluate

    def noting_save(self, state, score=None):
        stored.append(state)
        return save(self, state, score)

    def noting_evaluate(self, parameters, *arguments, **options):
        judged.append(parameters)
        return evaluate(self, parameters, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tesp.building.build_learner", shared_learner)
        patch.setattr(Checkpoints, "save", noting_save)
        patch.setattr(Evaluator, "evaluate", noting_evaluate)
        runs.train(tiny_config(**OPTIONS), folder)
    return folder, stored, judged


def test_interrupted_and_resumed_it_ends_the_same(whole, tmp_path, monkeypatch):
    """Bit for bit; with a ceiling and weights that know the length of the whole run."""
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    folder, done = tmp_path / "run", []
    save = Checkpoints.save

    def interrupted(self, state, score=None):
        save(self, state, score)
        done.append(state.meta_update)
        if state.meta_update == 3 and len(done) == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            runs.train(tiny_config(**OPTIONS), folder)
    assert len(records(folder, "train")) == 3
    runs.resume(folder)
    assert_same_run(folder, whole[0])


def test_the_step_size_is_found(whole):
    """From the share of admissible epochs that the records tell."""
    step, config = OPTIONS["learning_rate"], tiny_config(**OPTIONS)
    low, high = config.method.meta.learning_rate_range
    for done, record in enumerate(records(whole[0], "train"), 1):
        assert record["step_size"] == pytest.approx(step)
        share = record["admissible_share"]
        factor = 0.85 if share < 0.6 else 1.1 if share == 1 else 1.0
        step = min(step * factor, low + (high - low) * (1 - done / 4))
    assert len({record["step_size"] for record in records(whole[0], "train")}) > 1


def test_the_average_is_what_is_evaluated_and_saved(whole, monkeypatch):
    folder, stored, judged = whole
    states = {state.meta_update: state for state in stored}
    assert sorted(states) == [0, 1, 2, 3, 4]
    expected = states[0].method.parameters
    for done in range(1, 5):
        # Fresh parameters have no part in it.
        expected = averaged(expected, states[done].method.parameters, DECAY, done - 1)
        assert_close(states[done].method.average, expected, rtol=1e-6)
    for parameters, done in zip(judged, (0, 2, 4), strict=True):
        assert_identical(parameters, states[done].method.average)
    last = states[4].method
    assert any_parameter_differs(last.average, last.parameters)
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    for loaded in (runs.load_run(folder, "latest"), runs.load(folder, "latest")):
        assert not any_parameter_differs(loaded.parameters, last.average)


def test_a_run_without_an_average_keeps_none():
    config = tiny_config(**OPTIONS | {"parameter_average": 0.0})
    method = shared_learner(config).method
    state = initial_state(method, 0).method
    assert state.average is None
    assert method.parameters(state, evaluated=True) is state.parameters
    assert state.step_size == OPTIONS["learning_rate"]
