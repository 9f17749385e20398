import json

import pytest

import tesp
from helpers.running import as_json, options, tiny_config
from helpers.running import tesp as tesp_command
from tesp.adaptation.settings import MetaUpdateSettings
from tesp.building import build_family, build_learner
from tesp.config import Config, from_json, override, preset_config, to_json

IMPOSSIBLE = [
    ({"episodes_per_round": 0}, "episodes_per_round = 0"),
    ({"tasks_per_update": 0}, "tasks_per_update = 0"),
    ({"buffer_size": 0}, "buffer_size = 0"),
    ({"initial_rate": 0.2}, "initial_rate = 0.2 is not possible with rate_bound = 0.1"),
    ({"initial_rate": float("nan")}, "initial_rate = nan"),
    ({"fixed_rate": True, "fast_update": False}, "fixed_rate = True is not possible with fast_update = False"),
    ({"fast_updates": -1}, "fast_updates = -1"),
    ({"rate_bound": 0.0}, "rate_bound = 0.0"),
    ({"inner_gradient_norm": float("nan")}, "inner_gradient_norm = nan"),
    ({"epochs": 0}, "epochs = 0"),
    ({"tasks_at_once": -1}, "tasks_at_once = -1"),
    ({"learning_rate": 0.0}, "learning_rate = 0.0"),
    ({"clip": -0.1}, "clip = -0.1"),
    ({"kl_bound": 0.0}, "kl_bound = 0.0"),
    ({"embedding_penalty": -1.0}, "embedding_penalty = -1.0"),
    ({"epochs": 1, "judge_last_epoch": False}, "epochs = 1 is not possible without judge_last_epoch"),
    ({"early_loss_weight": float("nan")}, "early_loss_weight = nan"),
    ({"early_loss_weight": float("inf")}, "early_loss_weight = inf"),
    ({"early_loss_ratio": 1.5}, "early_loss_ratio = 1.5"),
    ({"early_loss_final": -0.1}, "early_loss_final = -0.1"),
    ({"parameter_average": 1.0}, "parameter_average = 1.0"),
    ({"learning_rate_range": (0.1, 0.01)}, r"learning_rate_range = \(0.1, 0.01\)"),
    ({"learning_rate": 0.5}, r"learning_rate = 0.5 is not possible with .*'adaptive' and learning_rate_range"),
    ({"learning_rate": 1e-6}, "learning_rate = 1e-06 is not possible with .*'adaptive'"),
    ({"discount": 1.5}, "discount = 1.5"),
    ({"gae_lambda": -0.1}, "gae_lambda = -0.1"),
    ({"policy_units": (8, 0)}, r"policy_units = \(8, 0\)"),
    ({"policy_units": ()}, "policy_units is empty"),
    ({"encoder_units": 0}, "encoder_units = 0"),
    ({"embedding_size": 0}, "embedding_size = 0"),
    ({"meta_updates": -1}, "meta_updates = -1"),
    ({"evaluation_tasks": -1}, "evaluation_tasks = -1"),
    ({"threads": -1}, "threads = -1"),
    ({"evaluate_every": 0}, "evaluate_every = 0"),
    ({"checkpoint_every": 0}, "checkpoint_every = 0"),
    ({"keep_checkpoints": 0}, "keep_checkpoints = 0"),
    ({"seed": -1}, "seed = -1"),
    ({"algorithm": "dreamer"}, "no algorithm 'dreamer'; known are: .*tesp"),
]


@pytest.mark.parametrize(("values", "said"), IMPOSSIBLE, ids=lambda x: "-".join(x) if isinstance(x, dict) else "")
def test_values_that_are_not_possible_are_named(values, said):
    with pytest.raises(tesp.ConfigurationError, match=said):
        preset_config("point", "quick", **values)


def test_all_that_is_wrong_is_said_at_once():
    """Of a configuration from Python and from the command line: in one group of fields, in several, of wrong kinds."""
    values = {"epochs": 0, "clip": -1.0, "meta_updates": -4, "policy_units": (0,), "seed": -3}
    parts = [
        "epochs = 0 is not possible; give 1 or more.",
        "clip = -1.0 is not possible; give a positive number.",
        "meta_updates = -4 is not possible; give 0 or more.",
        "policy_units = (0,) is not possible; give sizes from 1 to 32,768.",
        "seed = -3 is not possible; give an integer from 0 to 4294967295.",
    ]
    with pytest.raises(tesp.ConfigurationError) as error:
        preset_config("point", "quick", **values)
    assert sorted(str(error.value).replace(". ", ".\n").splitlines()) == sorted(parts)
    said = tesp_command("train", "point", *options(**values)).sentence()
    assert all(part in said for part in parts)
    compared = tesp_command("compare", "point", "--epochs", 0, "--meta-updates", -4).sentence()
    assert all(part in compared for part in (parts[0], parts[2]))
    with pytest.raises(tesp.ConfigurationError, match=r"epochs = 'a' .* clip = None .* meta_updates = \[1\] "):
        preset_config("point", "quick", epochs="a", clip=None, meta_updates=[1])
    # What follows is checked one by one again.
    with pytest.raises(tesp.ConfigurationError, match=r"^epochs = 0 is not possible; give 1 or more\.$"):
        MetaUpdateSettings(epochs=0, clip=-1.0)


def test_a_fixed_step_size_may_lie_outside_the_range_of_the_adaptive_one():
    assert (
        preset_config("point", "quick", learning_rate=0.5, learning_rate_schedule="constant").method.meta.learning_rate
        == 0.5
    )


def test_values_at_the_edge_are_possible():
    config = preset_config(
        "point", "quick", fast_updates=0, buffer_size=10, discount=1.0, gae_lambda=0.0, meta_updates=0
    )
    assert config.method.experience.buffer_size == config.sampling.episodes_per_round


def test_a_buffer_that_the_warm_up_round_cannot_fill():
    config = preset_config("point", "quick", buffer_size=11)
    with pytest.raises(tesp.ConfigurationError, match="buffer_size = 11 is not possible with episodes_per_round = 10"):
        build_learner(config, build_family(config))
    config = preset_config("point", "quick", "tesp-v1", buffer_size=11)
    build_learner(config, build_family(config))


def test_unknown_names():
    with pytest.raises(tesp.ConfigurationError, match=r"no family 'pont'.*'point'.*known are: point, "):
        preset_config("pont")
    with pytest.raises(tesp.ConfigurationError, match="no preset 'fast'; known are: paper, quick"):
        preset_config("point", "fast")
    with pytest.raises(tesp.ConfigurationError, match="no field 'buffersize'"):
        preset_config("point", buffersize=3)
    with pytest.raises(
        tesp.ConfigurationError, match="'learning_rate_decay' any more: it is 'learning_rate_schedule' now"
    ):
        preset_config("point", learning_rate_decay="linear")
    with pytest.raises(tesp.ConfigurationError, match="no field 'sampling'"):
        preset_config("point", sampling={})


def test_override_reaches_every_group_and_nothing_else():
    config = preset_config("point", "quick")
    changed = override(config, seed=3, spacing=0.2, clip=0.3, meta_updates=7)
    assert (changed.seed, changed.task.spacing, changed.method.meta.clip, changed.schedule.meta_updates) == (
        3,
        0.2,
        0.3,
        7,
    )
    back = override(changed, seed=0, spacing=None, clip=config.method.meta.clip, meta_updates=40)
    assert back == config


def test_options_of_the_family_reach_it():
    family = build_family(tiny_config(spacing=0.2))
    assert (family.horizon, family.tasks_per_set, family.spacing) == (6, 4, 0.2)
    assert build_family(Config()).horizon == 100


def test_an_option_that_the_family_does_not_have():
    with pytest.raises(tesp.ConfigurationError, match="'point' has no option 'engine'"):
        build_family(tiny_config(engine="closed-form"))


def test_the_learner_gets_its_settings():
    config = tiny_config()
    learner = build_learner(config, build_family(config))
    method = learner.method
    assert (learner.sampling, method.fast, method.meta) == (config.sampling, config.method.fast, config.method.meta)
    assert method.algorithm.initial_rate == config.method.fast.initial_rate
    assert (method.algorithm.policy_units, method.algorithm.encoder_units) == ((8,), 8)


class TestJson:
    def test_round_trip_of_values_far_from_the_defaults(self):
        config = tiny_config(
            seed=2**31,
            spacing=0.07,
            second_order=True,
            learning_rate=1e-7,
            learning_rate_range=(1e-8, 0.3),
            learning_rate_schedule="adaptive",
            conditioning="modulate",
        )
        assert from_json(to_json(config)) == config

    def stored(self, **changes):
        return json.dumps({**as_json(tiny_config()), **changes})

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"seed": "x"}, r"an integer is needed, not \"x\" @ \$\.seed"),
            ({"colour": 1}, "extra fields found .colour."),
            ({"seed": -1}, "seed = -1 is not possible"),
            ({"algorithm": "x"}, "There is no algorithm 'x'"),
            ({"sampling": {"episodes_per_round": 0}}, "episodes_per_round = 0 is not possible"),
            ({"method": {"meta": {"learning_rate_schedule": "cosine"}}}, "learning_rate_schedule"),
            ({"method": {"network": {"conditioning": "multiply"}}}, "conditioning"),
            ({"method": {"latent_size": 3}}, "extra fields found .latent_size."),
        ],
    )
    def test_what_cannot_be_read_is_named(self, changes, said):
        with pytest.raises(tesp.ConfigurationError, match=rf"The configuration cannot be read: .*{said}"):
            from_json(self.stored(**changes))

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "3"])
    def test_what_is_no_configuration(self, text):
        with pytest.raises(tesp.ConfigurationError, match="The configuration cannot be read"):
            from_json(text)
