"""What `compare.py` compares with: the same work done in the ways that lie nearest at hand.

The task encoder's gradient with the GRU written as its equations stand, with Equinox's cell and with PyTorch's layer;
the policy's gradient with its loss written plainly; sampling through Gymnasium's vector environments.
"""

import multiprocessing
from collections.abc import Callable
from functools import partial
from time import perf_counter

from measuring import Sizes

#: Returns an observation's actions: (environment, observation) → (environment, action).
Act = Callable


def random_episodes(sizes: Sizes, episodes: int):
    """Draw whole episodes of every task, as plain arrays by name: no step is padding."""
    import numpy as np

    generator = np.random.default_rng(0)
    shape = (sizes.tasks, episodes, sizes.horizon)

    def normal(*entries: int):
        return generator.standard_normal((*shape, *entries), np.float32)

    behaviour = {"mean": 0.1 * normal(sizes.action), "log_std": 0.1 * normal(sizes.action)}
    action = behaviour["mean"] + np.exp(behaviour["log_std"]) * normal(sizes.action)
    reward = -np.abs(normal())
    return {"observation": normal(sizes.observation), "action": action, "reward": reward, **behaviour}


def inputs_of(episodes: dict):
    """Join what the encoder reads: observation, action and reward."""
    import numpy as np

    return np.concatenate([episodes["observation"], episodes["action"], episodes["reward"][..., None]], axis=-1)


def encoder_weights(key, inputs: int, units: int, embedding: int) -> dict:
    """Draw the weights of a GRU and a linear layer, by the names that they have in the equations."""
    import jax
    import jax.numpy as jnp

    input_key, recurrent_key, output_key = jax.random.split(key, 3)
    return {
        "W": jax.random.normal(input_key, (inputs, 3 * units)) / inputs**0.5,
        "U": jax.random.normal(recurrent_key, (units, 3 * units)) / units**0.5,
        "b": jnp.zeros(3 * units),
        "c": jnp.zeros(units),
        "V": jax.random.normal(output_key, (units, embedding)) / units**0.5,
        "d": jnp.zeros(embedding),
    }


def plain_embedding(weights: dict, inputs):
    """Return one task's embedding: the GRU step by step, its last state through the output layer, the mean.

    r = σ(x W_r + h U_r + b_r),  z = σ(x W_z + h U_z + b_z),
    n = tanh(x W_n + b_n + r ∘ (h U_n + c)),  h′ = (1 − z) ∘ n + z ∘ h
    """
    import jax
    import jax.numpy as jnp

    def step(h, x):
        x_r, x_z, x_n = jnp.split(x @ weights["W"] + weights["b"], 3, axis=-1)
        h_r, h_z, h_n = jnp.split(h @ weights["U"], 3, axis=-1)
        r, z = jax.nn.sigmoid(x_r + h_r), jax.nn.sigmoid(x_z + h_z)
        n = jnp.tanh(x_n + r * (h_n + weights["c"]))
        return (1.0 - z) * n + z * h, None

    start = jnp.zeros((inputs.shape[0], weights["U"].shape[0]))
    last, _ = jax.lax.scan(step, start, jnp.swapaxes(inputs, 0, 1))
    return jnp.mean(last @ weights["V"] + weights["d"], axis=0)


def equinox_encoder(key, inputs: int, units: int, embedding: int):
    """Draw Equinox's cell and the output layer's weights."""
    import equinox as eqx

    weights = encoder_weights(key, inputs, units, embedding)
    return eqx.nn.GRUCell(inputs, units, key=key), weights["V"], weights["d"]


def equinox_embedding(encoder, inputs):
    """Return one task's embedding with Equinox's cell, which takes one episode's step and is mapped over episodes."""
    import jax
    import jax.numpy as jnp

    cell, output_weight, output_bias = encoder

    def step(state, x):
        return jax.vmap(cell)(x, state), None

    last, _ = jax.lax.scan(step, jnp.zeros((inputs.shape[0], cell.hidden_size)), jnp.swapaxes(inputs, 0, 1))
    return jnp.mean(last @ output_weight + output_bias, axis=0)


def encoder_gradient(embedding: Callable, encoder, inputs, directions, sharded: bool = False) -> Callable:
    """Return a function that computes the gradient of the mean over tasks of ⟨h, direction⟩ at θ − the task's offset.

    All tasks are computed at once under ``vmap``, on the default device or sharded over all devices.
    """
    import jax
    import jax.numpy as jnp

    offsets = offsets_of(encoder, inputs.shape[0])

    def mean_loss(encoder, offsets, inputs, directions):
        def loss(offset, inputs, direction):
            return embedding(jax.tree.map(jnp.subtract, encoder, offset), inputs) @ direction

        return jnp.mean(jax.vmap(loss)(offsets, inputs, directions))

    gradient, data = jax.jit(jax.grad(mean_loss)), _placed(encoder, (offsets, inputs, directions), sharded)
    return lambda: jax.block_until_ready(gradient(*data))


def _placed(parameters, per_task: tuple, sharded: bool) -> tuple:
    """Put parameters and data where they are computed with."""
    import jax

    from tesp.adaptation.task_axis import replicate, shard_tasks

    if not sharded:
        return jax.device_put((parameters, *per_task))
    tasks = len(jax.tree.leaves(per_task)[0])
    return (replicate(parameters, tasks), *shard_tasks(per_task, tasks))


def offsets_of(encoder, tasks: int):
    """Draw what the fast-updates took away from the parameters of every task."""
    import jax

    leaves, structure = jax.tree.flatten(encoder)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [0.01 * jax.random.normal(key, (tasks, *x.shape)) for key, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(structure, drawn)


def torch_encoder_gradient(sizes: Sizes, inputs, directions) -> Callable:
    """Return a function like that of `encoder_gradient`, with PyTorch's layer and the tasks one after the other.

    The layer holds θ − offset of one task at a time; as ∂(θ − offset)/∂θ = 1, the gradients that accumulate in it
    over the tasks are those of θ.
    """
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(sizes.encoder_inputs, sizes.encoder_units)
            self.output = torch.nn.Linear(sizes.encoder_units, sizes.embedding)

        def forward(self, x):
            _, last = self.gru(x)
            return self.output(last[0]).mean(0)

    torch.manual_seed(0)
    encoder = Encoder()
    parameters = list(encoder.parameters())
    start = [p.detach().clone() for p in parameters]
    offsets = [[0.01 * torch.randn_like(p) for p in start] for _ in range(sizes.tasks)]
    sequences = [torch.from_numpy(own).transpose(0, 1).contiguous() for own in inputs]
    towards = torch.from_numpy(directions)

    def gradient():
        encoder.zero_grad(set_to_none=True)
        for task in range(sizes.tasks):
            with torch.no_grad():
                for own, shared, offset in zip(parameters, start, offsets[task], strict=True):
                    own.copy_(shared - offset)
            (encoder(sequences[task]) @ towards[task] / sizes.tasks).backward()
        return [p.grad for p in parameters]

    return gradient


def plain_policy_loss(layers: list, embedding, episodes: dict, advantages, clip: float):
    """Return PPO's clipped loss of one task: −mean over steps of min(ρ Â, clip(ρ, 1−ε, 1+ε) Â).

    Args:
        layers: Pairs of weights and biases; all but the last with tanh, the last gives mean and log std.
        embedding: h, written beside every observation.
        episodes: The task's episodes by name.
        advantages: Â, (episode, step).
        clip: ε.
    """
    import jax.numpy as jnp

    observation = episodes["observation"]
    x = jnp.concatenate([observation, jnp.broadcast_to(embedding, (*observation.shape[:-1], embedding.size))], axis=-1)
    for weight, bias in layers[:-1]:
        x = jnp.tanh(x @ weight + bias)
    weight, bias = layers[-1]
    mean, log_std = jnp.split(x @ weight + bias, 2, axis=-1)
    # The constant of the normal density cancels in the ratio.
    new = -jnp.sum(0.5 * ((episodes["action"] - mean) / jnp.exp(log_std)) ** 2 + log_std, axis=-1)
    standardised = (episodes["action"] - episodes["mean"]) / jnp.exp(episodes["log_std"])
    old = -jnp.sum(0.5 * standardised**2 + episodes["log_std"], axis=-1)
    ratio = jnp.exp(new - old)
    return -jnp.mean(jnp.minimum(ratio * advantages, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantages))


def plain_policy_gradient(
    layers: list, embeddings, episodes: dict, advantages, clip: float, sharded: bool = False
) -> Callable:
    """Return a function that computes the gradient of the mean loss of all tasks, at once under ``vmap``.

    It is taken with respect to the layers and a shift of all embeddings, so that it passes through the embedding.
    """
    import jax
    import jax.numpy as jnp

    def mean_loss(parameters, embeddings, episodes, advantages):
        layers, shift = parameters

        def loss(embedding, episodes, advantages):
            return plain_policy_loss(layers, embedding + shift, episodes, advantages, clip)

        return jnp.mean(jax.vmap(loss)(embeddings, episodes, advantages))

    parameters = layers, jnp.zeros(embeddings.shape[-1])
    gradient, data = jax.jit(jax.grad(mean_loss)), _placed(parameters, (embeddings, episodes, advantages), sharded)
    return lambda: jax.block_until_ready(gradient(*data))


def layers_of(policy) -> list:
    """Pairs of weights and biases of a policy, from the first layer to the last."""
    import jax

    leaves = jax.tree.leaves(policy)
    return list(zip(leaves[::2], leaves[1::2], strict=True))


def numpy_act(policy, observation_size: int) -> Act:
    """Return a function that draws actions of a policy with NumPy, at the embedding 0."""
    import numpy as np

    (weight, first_bias), *others = [(np.asarray(w), np.asarray(b)) for w, b in layers_of(policy)]
    first_weight, generator = weight[:observation_size], np.random.default_rng(0)

    def act(observation):
        x = observation.astype(np.float32) @ first_weight + first_bias
        for weight, bias in others:
            x = np.tanh(x) @ weight + bias
        mean, log_std = np.split(x, 2, axis=-1)
        return mean + np.exp(log_std) * generator.standard_normal(mean.shape, np.float32)

    return act


def vector_speed(kind: str, make_one: Callable, count: int, act: Act, seconds: float) -> float:
    """Control steps per second of a vector of ``count`` environments with a policy that acts in NumPy.

    Steps in which an environment only resets itself are not counted; their time is.

    Args:
        kind: ``sync`` or ``async``.
        make_one: Makes one environment; other processes must be able to call it.
        count: Number of environments.
        act: The policy.
        seconds: How long to go on.
    """
    import numpy as np

    environments = _vector(kind, [make_one] * count)
    try:
        observation, _ = environments.reset(seed=0)
        for _ in range(3):
            observation, *_ = environments.step(act(observation))
        steps, over, began = 0, np.zeros(count, bool), perf_counter()
        while (spent := perf_counter() - began) < seconds or not steps:
            observation, _, terminated, truncated, _ = environments.step(act(observation))
            steps += count - int(over.sum())
            over = terminated | truncated
    finally:
        environments.close()
    return steps / spent


def environment_maker(family: str, horizon: int, options: dict) -> Callable:
    """Return what makes one registered environment of a family, in any process."""
    import gymnasium

    from tesp.environments import CARDS

    identifier = CARDS[family].environment
    # The prefix imports the module that registers the environments. The checker would slow them down.
    return partial(gymnasium.make, f"tesp:{identifier}", max_episode_steps=horizon, disable_env_checker=True, **options)


def _vector(kind: str, makers: list[Callable]):
    from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

    if kind == "sync":
        return SyncVectorEnv(makers)
    # JAX has threads by now, with which a plain fork may deadlock; a server forks off processes without them.
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_forkserver_preload(["tesp"])
        return AsyncVectorEnv(makers, context="forkserver")
    return AsyncVectorEnv(makers, context="spawn")
