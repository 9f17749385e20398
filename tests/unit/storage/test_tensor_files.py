import json
import struct

import jax
import numpy as np
import pytest

from helpers.fuzzing import damaged_bytes, refusal
from helpers.running import shared_learner, tiny_config
from tesp import building
from tesp.agents.adapting import LEARNER, MetaLearner
from tesp.errors import RunFolderError
from tesp.storage import tensor_files


@pytest.fixture
def learner(monkeypatch) -> MetaLearner:
    monkeypatch.setattr("tesp.agents.adapting.build_learner", shared_learner)
    config = tiny_config()
    family = building.build_family(config)
    made = shared_learner(config)
    parameters = made.method.parameters(made.method.init(jax.random.key(0)))
    return MetaLearner(config, family.interface, jax.tree.map(np.asarray, parameters), made)


@pytest.fixture
def path(learner, tmp_path):
    return learner.save(tmp_path / "learner.safetensors")


def test_damage_is_never_silent(path, learner):
    """Whatever bytes change, a learner is refused or is the one that was saved."""
    content = path.read_bytes()
    refused = 0
    for damaged in damaged_bytes(content, 30, 0):
        path.write_bytes(damaged)
        loaded = []
        if (said := refusal(lambda found=loaded: found.append(MetaLearner.load(path)))) is not None:
            assert "learner.safetensors" in said
            refused += 1
            continue
        for one, other in zip(jax.tree.leaves(loaded[0].parameters), jax.tree.leaves(learner.parameters), strict=True):
            np.testing.assert_array_equal(one, other)
    assert refused > 25


def test_single_bits_of_the_arrays_are_noticed(path):
    content = path.read_bytes()
    begins = 8 + struct.unpack("<Q", content[:8])[0]
    for place in np.linspace(begins, len(content) - 1, 20).astype(int):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(RunFolderError, match="is damaged: it does not hold what was written"):
            MetaLearner.load(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x: x.astype(np.float64), "holds float64"),
        (lambda x: x.astype(np.int32), "holds int32"),
        (lambda x: np.full_like(x, np.nan), "holds NaN or infinite numbers"),
        (lambda x: np.full_like(x, np.inf), "holds NaN or infinite numbers"),
        (lambda x: x[..., :1], "has the shape"),
        (None, "is missing"),
    ],
)
def test_arrays_that_are_whole_and_wrong(path, learner, change, said):
    arrays = tensor_files.named("parameters", learner.parameters)
    name = next(name for name, x in arrays.items() if x.ndim == 2)
    changed = {n: x for n, x in arrays.items() if n != name}
    if change is not None:
        changed[name] = change(arrays[name])
    tensor_files.write(path, LEARNER, changed, learner._description())
    with pytest.raises(RunFolderError) as error:
        MetaLearner.load(path)
    assert f"{name} {said}" in str(error.value)


@pytest.mark.parametrize("origin", [3, {"run": 3}, {"run": "a", "meta_update": "b"}, {"more": 1}])
def test_an_origin_that_is_none(path, learner, origin):
    arrays = tensor_files.named("parameters", learner.parameters)
    tensor_files.write(path, LEARNER, arrays, learner._description() | {"origin": origin})
    with pytest.raises(RunFolderError, match=r"The description in .*learner\.safetensors cannot be used"):
        MetaLearner.load(path)


@pytest.mark.parametrize("description", ["[]", "null", "{", "3", "[" * 100_000, '{"config": 3, "interface": {}}'])
def test_descriptions_that_are_none(path, learner, monkeypatch, description):
    monkeypatch.setattr(
        tensor_files, "dumps", lambda value: description if isinstance(value, dict) else json.dumps(value)
    )
    arrays = tensor_files.named("parameters", learner.parameters)
    tensor_files.write(path, LEARNER, arrays, {})
    with pytest.raises(RunFolderError, match=r"learner\.safetensors"):
        MetaLearner.load(path)
