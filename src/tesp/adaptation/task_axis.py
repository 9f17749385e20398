"""The one place where the task axis is added to functions that are written for one task.

The task axis is also the axis of parallelism: a mesh axis named ``task`` shards it over devices, be they
several single-threaded CPU devices, GPUs or hosts. Within a device, tasks are computed a few at a time.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from tesp.types import PyTree

_TASK = PartitionSpec("task")
_REPLICATED = PartitionSpec()


def task_mesh(tasks: int) -> Mesh:
    """Return the mesh that ``tasks`` tasks are sharded over.

    It has as many of JAX's devices as divide the number of tasks evenly.
    """
    devices = jax.devices()
    return Mesh(np.asarray(devices[: _largest_divisor(tasks, len(devices))]), ("task",))


def shard_tasks(per_task: PyTree, tasks: int) -> PyTree:
    """Place arrays with leading axis ``task`` on the mesh, each device with its own tasks."""
    return jax.device_put(per_task, NamedSharding(task_mesh(tasks), _TASK))


def replicate(tree: PyTree, tasks: int) -> PyTree:
    """Place arrays that all tasks share on every device of the mesh."""
    return jax.device_put(tree, NamedSharding(task_mesh(tasks), _REPLICATED))


def gather(tree: PyTree) -> PyTree:
    """Copy arrays to the first device, for work that is not spread over tasks."""
    return jax.device_put(tree, jax.devices()[0])


def map_over_tasks(function: Callable, shared: PyTree, per_task: PyTree, tasks_at_once: int) -> PyTree:
    """Apply ``function(shared, data of one task)`` to every task.

    A task's result has the same bits whichever tasks are computed with it and on however many devices, as long as a
    device computes one at a time.

    Args:
        function: From what all tasks share and the data of one task to the result of one task.
        shared: Pytree that every task gets whole.
        per_task: Pytree of arrays with leading axis ``task``.
        tasks_at_once: How many tasks a device computes in one vectorised call (0: chosen for the device).
            Few keep activations in cache and memory low, many amortise the overhead of small networks.
    """
    mesh, chunk = _plan(per_task, tasks_at_once)

    def on_device(shared, per_task):
        chunks = _chunked(per_task, chunk)
        return _joined(_one_by_one(lambda data: _vectorised(function)(shared, data), chunks))

    return _sharded(on_device, mesh, _TASK)(shared, per_task)


def sum_in_order(per_task: Float[Array, "task entry"]) -> Float[Array, " entry"]:
    """Σ_i x_i, one task after the other from the first to the last, however many devices they lie on.

    Floating-point sums depend on their order. With one that is fixed, a sum of the first tasks can be handed on to
    whoever has the others, and has the same bits in the end.
    """
    mesh = task_mesh(_task_count(per_task))

    def on_device(own):
        def add(total):
            return jax.lax.fori_loop(0, own.shape[0], lambda i, total: total + own[i], total)

        total = jnp.zeros(own.shape[1:], own.dtype)
        if mesh.size == 1:
            return add(total)
        for device in range(mesh.size):
            # Every device hands the sum to the next one, the last to the first, which gives it to all.
            total = jax.lax.cond(jax.lax.axis_index("task") == device, add, lambda total: total, total)
            total = jax.lax.ppermute(total, "task", [(device, (device + 1) % mesh.size)])
        return jax.lax.psum(total, "task")

    return jax.shard_map(on_device, mesh=mesh, in_specs=_TASK, out_specs=_REPLICATED, check_vma=False)(per_task)


def mean_gradient_over_tasks(
    loss: Callable, parameters: PyTree, per_task: PyTree, tasks_at_once: int
) -> tuple[PyTree, PyTree]:
    """Gradient of the mean over tasks of ``loss``, and its auxiliary output for every task.

    Args:
        loss: (parameters, data of one task) → (loss, auxiliary).
        parameters: What is differentiated.
        per_task: Pytree of arrays with leading axis ``task``.
        tasks_at_once: As for `map_over_tasks`.

    Returns:
        (gradient, auxiliary with leading axis ``task``).
    """
    count = _task_count(per_task)

    def gradient(parameters, data):
        gradient, auxiliary = jax.grad(lambda *x: _over(count, loss(*x)), has_aux=True)(parameters, data)
        return ravel_pytree(gradient)[0], auxiliary

    gradients, auxiliary = map_over_tasks(gradient, parameters, per_task, tasks_at_once)
    return ravel_pytree(parameters)[1](sum_in_order(gradients)), auxiliary


def _over(count: int, result: tuple) -> tuple:
    return result[0] / count, result[1]


def _one_by_one(function: Callable, chunks: PyTree) -> PyTree:
    """Apply a function to one chunk after the other, by a loop that is compiled alike for every number of them.

    How long the loop is, is not told to the compiler, or it would unroll a short one and fuse what is inside with what
    is around it, which changes last bits. It also simplifies arrays of one row: then there is a second one, unused.
    """
    count, chunk = (jax.tree.leaves(chunks)[0].shape[i] for i in (0, 1))
    if count == 1:
        if chunk > 1:
            return jax.tree.map(lambda x: x[None], function(jax.tree.map(lambda x: x[0], chunks)))
        chunks = jax.tree.map(lambda x: jnp.concatenate([x, jnp.zeros_like(x)]), chunks)
    room = max(count, 2)
    shapes = jax.eval_shape(function, jax.tree.map(lambda x: x[0], chunks))
    start = jax.tree.map(lambda x: jnp.zeros((room, *x.shape), x.dtype), shapes)

    def step(index, results):
        result = function(jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, keepdims=False), chunks))
        return jax.tree.map(lambda kept, new: jax.lax.dynamic_update_index_in_dim(kept, new, index, 0), results, result)

    results = jax.lax.fori_loop(0, jax.lax.optimization_barrier(jnp.int32(count)), step, start)
    return jax.tree.map(lambda x: x[:count], results)


def _vectorised(function: Callable) -> Callable:
    """Let ``function(shared, data of one task)`` take the data of several tasks.

    A single task is not vectorised: under `jax.vmap` both branches of a condition are computed, so that nothing
    could be skipped.
    """

    def apply(shared, data):
        if _task_count(data) > 1:
            return jax.vmap(function, in_axes=(None, 0))(shared, data)
        result = function(shared, jax.tree.map(lambda x: x[0], data))
        return jax.tree.map(lambda x: x[None], result)

    return apply


def _chunked(per_task: PyTree, chunk: int) -> PyTree:
    """Split the axis ``task`` into (chunk, task within it). Sizes are written out, for an array may have no entries."""
    return jax.tree.map(lambda x: x.reshape(x.shape[0] // chunk, chunk, *x.shape[1:]), per_task)


def _joined(chunks: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), chunks)


def _sharded(function: Callable, mesh: Mesh, out_specs) -> Callable:
    return jax.shard_map(function, mesh=mesh, in_specs=(_REPLICATED, _TASK), out_specs=out_specs, check_vma=False)


def _plan(per_task: PyTree, tasks_at_once: int) -> tuple[Mesh, int]:
    """Mesh, and how many tasks a device computes at once: a divisor of the tasks that it has."""
    count = _task_count(per_task)
    mesh = task_mesh(count)
    per_device = count // mesh.size
    if tasks_at_once == 0:
        tasks_at_once = 1 if jax.default_backend() == "cpu" else per_device
    return mesh, _largest_divisor(per_device, tasks_at_once)


def _largest_divisor(number: int, bound: int) -> int:
    return next(size for size in range(min(number, bound), 0, -1) if number % size == 0)


def _task_count(per_task: PyTree) -> int:
    return jax.tree.leaves(per_task)[0].shape[0]
