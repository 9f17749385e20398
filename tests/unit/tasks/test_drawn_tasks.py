import numpy as np
import pytest

from tesp.errors import ConfigurationError
from tesp.task_sets import TASK_SETS
from tesp.tasks.drawn_tasks import draw_task_sets


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
