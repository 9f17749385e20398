"""Several policies with a shared trunk, against as many policies apart."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.trees import assert_close, assert_identical, random_like
from tesp.networks.policy import CONDITIONINGS, Linear
from tesp.networks.policy_set import PolicySet

EMBEDDING_SIZE, ACTION = 3, 2
EMBEDDING = jnp.array([0.3, -2.0, 1.1])


def drawn(policies, conditioning):
    def create(key):
        trunk = CONDITIONINGS[conditioning].create(key, 5, EMBEDDING_SIZE, policies * ACTION, (7, 6), 0.1)
        return PolicySet.create(key, trunk, EMBEDDING_SIZE, policies)

    return jax.jit(create)(jax.random.key(0))


@pytest.fixture(scope="module")
def observation():
    return jnp.asarray(np.random.default_rng(0).normal(size=(4, 6, 5)), jnp.float32)


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_mixes_what_the_policies_would_do_apart(conditioning, observation):
    policies = random_like(drawn(3, conditioning), 1)
    layer = policies.trunk.output
    apart = [
        dataclasses.replace(policies.trunk, output=Linear(*parts), least_std=0.0)
        for parts in zip(jnp.split(layer.weight, 3, axis=1), jnp.split(layer.bias, 3), strict=True)
    ]
    logits = EMBEDDING @ policies.weights.weight + policies.weights.bias
    weights = np.exp(logits) / np.sum(np.exp(logits))
    answers = [jax.jit(policy.__call__)(observation, EMBEDDING) for policy in apart]
    mean, log_std = (
        sum(w * np.asarray(x) for w, x in zip(weights, one, strict=True)) for one in zip(*answers, strict=True)
    )
    found = jax.jit(policies.__call__)(observation, EMBEDDING)
    assert_close(tuple(found), (mean, np.maximum(log_std, np.log(0.1))), rtol=1e-4, atol=1e-5)
    assert weights.max() < 0.99, "more than one has a say"


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_one_policy_is_that_policy(conditioning, observation):
    """Whatever weight it is drawn with."""
    policies = random_like(drawn(1, conditioning), 1)
    act = [jax.jit(p.__call__)(observation, EMBEDDING) for p in (policies, policies.trunk)]
    assert_identical(*act)


def test_the_embedding_decides_whose_say_it_is(observation):
    """Also where the trunk does not look at it."""
    policies = random_like(drawn(3, "modulate"), 1)
    trunk = policies.trunk
    blind = tuple(jax.tree.map(jnp.zeros_like, part) for part in (trunk.scale, trunk.shift))
    policies = dataclasses.replace(policies, trunk=dataclasses.replace(trunk, scale=blind[0], shift=blind[1]))
    act = jax.jit(policies.__call__)
    assert not np.allclose(act(observation, EMBEDDING).mean, act(observation, -EMBEDDING).mean, atol=0.1)
