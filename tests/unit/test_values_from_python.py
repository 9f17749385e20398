"""Whatever stands in a field of a configuration works, or is refused in one sentence that names the field."""

import random

import jax.numpy as jnp
import numpy as np
import pytest

import tesp
from helpers.fuzzing import FACTOR, refusal
from helpers.running import tiny_config
from tesp.building import build_family
from tesp.config import check_storable, common_fields, from_json, preset_config, to_json, values_of
from tesp.errors import ConfigurationError
from tesp.methods.registry import METHODS, options_of

VALUES = [
    *("3", "", b"x", None, True, [], {}, object(), [1, "a"], 1 + 2j),
    *(np.int32(3), np.float32(0.5), np.array([1, 2]), np.array("a"), jnp.asarray(2), jnp.asarray(0.5)),
    *(0, -1, 64, (64,), 1.5, 1e308, 2**63, 10**400, float("nan"), float("inf"), -float("inf")),
]
FAMILY = ("horizon", "tasks_per_set", "inner_radius", "boundary_radius", "outer_radius", "spacing", "engine")


def make(algorithm, values):
    config = preset_config("point", "quick", algorithm, **values)
    check_storable(config)
    assert from_json(to_json(config)) == config
    if values.keys() & set(FAMILY):
        build_family(config)
    return config


def test_every_field_with_every_value():
    """What is taken is of the field's kind."""
    algorithm = "tesp"
    names = sorted((common_fields() | set(options_of(algorithm))) - {"family", "preset"})
    tried = 0
    for name in names:
        for value in VALUES:
            tried += 1
            made = []
            said = refusal(lambda n=name, v=value, found=made: found.append(make(algorithm, {n: v})))
            if said is not None:
                assert name in said, (name, value, said)
                assert "\n" not in said
                assert len(said) < 600
            else:
                kept = values_of(made[0])[name]
                assert type(kept) in (int, float, bool, str, tuple, type(None)), (name, value, kept)
    assert tried > 1080


def test_several_fields_at_once():
    rng = random.Random(0)
    for _ in range(50 * FACTOR):
        algorithm = rng.choice(list(METHODS))
        names = sorted((common_fields() | set(options_of(algorithm))) - {"family", "preset"})
        given = {rng.choice(names): rng.choice(VALUES) for _ in range(rng.randint(1, 4))}
        refusal(lambda a=algorithm, g=given: make(a, g))


@pytest.mark.parametrize("position", ["family", "preset", "algorithm"])
@pytest.mark.parametrize("value", [3, None, b"point", ["point"], 1.5, "nothing like it"])
def test_names(position, value):
    names = {"family": "point", "preset": "quick", "algorithm": "tesp"} | {position: value}
    with pytest.raises(ConfigurationError) as error:
        preset_config(**names)
    assert position in str(error.value)


def test_numbers_of_numpy_and_jax_become_those_of_python():
    config = preset_config(
        "point",
        "quick",
        seed=np.int64(3),
        policy_units=np.array([8, 4]),
        meta_updates=jnp.asarray(7),
        learning_rate=np.float32(0.01),
        judge_last_epoch=np.bool_(False),
    )
    assert (config.seed, config.method.network.policy_units) == (3, (8, 4))
    assert type(config.schedule.meta_updates) is int
    assert type(config.method.meta.learning_rate) is float
    assert preset_config("point", "quick", policy_units=64).method.network.policy_units == (64,)


@pytest.mark.parametrize("seed", [2**32, 2**64, 10**400, -1])
def test_seeds_whose_random_numbers_would_be_those_of_another(seed):
    with pytest.raises(ConfigurationError, match=r"seed = .* is not possible; give an integer"):
        preset_config("point", "quick", seed=seed)


@pytest.mark.parametrize(
    "sizes",
    [
        {"policy_units": (2**15,) * 9},
        {"horizon": 10**12},
        {"tasks_per_set": 10**12},
        {"tasks_per_update": 10**12},
        {"episodes_per_round": 2**60},
        {"fast_updates": 10**9},
        {"algorithm": "varibad", "replay_trials": 10**9},
    ],
)
def test_sizes_that_fit_no_memory_are_refused_before_anything_is_written(tmp_path, sizes):
    with pytest.raises(ConfigurationError, match=r"needs at least [\d,.]+ GiB of memory .* and there are"):
        tesp.train(tiny_config(**sizes), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_sizes_that_no_array_can_have_are_refused_too(tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"A replay of replay_trials = [\d,]+ trials of [\d,]+ steps is more than"
    ):
        tesp.train(tiny_config(algorithm="varibad", horizon=10**17), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
