"""A policy that the embedding modulates, in tiny runs of every method that has an embedding."""

import jax
import numpy as np
import pytest

import tesp
from helpers.running import any_parameter_differs, records, shared_learner, tiny_config
from helpers.running import tesp as command
from tesp.building import build_family, build_method
from tesp.networks.policy import ModulatedPolicy, Policy


@pytest.mark.parametrize("name", ["tesp", "tesp-v2", "adapt-sv", "oracle", "maml"])
@pytest.mark.parametrize("conditioning", ["concatenate", "modulate"])
def test_the_policy_is_the_configured_one(name, conditioning):
    # MAML's policy is conditioned on nothing, and has no such option.
    option = {} if name == "maml" else {"conditioning": conditioning}
    config = tiny_config(algorithm=name, **option)
    algorithm = build_method(config, build_family(config)).algorithm
    parameters = jax.eval_shape(algorithm.init, jax.random.key(0))
    policy = algorithm.policy(parameters.adapted, parameters.shared)
    assert isinstance(policy, ModulatedPolicy if conditioning == "modulate" and name != "maml" else Policy)


def test_another_conditioning_is_refused():
    words = ("train", "point", "--preset", "quick", "--conditioning", "multiply")
    refused = command(*words)
    assert refused.code == 2
    assert "multiply" in refused.err


@pytest.mark.parametrize("name", ["tesp", "adapt-sv", "oracle"])
def test_trains(name, tmp_path, monkeypatch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    config = tiny_config(algorithm=name, conditioning="modulate", meta_updates=1, evaluate_every=1, kl_bound=10.0)
    run = tesp.train(config, tmp_path / "run")
    start = jax.jit(run.learner.method.algorithm.init)(jax.random.key(0))
    for part in ("hidden", "scale", "shift", "output"):
        shared = getattr(run.parameters.shared, part), getattr(start.shared, part)
        assert any_parameter_differs(*shared), part
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.parameters))
    assert records(tmp_path / "run", "train")[0]["epoch_kept"] > 0
