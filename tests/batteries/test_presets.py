"""Every preset of every family; a new family or preset joins by itself."""

import dataclasses
import math

import jax
import pytest

from helpers.preset_rows import ROWS
from tesp.building import build_family, build_learner, build_method
from tesp.config import from_json, override, preset_config, to_json
from tesp.tasks.registry import families

#: Units of the policy and of the encoder, size of the embedding and weight of its penalty, as the paper has them.
TABLE = {
    "wheeled": ((256, 256), 256, 8, 0.01),
    "ant": ((512, 512), 256, 32, 0.01),
    "reacher2": ((256, 256), 256, 8, 0.005),
    "reacher4": ((512, 512), 256, 16, 0.005),
    "point": ((64, 64), 64, 8, 0.01),
}

#: The same of the classic tasks, which are not in the paper.
CLASSIC = {
    **dict.fromkeys(("half-cheetah-velocity-v1", "half-cheetah-direction-v1"), ((256, 256), 256, 8, 0.01)),
    **dict.fromkeys(("walker-parameters-v1", "hopper-parameters-v1"), ((256, 256), 256, 8, 0.01)),
    **dict.fromkeys(("ant-direction-v1", "ant-goal-v1", "humanoid-direction-v1"), ((512, 512), 256, 32, 0.01)),
}


def size(units, encoder, embedding, observation, action, modulated):
    """Numbers in the encoder and in the policy."""
    sizes = [observation + (0 if modulated else embedding), *units]
    policy = sum((a + 1) * b for a, b in zip(sizes, [*units, 2 * action], strict=True))
    if modulated:
        policy += 2 * embedding * sum(units)
    gru = 3 * encoder * (observation + action + 1) + 3 * encoder**2 + 3 * encoder + encoder
    return gru + (encoder + 1) * embedding, policy


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("name", "preset"), ROWS)
class TestEveryPreset:
    def test_can_be_built(self, name, preset):
        config = preset_config(name, preset)
        family = build_family(config)
        assert (config.family, config.preset) == (name, preset)
        assert config.sampling.tasks_per_update <= family.tasks_per_set
        learner = build_learner(config, family)
        parameters = jax.eval_shape(learner.method.algorithm.init, jax.random.key(0))
        network = config.method.network
        encoder, policy = size(
            network.policy_units,
            network.encoder_units,
            network.embedding_size,
            family.observation_size,
            family.action_size,
            network.conditioning == "modulate",
        )
        assert (count(parameters.adapted), count(parameters.rates)) == (encoder, encoder)
        assert count(parameters.shared) == policy

    def test_survives_being_stored(self, name, preset):
        config = preset_config(name, preset)
        assert from_json(to_json(config)) == config
        changed = preset_config(name, preset, seed=3, policy_units=(5,), horizon=7)
        assert from_json(to_json(changed)) == changed != config

    def test_its_tasks_can_be_drawn(self, name, preset):
        family = build_family(preset_config(name, preset))
        assert {len(task_set.tasks) for task_set in family.sample_task_sets(0).values()} == {100}


def test_the_tables_have_every_family():
    assert {*TABLE, *CLASSIC} == set(families())


@pytest.mark.parametrize("name", CLASSIC)
def test_paper_presets_of_classic_tasks(name):
    config = preset_config(name, "paper")
    network = config.method.network
    sizes = (network.policy_units, network.encoder_units, network.embedding_size, config.method.meta.embedding_penalty)
    assert sizes == CLASSIC[name]
    assert config.sampling.round_budget == "steps"
    assert (config.algorithm, network.conditioning) == ("tesp", "concatenate")


@pytest.mark.parametrize("name", TABLE)
def test_paper_presets_have_the_numbers_of_the_paper(name):
    config = preset_config(name, "paper")
    family = build_family(config)
    network, meta, fast, sampling = config.method.network, config.method.meta, config.method.fast, config.sampling
    sizes = (network.policy_units, network.encoder_units, network.embedding_size, meta.embedding_penalty)
    assert sizes == TABLE[name]
    assert (sampling.episodes_per_round, config.method.experience.buffer_size, sampling.tasks_per_update) == (
        25,
        16,
        20,
    )
    assert sampling.round_budget == "steps"
    assert (fast.fast_updates, fast.initial_rate, fast.rate_bound, fast.inner_gradient_norm) == (3, 0.001, 0.1, 60)
    assert (meta.learning_rate, meta.epochs, meta.clip, meta.kl_bound) == (3e-4, 20, 0.15, 0.01)
    assert (config.method.estimation.discount, config.method.estimation.gae_lambda) == (0.99, 0.97)
    assert (family.horizon, family.tasks_per_set) == (100 if name == "point" else 200, 100)
    assert family.goals.spacing == (0.11 if name == "reacher4" else 0.10)
    assert config.schedule.evaluate_every == 25
    assert config.schedule.evaluation_tasks == 0
    assert all(value is None for value in dataclasses.asdict(config.task).values())


@pytest.mark.parametrize("name", TABLE)
def test_paper_presets_have_no_extras(name):
    config = preset_config(name, "paper")
    assert config.algorithm == "tesp"
    assert not config.method.fast.second_order
    assert config.method.network.conditioning == "concatenate"
    assert not config.method.meta.stop_at_kl_bound
    assert not config.method.meta.judge_last_epoch
    assert config.method.meta.parameter_average == 0
    assert config.method.meta.early_loss_weight == 0
    assert config.method.meta.learning_rate_schedule == "constant"
    assert config.method.estimation.normalise_advantages == "none"


@pytest.mark.parametrize("preset", ["quick", "small"])
@pytest.mark.parametrize("name", [*TABLE, *CLASSIC])
def test_all_methods_have_the_same_values(name, preset):
    """What differs from TESP is what the name stands for, and no step size is anybody's own.

    But for the point's methods that adapt a whole policy, whose rates begin larger.
    """
    tesp = preset_config(name, preset)
    assert tesp.method.meta.learning_rate_schedule == "adaptive"
    for algorithm in ("maml", "meta-sgd", "adapt-sv"):
        own = {"initial_rate": 0.05} if name == "point" and algorithm != "adapt-sv" else {}
        assert preset_config(name, preset, algorithm) == override(tesp, algorithm=algorithm, **own)


@pytest.mark.parametrize("name", [*TABLE, *CLASSIC])
@pytest.mark.parametrize("preset", ["quick", "small"])
def test_where_rates_take_the_gradient_of_the_first_epoch(name, preset):
    expected = "first_epoch" if name in CLASSIC else "every_epoch"
    for algorithm in ("tesp", "meta-sgd"):
        assert preset_config(name, preset, algorithm).method.meta.rates_gradient == expected
    assert preset_config(name, "paper").method.meta.rates_gradient == "every_epoch"
    assert preset_config(name, preset, "maml").method.meta.rates_gradient == "every_epoch"


@pytest.mark.parametrize("name", [*TABLE, *CLASSIC])
def test_small_is_quick_for_longer(name):
    quick, small = preset_config(name, "quick"), preset_config(name, "small")
    assert small.schedule.meta_updates > quick.schedule.meta_updates
    length = {"meta_updates": 9, "evaluate_every": 9, "evaluation_tasks": 9, "parameter_average": 0.0}
    settling = {"learning_rate_ceiling": "linear", "least_std": 0.0}
    assert override(small, **length, **settling, preset="quick") == override(quick, **length)
    assert small.method.network.least_std == (0.5 if name.startswith("reacher") or name in CLASSIC else 0.0)
    for remembering in ("rl2", "varibad"):
        assert preset_config(name, "small", remembering).method.network.least_std == 0.5
        assert preset_config(name, "quick", remembering).method.network.least_std == 0.0


@pytest.mark.parametrize(
    ("name", "penalty"), [("wheeled", 0.01), ("ant", 0.01), ("reacher2", 0.001), ("reacher4", 0.005)]
)
def test_paper_presets_of_adapt_sv_have_its_own_penalty(name, penalty):
    config = preset_config(name, "paper", "adapt-sv")
    assert config.method.meta.embedding_penalty == penalty
    assert config.method.network.embedding_size == TABLE[name][2]


def test_the_algorithm_is_that_of_the_configuration():
    config = preset_config("ant", "paper")
    algorithm = build_method(config, build_family(config)).algorithm
    assert (algorithm.observation_size, algorithm.action_size) == (29, 8)
    assert (algorithm.embedding_size, algorithm.policy_units) == (32, (512, 512))
