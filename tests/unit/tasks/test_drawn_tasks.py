import numpy as np
import pytest
from tesp.tasks.scales import PAPER

from tesp.config import preset_config
from tesp.errors import ConfigurationError
from tesp.presets import QUICK, SMALL
from tesp.task_sets import TASK_SETS
from tesp.tasks import registry
from tesp.tasks.drawn_tasks import draw_task_sets, merged_presets
from tesp.tasks.point import PointFamily


def draw(generator, count, task_set):
    return generator.uniform(size=(count, 2)) + TASK_SETS.index(task_set)


def test_sets_have_streams_of_their_own_which_seed_and_name_determine():
    sets = draw_task_sets("one", 3, 4, draw)
    assert list(sets) == list(TASK_SETS)
    for index, (name, task_set) in enumerate(sets.items()):
        stream = np.random.SeedSequence([3, *b"one"]).spawn(3)[index]
        assert task_set.name == name
        np.testing.assert_array_equal(task_set.tasks, draw(np.random.default_rng(stream), 4, name))
    for other in (draw_task_sets("one", 4, 4, draw), draw_task_sets("two", 3, 4, draw)):
        assert all((other[name].tasks != sets[name].tasks).all() for name in TASK_SETS)


@pytest.mark.parametrize("seed", [-1, True])
def test_seeds_that_are_not_possible(seed):
    with pytest.raises(ConfigurationError, match="it must be an integer that is not negative"):
        draw_task_sets("one", seed, 2, draw)


def test_given_values_go_before_those_of_the_presets():
    quick = {"learning_rate": 5e-3, "horizon": 9, "meta_updates": 7}
    given = {"quick": quick, "paper": {"epochs": 2}, "own": {"epochs": 3}}
    assert merged_presets({}) == {"paper": PAPER, "quick": QUICK, "small": SMALL}
    assert merged_presets(given) == {
        "paper": {**PAPER, "epochs": 2},
        "quick": {**QUICK, **quick},
        "small": {**SMALL, "learning_rate": 5e-3, "horizon": 9},
        "own": {"epochs": 3},
    }
    assert "horizon" not in QUICK


def test_the_small_preset_is_a_possible_configuration(monkeypatch):
    class Small(PointFamily):
        presets = merged_presets({})

    monkeypatch.setattr(registry, "_FACTORIES", {**registry._FACTORIES, "small": Small})
    config = preset_config("small", "quick")
    assert config.network.policy_units == QUICK["policy_units"]
    assert config.schedule.evaluation_tasks == QUICK["evaluation_tasks"]
