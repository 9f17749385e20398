"""The latent of MAESN: drawn once per episode, learned from through what it makes the policy do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.data import ACTION, OBSERVATION, random_batch
from helpers.trees import assert_close, random_like
from tesp.acting import Seen
from tesp.adaptation.objective import vanilla_loss
from tesp.distributions import Gaussian
from tesp.methods.gradient.agent import beside, policy_agent
from tesp.methods.gradient.maesn import MAESN

ALGORITHM = MAESN(OBSERVATION, ACTION, 2, (3,), 0.1)
LATENT = Gaussian(jnp.asarray([0.3, -0.8]), jnp.asarray([-0.5, 0.2]))


@pytest.fixture
def policy():
    return random_like(jax.eval_shape(ALGORITHM.init, jax.random.key(0)).shared, 1, 0.5)


def agent_of(policy):
    return policy_agent(False, policy, ALGORITHM.embedding(LATENT, None, None), ALGORITHM.noise_size)


def test_an_episode_has_one_latent_and_another_has_another(policy):
    agent = agent_of(policy)
    noises = [agent.start(jax.random.key(seed)) for seed in (0, 1)]
    assert not np.allclose(*noises)
    rng = np.random.default_rng(0)
    for noise in noises:
        memory, z = noise, LATENT.mean + jnp.exp(LATENT.log_std) * noise
        for _ in range(3):
            observation = jnp.asarray(rng.normal(size=OBSERVATION), jnp.float32)
            acted = agent.act(memory, Seen(observation), jnp.zeros(ACTION))
            memory = acted.memory
            assert_close(acted.behaviour, policy.policy(observation, z))
        np.testing.assert_array_equal(memory, noise)


def test_what_episodes_begin_with_is_standard_normal(policy):
    noise = jax.vmap(agent_of(policy).start)(jax.random.split(jax.random.key(0), 10_000))
    np.testing.assert_allclose(jnp.mean(noise, axis=0), 0.0, atol=0.05)
    np.testing.assert_allclose(jnp.cov(noise.T), np.eye(2), atol=0.05)


@pytest.mark.usefixtures("float64")
def test_the_loss_and_its_gradient_are_those_of_episodes_with_a_latent_each(policy):
    """Episode by episode, at z = μ + σ ∘ ε."""
    batch = random_batch(3, 4, steps=3)
    noise = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2)))
    episodes = batch.episodes

    def ours(latent):
        seen = episodes.__class__(**{**vars(episodes), "observation": beside(episodes.observation, noise)})
        return vanilla_loss(policy, ALGORITHM.embedding(latent, None, None), batch._replace(episodes=seen))

    def plainly(latent):
        total = 0.0
        for e in range(4):
            z = latent.mean + jnp.exp(latent.log_std) * noise[e]
            log_p = policy.policy(episodes.observation[e], z).log_probability(episodes.action[e])
            total -= jnp.sum(log_p * batch.advantages[e], where=episodes.valid[e])
        return total / jnp.sum(episodes.valid).astype(float)

    found, expected = (jax.jit(jax.value_and_grad(f))(Gaussian(*map(np.float64, LATENT))) for f in (ours, plainly))
    assert_close(found, expected, rtol=1e-10)
    assert np.all(np.abs(np.concatenate(found[1])) > 1e-3)


def test_the_penalty_is_the_divergence_of_the_start_from_the_standard_normal():
    mean, std = LATENT.mean, np.exp(LATENT.log_std)
    expected = np.sum(0.5 * (std**2 + mean**2 - 1) - np.log(std))
    np.testing.assert_allclose(ALGORITHM.penalty(LATENT, jnp.zeros(4)), expected, rtol=1e-6)
    assert ALGORITHM.penalty(jax.jit(ALGORITHM.init)(jax.random.key(0)).adapted, jnp.ones(4)) == 0
