"""Small random problems: episodes of different lengths, contexts and batches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from tesp.adaptation.fast_update import Context
from tesp.adaptation.objective import Batch
from tesp.distributions import Gaussian
from tesp.methods.gradient.tesp import TESP
from tesp.types import Episodes

OBSERVATION, ACTION, EMBEDDING = 3, 2, 2


def tiny_tesp(policy_units=(4,), encoder_units=3, initial_rate=0.05) -> TESP:
    return TESP(OBSERVATION, ACTION, EMBEDDING, policy_units, encoder_units, initial_rate)


def condition_of(algorithm):
    """(adapted, shared, context) → (policy, embedding), as the learner makes it of an algorithm."""

    def condition(algorithm, adapted, shared, context):
        policy = algorithm.policy(adapted, shared)
        if context is None:
            return policy, jnp.zeros(algorithm.embedding_size)
        return policy, algorithm.embedding(adapted, context.buffer, context.task)

    return partial(condition, algorithm)


def lengths_of(rng, shape, steps):
    """Episode lengths from 1 to ``steps``, with both ends among them."""
    lengths = rng.integers(1, steps + 1, shape)
    lengths.flat[0], lengths.flat[-1] = 1, steps
    return lengths


def random_episodes(
    seed, *batch, steps=4, observation=OBSERVATION, action=ACTION, dtype=None, lengths=None
) -> Episodes:
    """Episodes with zero padding; the behaviour is close to a fresh policy's N(0, 1)."""
    dtype = dtype or jax.dtypes.canonicalize_dtype(float)
    rng = np.random.default_rng(seed)
    lengths = lengths_of(rng, batch, steps) if lengths is None else np.broadcast_to(lengths, batch)
    valid = np.arange(steps) < lengths[..., None]
    last = np.arange(steps) == lengths[..., None] - 1

    def draw(*shape, scale=1.0):
        values = scale * rng.normal(size=(*batch, steps, *shape))
        return jnp.asarray(np.where(valid.reshape(*valid.shape, *(1 for _ in shape)), values, 0.0), dtype)

    return Episodes(
        observation=draw(observation),
        action=draw(action),
        reward=draw(),
        distance_reward=draw(),
        behaviour=Gaussian(draw(action, scale=0.1), draw(action, scale=0.1)),
        valid=jnp.asarray(valid),
        terminated=jnp.asarray(last & (lengths < steps)[..., None]),
        truncated=jnp.asarray(last & (lengths == steps)[..., None]),
    )


def random_advantages(seed, episodes) -> jax.Array:
    values = np.random.default_rng(seed).normal(size=episodes.reward.shape)
    return jnp.asarray(np.where(episodes.valid, values, 0.0), episodes.reward.dtype)


def random_batch(seed, *batch, **options) -> Batch:
    episodes = random_episodes(seed, *batch, **options)
    return Batch(episodes, random_advantages(seed + 1, episodes))


def random_context(seed, *batch, **options) -> Context:
    """A buffer of episodes with leading axes ``batch``; the last of them is the episode axis."""
    buffer = random_episodes(seed, *batch, **options)
    return Context(buffer, jnp.zeros((*batch[:-1], 2), buffer.reward.dtype))


def with_garbage(tree, garbage, seed=0):
    """Replace all that stands in the padding of episodes and batches, advantages included."""
    rng = np.random.default_rng(seed)

    def spoil(valid):
        def replace(x):
            if x.dtype == bool:
                junk = jnp.asarray(rng.integers(0, 2, x.shape).astype(bool))
            else:
                junk = jnp.asarray(garbage * rng.choice([-1.0, 1.0], x.shape), x.dtype)
            return jnp.where(valid.reshape(valid.shape + (1,) * (x.ndim - valid.ndim)), x, junk)

        return replace

    def visit(node):
        if isinstance(node, Batch):
            return Batch(visit(node.episodes), spoil(node.episodes.valid)(node.advantages))
        if isinstance(node, Episodes):
            spoiled = jax.tree.map(spoil(node.valid), node)
            return Episodes(**{**vars(spoiled), "valid": node.valid})
        return node

    return jax.tree.map(visit, tree, is_leaf=lambda node: isinstance(node, Batch | Episodes))
