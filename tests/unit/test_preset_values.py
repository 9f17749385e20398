"""What presets are made of."""

from typing import ClassVar

import pytest

from tesp.config import preset_config
from tesp.errors import ConfigurationError
from tesp.presets import AS_PUBLISHED, PAPER, QUICK, SMALL, merged, presets_of
from tesp.tasks import registry
from tesp.tasks.point import PointFamily


def test_given_values_go_before_those_of_the_presets():
    quick = {"learning_rate": 5e-3, "horizon": 9, "meta_updates": 7}
    given = {"quick": quick, "paper": {"epochs": 2}, "own": {"epochs": 3}}
    assert merged({}) == {"paper": PAPER, "quick": QUICK, "small": SMALL}
    assert merged(given) == {
        "paper": {**PAPER, "epochs": 2},
        "quick": {**QUICK, **quick},
        "small": {**SMALL, "learning_rate": 5e-3, "horizon": 9},
        "own": {"epochs": 3},
    }
    assert "horizon" not in QUICK


def test_values_of_single_methods_are_given_method_by_method():
    of_methods = {"cavia": {"initial_rate": 0.5}, "maml": {"clip": 0.3}}
    paper = merged({"paper": {"algorithms": of_methods}})["paper"]["algorithms"]
    assert paper == PAPER["algorithms"] | {
        "maml": {"clip": 0.3},
        "cavia": {**AS_PUBLISHED["cavia"], "initial_rate": 0.5},
    }


def test_the_small_preset_is_a_possible_configuration(monkeypatch):
    class Small(PointFamily):
        preset_values: ClassVar = {}

    monkeypatch.setattr(registry, "_FACTORIES", {**registry._FACTORIES, "small": Small})
    config = preset_config("small", "quick")
    assert config.method.network.policy_units == QUICK["policy_units"]
    assert config.schedule.evaluation_tasks == QUICK["evaluation_tasks"]


def test_presets_of_version_0_1_are_told_of():
    class Old(PointFamily):
        presets: ClassVar = {"paper": {}, "quick": {}}

    with pytest.raises(ConfigurationError, match="'point' has presets; give it preset_values"):
        presets_of(Old())


def test_an_instance_has_the_presets_of_its_name():
    assert presets_of(PointFamily(horizon=9)) == presets_of("point")


@pytest.mark.parametrize(("method", "steps"), [("rl2", 16 * 800), ("varibad", 3200)])
def test_methods_that_remember_train_as_published_in_paper(method, steps):
    config = preset_config("point", "paper", method)
    trial = config.method.trial.episodes_per_trial * 200
    assert (config.sampling.tasks_per_update * trial, config.method.ppo.epochs) == (steps, 2)
