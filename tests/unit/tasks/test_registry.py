import dataclasses
from typing import Unpack

import gymnasium
import pytest

from tesp.building import build_family
from tesp.config import preset_config
from tesp.environments import CARDS, register_environments
from tesp.errors import ConfigurationError
from tesp.presets import presets_of
from tesp.tasks import registry
from tesp.tasks.goals.goals import GoalOptions
from tesp.tasks.point import PointFamily
from tesp.tasks.registry import families, make_family, option_names, register_family

OF_GOALS = ["point", "wheeled", "ant", "reacher2", "reacher4"]
CLASSIC = {
    "half-cheetah-velocity-v1": "tesp/HalfCheetahVelocity-v1",
    "half-cheetah-direction-v1": "tesp/HalfCheetahDirection-v1",
    "ant-direction-v1": "tesp/AntDirection-v1",
    "ant-goal-v1": "tesp/AntGoal-v1",
    "humanoid-direction-v1": "tesp/HumanoidDirection-v1",
    "walker-parameters-v1": "tesp/WalkerParameters-v1",
    "hopper-parameters-v1": "tesp/HopperParameters-v1",
}


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))


def test_names():
    assert families() == [*OF_GOALS, *CLASSIC]
    assert [make_family(name).name for name in families()] == families()


def test_unknown_family():
    with pytest.raises(ConfigurationError) as caught:
        make_family("wheel")
    assert "'wheel'" in str(caught.value)
    assert "did you mean 'wheeled'" in str(caught.value)
    assert all(name in str(caught.value) for name in families())


def test_unknown_option():
    with pytest.raises(ConfigurationError) as caught:
        make_family("ant", when_unhealth="continue")
    assert "did you mean 'when_unhealthy'" in str(caught.value)
    for name in ("horizon", "inner_radius", "boundary_radius", "outer_radius", "spacing", "tasks_per_set"):
        assert name in str(caught.value)
    with pytest.raises(ConfigurationError, match="no option 'when_unhealthy'"):
        make_family("point", when_unhealthy=None)


def test_a_family_of_ones_own():
    register_family("mine", PointFamily)
    register_family("mine", PointFamily)
    assert families()[-1] == "mine"
    assert make_family("mine", horizon=3) == PointFamily(horizon=3)
    register_family("anything", lambda **options: PointFamily(horizon=len(options)))
    assert make_family("anything", a=1, b=2).horizon == 2


def test_options_of_a_typed_dictionary_are_named_like_others():
    def far(horizon: int = 9, **options: Unpack[GoalOptions]):
        return PointFamily(horizon=horizon, **options)

    assert option_names(far) == ["horizon", "inner_radius", "boundary_radius", "outer_radius", "spacing"]
    assert option_names(lambda **options: options) is None
    register_family("far", far)
    assert make_family("far", outer_radius=3.0) == PointFamily(horizon=9, outer_radius=3.0)
    with pytest.raises(ConfigurationError, match=r"no option 'spacin' .did you mean 'spacing'"):
        make_family("far", spacin=0.1)


def test_names_are_not_taken_over():
    with pytest.raises(ConfigurationError, match="'ant' is registered already"):
        register_family("ant", PointFamily)
    with pytest.raises(ConfigurationError, match="not empty"):
        register_family("", PointFamily)


def test_environments_are_registered_once():
    register_environments()
    before = gymnasium.registry["tesp/Ant-v0"]
    register_environments()
    assert gymnasium.registry["tesp/Ant-v0"] is before
    limits = {key: gymnasium.registry[key].max_episode_steps for key in (card.environment for card in CARDS.values())}
    assert limits == {
        "tesp/Point-v0": 100,
        "tesp/Wheeled-v0": 200,
        "tesp/Ant-v0": 200,
        "tesp/Reacher2-v0": 200,
        "tesp/Reacher4-v0": 200,
        **dict.fromkeys(CLASSIC.values(), 200),
    }


@pytest.mark.parametrize("name", CARDS)
def test_cards_say_what_families_are(name):
    family, card = make_family(name), CARDS[name]
    sizes = (family.observation_size, family.action_size, family.horizon)
    assert sizes == (card.observation_size, card.action_size, card.horizon)


@pytest.mark.parametrize("name", OF_GOALS)
def test_an_instance_can_be_given_other_options(name, monkeypatch):
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    register_family("mine", make_family(name, horizon=9))
    changed = make_family("mine", spacing=0.04, tasks_per_set=7)
    assert changed.options == {**make_family(name).options, "horizon": 9, "spacing": 0.04, "tasks_per_set": 7}
    assert make_family("mine", **changed.options) == changed
    for preset in presets_of(make_family("mine")):
        config = preset_config("mine", preset)
        assert build_family(config).simulate(2).positions.shape == (2, 2)


def test_an_instance_of_an_unknown_function_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    register_family("mine", dataclasses.replace(make_family("wheeled"), made_by=None))
    assert make_family("mine", horizon=5).horizon == 5
    with pytest.raises(ConfigurationError, match=r"spacing of the family 'wheeled' cannot be changed.*made_by"):
        make_family("mine", spacing=0.04)
