import math

import jax
import numpy as np
import pytest

from helpers.data import tiny_tesp
from helpers.trees import assert_identical
from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.errors import RunFolderError
from tesp.methods.gradient.method import GradientMethod
from tesp.storage.checkpoint import Checkpoints, initial_state, state_like


def method(algorithm=None, **meta):
    given = MetaUpdateSettings(**{"learning_rate": 7e-4, **meta})
    return GradientMethod(algorithm or tiny_tesp(), FastUpdateSettings(), given)


@pytest.fixture(scope="module")
def fresh():
    return initial_state(method(), 0)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints"


@pytest.fixture
def checkpoints(folder):
    made = Checkpoints(folder, keep_last=2)
    yield made
    made.close()


def at(state, meta_update):
    """The state with other numbers in it, as if it had been trained."""
    parameters = jax.tree.map(lambda x: x + meta_update, state.method.parameters)
    own = state.method._replace(parameters=parameters)
    return state._replace(method=own, meta_update=meta_update, environment_steps=7 * meta_update)


def test_comes_back_bit_for_bit(checkpoints, folder, fresh):
    state = at(fresh, 3)._replace(wall_seconds=1.25)
    state = state._replace(method=state.method._replace(step_size=0.1 + 0.2))
    checkpoints.save(state, -1.0)
    for reader in (checkpoints, Checkpoints(folder, read_only=True)):
        restored = reader.restore(state_like(method()), 3)
        assert_identical(restored.method, jax.tree.map(np.asarray, state.method))
        assert restored[1:] == (3, 21, 1.25)
        assert restored.method[2:] == (0.1 + 0.2, None)


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_what_is_restored_into_is_like_a_fresh_state_and_compiles_nothing(average):
    own = method(parameter_average=average)
    compiled = []

    def listen(event, _duration, **_):
        compiled.append(event.endswith("backend_compile_duration"))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        like = state_like(own)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not any(compiled)
    fresh = initial_state(own, 0)
    kinds = [jax.tree.map(lambda leaf: (np.shape(leaf), np.asarray(leaf).dtype), state) for state in (like, fresh)]
    assert kinds[0] == kinds[1]
    assert like[1:] == fresh[1:]
    assert like.method.step_size == fresh.method.step_size


def test_one_without_an_average_begins_one(checkpoints, fresh):
    checkpoints.save(at(fresh, 1))
    restored = checkpoints.restore(state_like(method(parameter_average=0.9)), 1).method
    assert_identical(restored.average, restored.parameters)
    assert restored.step_size == fresh.method.step_size


def test_keeps_the_last_and_the_best(checkpoints, folder, fresh):
    for meta_update, score in enumerate([-5.0, -3.0, -4.0, None, -9.0, None]):
        checkpoints.save(at(fresh, meta_update), score)
    for reader in (checkpoints, Checkpoints(folder, read_only=True)):
        assert reader.steps() == [1, 4, 5]
        assert (reader.best(), reader.latest()) == (1, 5)


def test_without_a_score_there_is_no_best(checkpoints, fresh):
    assert (checkpoints.best(), checkpoints.latest()) == (None, None)
    checkpoints.save(at(fresh, 1))
    assert (checkpoints.best(), checkpoints.latest()) == (None, 1)


def test_a_score_is_added_later_and_never_lost(checkpoints, fresh):
    checkpoints.save(at(fresh, 1), -5.0)
    checkpoints.save(at(fresh, 2))
    checkpoints.save(at(fresh, 2), -4.0)
    assert checkpoints.best() == 2
    checkpoints.save(at(fresh, 2))
    checkpoints.save(at(fresh, 2), -math.inf)
    assert (checkpoints.best(), checkpoints.steps()) == (2, [1, 2])
    assert checkpoints.restore(fresh, 2).meta_update == 2


def test_unfinished_ones_are_removed_by_the_writer_only(checkpoints, folder, fresh):
    checkpoints.save(at(fresh, 1))
    unfinished = folder / "2.orbax-checkpoint-tmp"
    unfinished.mkdir()
    assert Checkpoints(folder, read_only=True).steps() == [1]
    assert unfinished.exists()
    writer = Checkpoints(folder)
    writer.save(at(fresh, 2))
    assert writer.steps() == [1, 2]
    assert not unfinished.exists()


def test_reading_makes_no_folder(folder):
    assert Checkpoints(folder, read_only=True).steps() == []
    assert not folder.exists()


def test_one_that_does_not_exist(checkpoints, fresh):
    with pytest.raises(RunFolderError, match=r"no checkpoint of meta-update 3 .* there are: none"):
        checkpoints.restore(fresh, 3)
    checkpoints.save(at(fresh, 1))
    with pytest.raises(RunFolderError, match=r"there are: 1\."):
        checkpoints.restore(fresh, 3)


@pytest.mark.parametrize(
    "other", [tiny_tesp(encoder_units=4), tiny_tesp(policy_units=(4, 4))], ids=["other shapes", "other names"]
)
def test_one_of_something_else(checkpoints, fresh, other):
    checkpoints.save(at(fresh, 1))
    with pytest.raises(RunFolderError, match="does not fit the run's configuration"):
        checkpoints.restore(state_like(method(other)), 1)


def test_damaged_score(checkpoints, folder, fresh):
    checkpoints.save(at(fresh, 1))
    (folder / "1" / "metrics" / "metrics").write_text('{"score"')
    with pytest.raises(RunFolderError, match="is damaged"):
        Checkpoints(folder)
