"""The method a second time, as plainly as it can be written: no padding tricks, no hand-written derivative.

Everything is for one task, in the symbols of the paper, and differentiable by JAX's own rules alone.
"""

import jax
import jax.numpy as jnp
import numpy as np


def encode(encoder, episodes):
    """h = mean over the episodes of g(τ), one step after the other."""
    gru, units = encoder.gru, encoder.gru.recurrent_weight.shape[0]
    wr, wz, wn = (gru.input_weight[:, i * units : (i + 1) * units] for i in range(3))
    ur, uz, un = (gru.recurrent_weight[:, i * units : (i + 1) * units] for i in range(3))
    br, bz, bn = (gru.bias[i * units : (i + 1) * units] for i in range(3))
    x = jnp.concatenate([episodes.observation, episodes.action, episodes.reward[..., None]], axis=-1)

    def step(h, x_and_exists):
        x, exists = x_and_exists
        r = jax.nn.sigmoid(x @ wr + h @ ur + br)
        z = jax.nn.sigmoid(x @ wz + h @ uz + bz)
        n = jnp.tanh(x @ wn + bn + r * (h @ un + gru.candidate_bias))
        return jnp.where(exists[:, None], (1 - z) * n + z * h, h), None

    start = jnp.zeros((x.shape[0], units), x.dtype)
    h, _ = jax.lax.scan(step, start, (x.swapaxes(0, 1), episodes.valid.T))
    return jnp.mean(h @ encoder.output.weight + encoder.output.bias, axis=0)


def act(policy, observation, h):
    """Mean and log standard deviation from the concatenation [s, h]."""
    x = jnp.concatenate([observation, jnp.broadcast_to(h, (*observation.shape[:-1], h.shape[0]))], axis=-1)
    for layer in policy.hidden:
        x = jnp.tanh(x @ layer.weight + layer.bias)
    out = x @ policy.output.weight + policy.output.bias
    return out[..., : out.shape[-1] // 2], out[..., out.shape[-1] // 2 :]


def log_density(mean, log_std, action):
    return sum(
        jax.scipy.stats.norm.logpdf(action[..., j], mean[..., j], jnp.exp(log_std[..., j]))
        for j in range(action.shape[-1])
    )


def mean_over_steps(values, valid):
    """Mean over the steps that exist, picked out by index."""
    where = np.nonzero(np.asarray(valid))
    return jnp.mean(values[where])


def vanilla_loss(policy, h, episodes, advantages):
    mean, log_std = act(policy, episodes.observation, h)
    return -mean_over_steps(log_density(mean, log_std, episodes.action) * advantages, episodes.valid)


def ratios(policy, h, episodes):
    mean, log_std = act(policy, episodes.observation, h)
    behaviour = log_density(*episodes.behaviour, episodes.action)
    return jnp.exp(log_density(mean, log_std, episodes.action) - behaviour)


def surrogate(policy, h, episodes, advantages, clip):
    ratio = ratios(policy, h, episodes)
    pessimistic = jnp.minimum(ratio * advantages, jnp.clip(ratio, 1 - clip, 1 + clip) * advantages)
    return -mean_over_steps(pessimistic, episodes.valid)


def inner_gradient(encoder, policy, buffer, episodes, advantages, bound):
    """∇ of the vanilla loss with respect to the encoder, clipped to the global norm."""
    return clipped(jax.grad(lambda e: vanilla_loss(policy, encode(e, buffer), episodes, advantages))(encoder), bound)


def clipped(g, bound):
    norm = jnp.sqrt(sum(jnp.sum(x**2) for x in jax.tree.leaves(g)))
    return jax.tree.map(lambda x: x * jnp.minimum(1.0, bound / norm), g)


def descend(encoder, rates, gradient):
    return jax.tree.map(lambda p, a, g: p - a * g, encoder, rates, gradient)


def tesp(adapted, shared, context):
    """Policy and h of TESP; h = 0 in the warm-up round, where there is no context."""
    if context is None:
        return shared, jnp.zeros_like(adapted.output.bias)
    return shared, encode(adapted, context.buffer)


def meta_sgd(adapted, _shared, _context):
    return adapted, jnp.zeros(0)


def adapt_sv(adapted, shared, _context):
    return shared, adapted


def loss_at(agent, adapted, shared, past, clip):
    """L_PPO(τ^k; θ^k, h^k)."""
    policy, h = agent(adapted, shared, past.context)
    return surrogate(policy, h, past.batch.episodes, past.batch.advantages, clip)


def objective(agent, parameters, stages, last, meta, early, weights):
    """L_PPO(τ^{K+1}) + η · mean_j h_j² + Σ_k w_k L_PPO(τ^k) at given θ^1 … θ^{K+1}; the warm-up round is at θ^1."""
    _, h = agent(stages[-1], parameters.shared, last.context)
    loss = loss_at(agent, stages[-1], parameters.shared, last, meta.clip)
    loss = loss + meta.embedding_penalty * (jnp.mean(h**2) if h.size else 0.0)
    warmed_up = len(early) > 0 and early[0].context is None
    for adapted, past, weight in zip([*stages[:1] * warmed_up, *stages], early, weights, strict=False):
        loss = loss + weight * loss_at(agent, adapted, parameters.shared, past, meta.clip)
    return loss


def first_order_stages(parameters, gradients):
    """The inner gradients are numbers: θ^{k+1} = θ − α ∘ g_1 − … − α ∘ g_k."""
    stages = [parameters.adapted]
    for g in gradients:
        stages.append(descend(stages[-1], parameters.rates, g))
    return stages


def second_order_stages(agent, parameters, history, fast):
    """The inner gradients are recomputed on the stored episodes."""
    stages = [parameters.adapted]
    for past in history:

        def loss(adapted, past=past):
            policy, h = agent(adapted, parameters.shared, past.context)
            return vanilla_loss(policy, h, past.batch.episodes, past.batch.advantages)

        g = clipped(jax.grad(loss)(stages[-1]), fast.inner_gradient_norm)
        stages.append(descend(stages[-1], parameters.rates, g))
    return stages


def first_order_objective(parameters, gradients, last, meta, agent=tesp, early=(), weights=()):
    return objective(agent, parameters, first_order_stages(parameters, gradients), last, meta, early, weights)


def second_order_objective(parameters, history, last, fast, meta, agent=tesp, early=(), weights=()):
    stages = second_order_stages(agent, parameters, history, fast)
    return objective(agent, parameters, stages, last, meta, early, weights)


def central_differences(function, parameters, step=1e-6):
    """Value of a function of a float64 pytree, and its derivative with respect to every entry."""
    flat, unravel = jax.flatten_util.ravel_pytree(parameters)
    assert flat.dtype == jnp.float64
    moved = jax.jit(lambda directions: jax.lax.map(lambda d: function(unravel(flat + d)), directions))
    steps = step * np.eye(flat.size)
    values = np.asarray(moved(np.concatenate([np.zeros_like(steps[:1]), steps, -steps])))
    value, (ahead, behind) = values[0], np.split(values[1:], 2)
    return value, unravel(jnp.asarray((ahead - behind) / (2 * step)))
