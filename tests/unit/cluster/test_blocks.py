"""How tasks are split among hosts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesp.adaptation.task_axis import sum_in_order
from tesp.cluster.block_work import _added
from tesp.cluster.blocks import Block, deal, joined, spread
from tesp.cluster.pool import places


@given(st.integers(1, 60), st.lists(st.integers(1, 16), min_size=1, max_size=8))
def test_every_task_is_dealt_once_in_order(tasks, cores):
    blocks = deal(tasks, cores)
    assert len(blocks) == len(cores)
    dealt = [place for block in blocks for place in range(block.first, block.first + block.count)]
    assert dealt == list(range(tasks))


@given(st.integers(1, 60), st.lists(st.integers(1, 16), min_size=1, max_size=8))
def test_no_host_could_be_done_sooner(tasks, cores):
    """A core computes one task after the other; no other split has a smaller greatest number of tasks a core."""
    longest = max(-(-block.count // c) for block, c in zip(deal(tasks, cores), cores, strict=True))
    assert sum(cores) * longest >= tasks > sum(cores) * (longest - 1)


def test_equal_hosts_get_as_many_tasks():
    assert [block.count for block in deal(20, [1, 1, 1])] == [7, 7, 6]
    assert [block.count for block in deal(20, [2, 2])] == [10, 10]
    assert [block.count for block in deal(20, [3, 1])] == [15, 5]
    assert [block.count for block in deal(2, [1, 1, 1])] == [1, 1, 0]


@given(st.integers(0, 5), st.integers(1, 20), st.integers(1, 8))
def test_spread_over_devices(first, count, devices):
    """All tasks of the block are there, in their order; what is added repeats the last one."""
    found = spread(Block(first, count), devices)
    assert found[:count].tolist() == list(range(first, first + count))
    assert set(found[count:]) <= {first + count - 1}
    assert len(found) % devices == 0 or len(found) == count < devices


def test_blocks_are_put_together_in_their_order():
    whole = {"x": np.arange(10.0), "y": np.arange(20).reshape(10, 2)}
    parts = {b: jax.tree.map(lambda x, b=b: x[b.first : b.first + b.count], whole) for b in deal(10, [1, 2, 1])}
    shuffled = {block: parts[block] for block in reversed(parts)}
    for name, value in joined(shuffled).items():
        np.testing.assert_array_equal(value, whole[name])


@pytest.mark.parametrize("cores", [(1,), (1, 1), (2, 1, 1), (1,) * 7])
def test_sums_handed_from_block_to_block_are_those_of_the_whole_to_the_bit(cores):
    """Numbers whose sum depends on the order, tiny ones among them."""
    generator = np.random.default_rng(0)
    scale = 10.0 ** generator.integers(-41, 6, (7, 1000))
    rows = (generator.normal(size=(7, 1000)) * scale).astype(np.float32)
    total = jnp.zeros(1000, jnp.float32)
    for block in deal(7, cores):
        total = _added(total, rows[block.first : block.first + block.count])
    expected = np.asarray(jax.jit(sum_in_order)(rows))
    np.testing.assert_array_equal(np.asarray(total), expected)
    backwards = np.asarray(jax.jit(sum_in_order)(rows[::-1].copy()))
    assert np.any(backwards != expected), "the order must matter"


def test_hosts_are_started_where_they_have_most_cores():
    assert dict(places({"a": 4, "b": 4}, 2)) == {"a": 1, "b": 1}
    assert dict(places({"a": 8, "b": 2}, 3)) == {"a": 3}
    assert places({"a": 2, "b": 1}, 9).total() == 3, "a host has one core at least"
    assert places({}, 2).total() == places({"a": 0}, 2).total() == places({"a": 4}, 0).total() == 0
