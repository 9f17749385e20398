"""Comparing pytrees."""

import jax
import numpy as np


def named_leaves(tree):
    return [(jax.tree_util.keystr(path), np.asarray(leaf)) for path, leaf in jax.tree.leaves_with_path(tree)]


def assert_identical(actual, expected):
    """Same structure and the same bits."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (name, a), (_, e) in zip(named_leaves(actual), named_leaves(expected), strict=True):
        assert a.dtype == e.dtype, name
        np.testing.assert_array_equal(a, e, err_msg=name)


def assert_close(actual, expected, rtol=1e-5, atol=1e-7):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (name, a), (_, e) in zip(named_leaves(actual), named_leaves(expected), strict=True):
        np.testing.assert_allclose(a, e, rtol=rtol, atol=atol, err_msg=name)


def random_like(tree, seed, scale=1.0):
    """A tree of the same shapes with independent normal entries."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: jax.numpy.asarray(scale * rng.normal(size=x.shape), x.dtype), tree)


def task_slice(tree, index):
    """The data of one task, or a permutation of the tasks."""
    return jax.tree.map(lambda x: jax.numpy.asarray(np.asarray(x)[index]), tree)


def all_different(tree, other):
    """Whether every leaf differs from its counterpart in some entry."""
    return all(np.any(a != b) for (_, a), (_, b) in zip(named_leaves(tree), named_leaves(other), strict=True))
