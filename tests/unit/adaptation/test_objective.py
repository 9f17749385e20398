"""The two losses of one task, and the padding they must not see."""

import jax
import numpy as np
import pytest

from helpers import reference
from helpers.data import random_batch, tiny_tesp, with_garbage
from helpers.trees import assert_identical, random_like
from tesp.adaptation.objective import surrogate_terms, vanilla_loss

EMBEDDING = np.array([0.4, -0.7], np.float32)


@pytest.fixture(scope="module")
def policy():
    return random_like(jax.jit(tiny_tesp().init)(jax.random.key(0)).shared, 1, 0.3)


@pytest.fixture(scope="module")
def batch():
    return random_batch(0, 4)


@pytest.fixture(scope="module")
def losses():
    """Values and gradients with respect to policy and embedding of both losses, and the KL divergence."""

    def surrogate(policy, embedding, batch):
        terms = surrogate_terms(policy, embedding, batch, 0.15)
        return terms.policy_loss, terms.kl

    vanilla = jax.value_and_grad(vanilla_loss, argnums=(0, 1))
    clipped = jax.value_and_grad(surrogate, argnums=(0, 1), has_aux=True)
    return jax.jit(lambda *x: (vanilla(*x), clipped(*x)))


def test_values(policy, batch, losses):
    (vanilla, _), ((surrogate, kl), _) = losses(policy, EMBEDDING, batch)

    @jax.jit
    def expected(policy, h):
        losses = reference.vanilla_loss(policy, h, *batch), reference.surrogate(policy, h, *batch, 0.15)
        return losses, reference.act(policy, batch.episodes.observation, h)

    expected_losses, new = expected(policy, EMBEDDING)
    np.testing.assert_allclose((vanilla, surrogate), expected_losses, rtol=1e-4)
    episodes, valid = batch.episodes, np.asarray(batch.episodes.valid)
    m, s = (np.asarray(x)[valid] for x in new)
    bm, bs = (np.asarray(x)[valid] for x in episodes.behaviour)
    each = s - bs + (np.exp(2 * bs) + (bm - m) ** 2) / (2 * np.exp(2 * s)) - 0.5
    np.testing.assert_allclose(kl, each.sum(axis=-1).mean(), rtol=1e-4)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_padding_changes_nothing(policy, batch, losses, garbage):
    clean = losses(policy, EMBEDDING, batch)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(clean))
    assert_identical(losses(policy, EMBEDDING, with_garbage(batch, garbage)), clean)
