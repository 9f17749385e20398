"""Acting for some of the rows of a round equals acting for each of them alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.trees import assert_identical, random_like
from tesp.acting import Seen
from tesp.episodes import actor as acting
from tesp.episodes.actor import Actor
from tesp.methods.gradient.agent import policy_agent
from tesp.networks.policy import CONDITIONINGS

TASKS, EPISODES = 5, 12


@pytest.fixture(scope="module", params=CONDITIONINGS)
def policies(request):
    """One policy per task, with a leading axis."""
    create = CONDITIONINGS[request.param].create
    drawn = jax.jit(jax.vmap(lambda key: create(key, 3, 2, 2, (8, 8))))
    return random_like(drawn(jax.random.split(jax.random.key(0), TASKS)), 1, 0.5)


def shared(policies):
    return jax.tree.map(lambda x: np.asarray(x)[1], policies)


def actor(policies, own):
    embedding = np.random.default_rng(2).normal(size=(TASKS, 2)).astype(np.float32)
    parts = jax.jit(jax.vmap(lambda policy, h: policy_agent(own, policy, h).own, in_axes=(0 if own else None, 0)))
    mine = parts(policies if own else shared(policies), embedding)
    agents = policy_agent(own, shared(policies), jnp.asarray(embedding[0])).of(mine)
    return Actor(agents, TASKS, EPISODES), embedding


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("count", [TASKS * EPISODES, 31, 17, 6, 1])
def test_equals_acting_for_each_row_alone(policies, own, count):
    act, embedding = actor(policies, own)
    generator = np.random.default_rng(count)
    rows = np.sort(generator.permutation(TASKS * EPISODES)[:count])
    observation, noise = (generator.normal(size=(count, size)).astype(np.float32) for size in (3, 2))
    action, (mean, log_std) = act(rows, Seen(observation), noise)
    policy = jax.jit(jax.vmap(lambda p, s, h: p(s, h), in_axes=(0 if own else None, 0, 0)))
    task = rows // EPISODES
    given = jax.tree.map(lambda x: np.asarray(x)[task], policies) if own else shared(policies)
    expected_mean, expected_log_std = policy(given, observation, embedding[task])
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_std, expected_log_std, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(action, expected_mean + np.exp(expected_log_std) * noise, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("own", [False, True])
def test_a_few_sizes_serve_all_numbers_of_rows(policies, own):
    """Work follows the rows, and yet little is compiled."""
    act, _ = actor(policies, own)
    compiled = acting._act_each if own else acting._act_shared
    before = compiled._cache_size()
    for count in range(1, TASKS * EPISODES + 1):
        rows = np.arange(count)
        act(rows, Seen(np.zeros((count, 3), np.float32)), np.zeros((count, 2), np.float32))
    assert compiled._cache_size() - before <= 5


@pytest.mark.parametrize("own", [False, True])
def test_the_bits_of_an_action_do_not_depend_on_the_other_rows(policies, own):
    """Nor on how many tasks there are: rows of the last task alone, with one row of the others, and with all."""
    everybody, _ = actor(policies, own)
    last = jax.tree.map(lambda x: x[-1:], everybody._own)
    alone = Actor(everybody._agent.of(last), 1, EPISODES)
    generator = np.random.default_rng(3)
    observation, noise = (generator.normal(size=(TASKS * EPISODES, n)).astype(np.float32) for n in (3, 2))
    wanted = np.arange((TASKS - 1) * EPISODES, TASKS * EPISODES)[-5:]

    def acted(rows):
        action, distribution = everybody(rows, Seen(observation[rows]), noise[rows])
        return jax.tree.map(lambda x: x[-5:], (action, distribution))

    expected = acted(np.arange(TASKS * EPISODES))
    assert_identical(acted(np.concatenate([[0], wanted])), expected)
    assert_identical(acted(wanted), expected)
    assert_identical(alone(wanted % EPISODES, Seen(observation[wanted]), noise[wanted]), expected)


def test_sizes():
    assert [acting._padded(rows) for rows in (1, 128, 129, 256, 257, 500, 513)] == [128, 128, 256, 256, 512, 512, 1024]
