"""What the benchmarks count and refuse; what they measure is no matter for tests."""

import importlib
import sys
from pathlib import Path

import pytest

from helpers.running import TINY

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def sizes(load, **other):
    """One of everything, so that operations can be counted on the fingers."""
    given = dict.fromkeys(
        ("tasks", "episodes", "buffer", "horizon", "observation", "action", "embedding", "encoder_units"), 1
    )
    return load("measuring").Sizes(
        **{**given, "policy_units": (1,), "fast_updates": 1, "epochs": 1, "early_rounds": False, **other}
    )


def test_operations_of_the_encoder(load):
    floor, one = load("floor"), sizes(load)
    # Three gates, each with three inputs (observation, action, reward) and one state, then the output layer.
    assert floor.encoder_forward_flops(one) == 2 * (3 * (3 + 1) + 1)
    # Backward: input weights 9, recurrent weights 3, state 3, output weight 1, last state 1.
    assert floor.encoder_gradient_flops(one) == floor.encoder_forward_flops(one) + 2 * (9 + 3 + 3 + 1 + 1)
    many = sizes(load, tasks=2, buffer=3, horizon=5)
    assert floor.encoder_forward_flops(many) == 2 * 3 * (5 * 24 + 2)


def test_operations_of_the_policy(load):
    floor, one = load("floor"), sizes(load)
    # Observation to unit, unit to mean and log standard deviation; and the embedding, once per task.
    assert floor.policy_forward_flops(one) == 2 * (1 + 2) + 2
    # Back to the embedding: through the output layer, and to it.
    assert floor.policy_embedding_gradient_flops(one) == floor.policy_forward_flops(one) + 2 * 2 + 2
    # And the gradients of the three weights and of the embedding's.
    assert floor.policy_gradient_flops(one) == floor.policy_embedding_gradient_flops(one) + 2 * (1 + 2) + 2
    assert floor.policy_forward_flops(sizes(load, episodes=4, horizon=3)) == 12 * 6 + 2


def test_operations_of_a_meta_update(load):
    floor, one = load("floor"), sizes(load, fast_updates=3, epochs=20)
    parts = floor.operations(one)
    encoder, policy = floor.encoder_gradient_flops(one), floor.policy_gradient_flops(one)
    assert parts["acting"] == 5 * floor.policy_forward_flops(one)
    assert parts["fast_updates"] == 3 * (encoder + floor.policy_embedding_gradient_flops(one))
    assert parts["epochs"] == 20 * (encoder + policy)
    early = floor.operations(sizes(load, fast_updates=3, epochs=20, early_rounds=True))
    assert early["epochs"] == 20 * (encoder + 5 * policy)
    least = floor.least_time(one, gflops=1e-9, steps_per_second=1.0)
    assert least["seconds"] == pytest.approx(sum(parts.values()) + 5)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_fitted_exponents(load, power):
    points = [{"value": x, "seconds": 3 * x**power} for x in (5, 10, 20, 40)]
    assert load("scaling")._slope(points, "seconds") == pytest.approx(power)
    assert load("scaling")._slope([*points, {"value": 80, "seconds": None}], "seconds") is None


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["floor.py", "nowhere"], "nowhere"),
        (["floor.py", "reacher2", "--set", "engine=closed-form"], "engine"),
        (["compare.py", "--parts", "everything"], "everything"),
        (["scaling.py", "--sizes", "colour"], "colour"),
        (["meta_update.py", "nowhere"], "nowhere"),
        (["methods.py", "steps", "nowhere"], "nowhere"),
        (["meta_update.py", "point", "--arriving", "2"], "arriving = 2.0"),
    ],
)
def test_what_is_not_possible_is_said_in_one_sentence(load, monkeypatch, capsys, command, said):
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as stopped:
        load("measuring").run(load(command[0].removesuffix(".py")).main, lambda task: task)
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_what_is_compared_takes_turns(load):
    turns = []
    seconds = load("measuring").alternately({name: lambda name=name: turns.append(name) for name in "ab"}, 2)
    assert turns == ["a", "b"] * 3
    assert [len(found) for found in seconds.values()] == [2, 2]


def test_meta_updates_of_a_policy_that_arrives_are_shorter(load):
    overrides = TINY | {"horizon": 80}
    task = {"family": "point", "preset": "quick", "overrides": overrides, "updates": 1, "arriving": 1.0}
    (update,) = load("meta_update")._work(task)["meta_updates"]
    assert {"seconds", "cpu_seconds", "seconds_physics", "seconds_meta_update"} <= update.keys()
    whole = 5 * 80 * TINY["tasks_per_update"] * TINY["episodes_per_round"]
    assert update["steps_sampled"] < 0.8 * whole


def test_gradients_of_trials_are_those_of_the_library(load):
    import jax

    from tesp.networks.gru import GRU

    gru = GRU.create(jax.random.key(0), 3, 4)
    inputs, start = jax.random.normal(jax.random.key(1), (2, 5, 3)), jax.numpy.zeros((2, 4))
    valid = jax.numpy.arange(5) < jax.numpy.array([[3], [5]])
    plain, ours = (jax.jit(f)(gru, start, inputs, valid) for f in (load("methods")._plain_states, GRU.states))
    assert jax.numpy.allclose(plain, ours, atol=1e-6)
