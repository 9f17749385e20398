"""What the name of an algorithm stands for: values it implies, values of a preset, options it has no use for."""

import dataclasses
import json

import jax
import pytest

import tesp
from helpers.preset_rows import ROWS
from helpers.running import tesp as command
from helpers.running import tiny_config
from tesp.building import build_family, build_learner
from tesp.compare import at_equal_experience
from tesp.config import from_json, override, preset_config, to_json, value_of, values_of
from tesp.methods.gradient.maml import MAML
from tesp.methods.gradient.tesp import TESP
from tesp.methods.registry import ABLATIONS, METHODS, absent_from, options_of
from tesp.networks.policy import Policy
from tesp.registering import register_method
from tesp.tasks import registry
from tesp.tasks.point import PointFamily

#: Those that adapt without a warm-up round.
WITHOUT_WARM_UP = ("maml", "meta-sgd", "adapt-sv", "cavia", "promp", "e-maml", "maesn")
#: Those that remember, and adapt by acting.
REMEMBERING = ("rl2", "varibad")
NAMES = ["tesp", *WITHOUT_WARM_UP, "tesp-set", "oracle", *REMEMBERING, *(f"tesp-v{number}" for number in range(1, 6))]
#: Those that adapt by gradients.
GRADIENT = [name for name in NAMES if name not in REMEMBERING]
OPTIONS = {"buffer": "all", "adapt_policy": True, "fast_update": False, "fixed_rate": True}


def learner_of(config):
    return build_learner(config, build_family(config))


def register(name, method, monkeypatch):
    """Until the test is over."""
    monkeypatch.setitem(METHODS, name, None)
    del METHODS[name]
    assert register_method(name, method) is method


def test_these_are_the_names():
    assert list(METHODS) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("family", "preset"), ROWS)
def test_every_algorithm_is_built_from_every_preset_and_stored(family, preset, name):
    config = preset_config(family, preset, name)
    assert (config.family, config.preset, config.algorithm) == (family, preset, name)
    assert from_json(to_json(config)) == config
    method = learner_of(config).method
    if name not in GRADIENT:
        assert jax.tree.leaves(jax.eval_shape(lambda: method.parameters(method.init(jax.random.key(0)))))
        return
    made = method.algorithm
    parameters = jax.eval_shape(made.init, jax.random.key(0))
    of_every_task = len(jax.tree.leaves(parameters.adapted)) > 0
    assert of_every_task == (name != "oracle")
    assert (len(jax.tree.leaves(parameters.shared)) == 0) == made.adapts_policy


class TestAblations:
    @pytest.mark.parametrize(
        ("name", "option", "value"),
        [
            ("tesp-v1", "buffer", "all"),
            ("tesp-v2", "adapt_policy", True),
            ("tesp-v3", "embedding_penalty", 0.0),
            ("tesp-v4", "fast_update", False),
            ("tesp-v5", "fixed_rate", True),
        ],
    )
    def test_a_name_stands_for_its_option(self, name, option, value):
        config = preset_config("point", "quick", name)
        assert ABLATIONS[name] == {option: value}
        assert value_of(config, option) == value != value_of(preset_config("point", "quick"), option)
        assert preset_config("point", "quick", name, **{option: value}) == config
        # And for nothing else: with the option alone TESP is the same method.
        alone = preset_config("point", "quick", **{option: value})
        assert dataclasses.replace(config, algorithm="tesp") == alone
        assert override(config, algorithm="tesp") == preset_config("point", "quick"), "TESP is no ablation of itself"

    @pytest.mark.parametrize(
        ("name", "option", "value"),
        [
            ("tesp-v1", "buffer", "best"),
            ("tesp-v2", "adapt_policy", False),
            ("tesp-v3", "embedding_penalty", 0.01),
            ("tesp-v4", "fast_update", True),
            ("tesp-v5", "fixed_rate", False),
            ("oracle", "fast_updates", 3),
            ("cavia", "learned_start", True),
            ("cavia", "fixed_rate", False),
            ("promp", "second_order", False),
            ("promp", "inner_loss", "log_probability"),
        ],
    )
    def test_a_contradiction_names_option_and_algorithm(self, name, option, value):
        with pytest.raises(tesp.ConfigurationError, match=f"{option} = {value!r} is not possible .* '{name}'"):
            preset_config("point", "quick", name, **{option: value})

    @pytest.mark.parametrize(
        ("name", "taken_away"),
        [
            ("tesp", (False, False, True, 0.001)),
            ("tesp-v1", (True, False, True, 0.001)),
            ("tesp-v2", (False, True, True, 0.001)),
            ("tesp-v3", (False, False, True, 0.001)),
            ("tesp-v4", (False, False, False, 0.0)),
            ("tesp-v5", (False, False, False, 0.001)),
        ],
    )
    def test_what_becomes_of_the_algorithm(self, name, taken_away):
        made = learner_of(preset_config("point", "quick", name)).method.algorithm
        assert (made.keep_all, made.adapts_policy, made.learned_rates, made.initial_rate) == taken_away

    @pytest.mark.parametrize("name", ["maml", "meta-sgd", "adapt-sv", "oracle"])
    @pytest.mark.parametrize("option", OPTIONS)
    def test_other_methods_have_none(self, name, option):
        if (name, option) == ("adapt-sv", "fixed_rate"):
            assert option in options_of(name), "with which it is CAVIA"
            return
        with pytest.raises(tesp.ConfigurationError, match=f"{option} is no option of the algorithm '{name}' .*tesp-v1"):
            preset_config("point", "quick", name, **{option: OPTIONS[option]})


class TestWhatHasNoMeaning:
    @pytest.mark.parametrize("name", NAMES)
    def test_every_option_that_a_method_does_not_have_is_refused_with_those_that_it_has(self, name):
        """From Python, in whatever way, and from the command line; even with the value that it has anyway."""
        plain, values = preset_config("point", "quick", name), {}
        for other in (*REMEMBERING, "tesp"):
            values |= values_of(preset_config("point", "paper", other))
        assert absent_from(name)
        for option in sorted(absent_from(name)):
            said = f"{option} is no option of the algorithm '{name}' .*'{name}' has: .*{next(iter(options_of(name)))}"
            with pytest.raises(tesp.ConfigurationError, match=said):
                preset_config("point", "quick", name, **{option: values[option]})
            with pytest.raises(tesp.ConfigurationError, match=said):
                override(plain, **{option: values[option]})
            flag = f"--{option.replace('_', '-')}"
            refused = command("train", "point", "--preset", "quick", "--algorithm", name, flag, "1")
            assert f"{option} is no option of the algorithm '{name}'" in refused.sentence()

    @pytest.mark.parametrize("name", NAMES)
    def test_help_shows_the_options_that_a_method_has_and_no_others(self, name):
        text = command("train", "point", "--preset", "quick", "--algorithm", name, "--help").out
        shown = {
            word.strip(",│").removeprefix("--").replace("-", "_") for word in text.split() if word.startswith("--")
        }
        assert not shown & absent_from(name)
        named = {f"no_{option}" if f"no_{option}" in shown else option for option in options_of(name)}
        assert named <= shown

    @pytest.mark.parametrize("name", NAMES)
    def test_what_is_stored_holds_them_and_no_others(self, name):
        stored = json.loads(to_json(preset_config("point", "quick", name)))["method"]
        assert {option for group in stored.values() for option in group} == options_of(name).keys()

    @pytest.mark.parametrize("name", sorted(set(GRADIENT) - {"oracle"}))
    def test_a_preset_gives_all_methods_the_same_weight(self, name):
        weight = preset_config("wheeled", "quick", name).method.meta.early_loss_weight
        assert weight == preset_config("wheeled", "quick").method.meta.early_loss_weight > 0

    @pytest.mark.parametrize("name", NAMES)
    def test_episodes_in_place_of_a_warm_up_round(self, name):
        if name in WITHOUT_WARM_UP:
            assert learner_of(preset_config("point", "quick", name, extra_episodes=True)).method.plan.twice
        else:
            assert "extra_episodes" in absent_from(name)

    def test_episodes_to_adapt_on_where_nothing_adapts(self):
        with pytest.raises(tesp.ConfigurationError, match="extra_episodes is not possible"):
            learner_of(preset_config("point", "quick", "maml", extra_episodes=True, fast_updates=0))


@pytest.mark.parametrize("name", NAMES)
def test_equal_experience_is_for_those_without_a_warm_up_round_that_adapt(name):
    config = tiny_config(algorithm=name)
    given = at_equal_experience(config)
    extra = name in WITHOUT_WARM_UP
    assert given == (override(config, extra_episodes=True) if extra else config)
    learner_of(given)
    if "fast_updates" in options_of(name):
        assert at_equal_experience(override(config, fast_updates=0)) == override(config, fast_updates=0)


class TestLayers:
    """A preset with values of its own for some algorithms."""

    @pytest.fixture(autouse=True)
    def layered(self, monkeypatch):
        own = {
            "tesp": {"clip": 0.3, "buffer": "best"},
            "maml": {"learning_rate": 0.005, "early_loss_weight": 0.1},
        }
        common = {"clip": 0.1, "learning_rate": 1e-3, "early_loss_weight": 0.2, "buffer_size": 6}

        class Layered(PointFamily):
            preset_values = {"quick": {**common, "algorithms": own}}  # noqa: RUF012

        monkeypatch.setitem(registry._FACTORIES, "layered", Layered)

    @pytest.mark.parametrize(
        ("algorithm", "clip", "rate", "weight"),
        [
            ("adapt-sv", 0.1, 1e-3, 0.2),  # the preset
            ("meta-sgd", 0.1, 1e-3, 0.2),
            ("maml", 0.1, 0.005, 0.1),  # what the preset has for it
            ("tesp", 0.3, 1e-3, 0.2),
            ("tesp-v5", 0.3, 1e-3, 0.2),  # an ablation takes TESP's
            ("tesp-v2", 0.3, 1e-3, 0.2),
        ],
    )
    def test_each_goes_before_the_one_above(self, algorithm, clip, rate, weight):
        config = preset_config("layered", "quick", algorithm)
        assert (config.method.meta.clip, config.method.meta.learning_rate, config.method.meta.early_loss_weight) == (
            clip,
            rate,
            weight,
        )
        if "buffer_size" in options_of(algorithm):
            assert config.method.experience.buffer_size == 6
        assert from_json(to_json(config)) == config

    def test_the_users_values_go_before_all(self):
        for algorithm in ("adapt-sv", "meta-sgd", "maml", "tesp", "tesp-v2"):
            config = preset_config("layered", "quick", algorithm, early_loss_weight=0.7, clip=0.4)
            assert (config.method.meta.early_loss_weight, config.method.meta.clip) == (0.7, 0.4)

    def test_what_a_name_stands_for_goes_before_the_preset(self):
        assert preset_config("layered", "quick", "tesp-v1").method.ablation.buffer == "all"

    def test_other_presets_have_none(self):
        assert (
            preset_config("layered", "paper", "maml").method.meta == preset_config("point", "paper", "maml").method.meta
        )

    def test_presets_stay_as_they_are(self):
        first = preset_config("layered", "quick", "maml")
        assert preset_config("layered", "quick", "maml") == first


class TestAPolicyOfAnotherKind:
    class Plain(MAML):
        def policy(self, adapted, shared):
            return lambda observation, embedding: (observation, embedding)

    def test_is_refused_before_anything_is_trained(self, monkeypatch):
        register("plain", self.Plain, monkeypatch)
        config = preset_config("point", "quick", "plain")
        with pytest.raises(
            tesp.ConfigurationError, match=r"'plain' has the policy function, which must be a tesp\.networks"
        ):
            learner_of(config)

    class Tuples(Policy):
        def respond(self, observation, conditioned):
            return tuple(super().respond(observation, conditioned))

    class Pairs(MAML):
        def draw_policy(self, key):
            drawn = super().draw_policy(key)
            return TestAPolicyOfAnotherKind.Tuples(drawn.hidden, drawn.output)

    def test_one_that_responds_with_something_else_is_refused_too(self, monkeypatch):
        register("pairs", self.Pairs, monkeypatch)
        with pytest.raises(tesp.ConfigurationError, match=r"responds with a tuple, which must be a tesp\.dis"):
            learner_of(preset_config("point", "quick", "pairs"))


def test_tesp_under_another_name_has_its_ablations(monkeypatch):
    register("mine", TESP, monkeypatch)
    assert learner_of(preset_config("point", "quick", "mine", buffer="all")).method.algorithm.keep_all
