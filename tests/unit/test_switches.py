"""What a program has told JAX besides changes no result: weights stay in single precision, runs are the same."""

import jax
import numpy as np
import pytest

import tesp
from helpers.running import assert_same_run, shared_learner, tiny_config
from tesp.tasks.registry import make_family

SWITCHES = {
    "double precision": lambda: jax.enable_x64(True),
    "no broadcasting of ranks": lambda: jax.numpy_rank_promotion("raise"),
    "NaN raise": lambda: jax.debug_nans(True),
}


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning")
def test_training_adapting_and_files(reference, tmp_path, monkeypatch, switch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    with SWITCHES[switch]():
        run = tesp.train(tiny_config(), tmp_path / "run")
        assert {leaf.dtype for leaf in jax.tree.leaves(run.parameters)} == {np.dtype(np.float32)}
        learner = tesp.load(tmp_path / "run")
        env = lambda: make_family("point", horizon=6).environment((0.5, 0.5))  # noqa: E731
        agent = learner.adapt(env, 1, episodes=2, progress=False)
        again = tesp.AdaptedAgent.load(agent.save(tmp_path / "agent.safetensors"))
        observation = np.array([0.1, 0.2])
        actions = [one.predict(observation, deterministic=True)[0] for one in (agent, again)]
    assert {action.dtype for action in actions} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(*actions)
    assert_same_run(tmp_path / "run", reference.path)
