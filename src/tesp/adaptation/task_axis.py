"""The one place where the task axis is added to functions that are written for one task.

The task axis is also the axis of parallelism: a mesh axis named ``task`` shards it over devices, be they
several single-threaded CPU devices, GPUs or hosts. Within a device, tasks are computed a few at a time.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

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

    Args:
        function: From what all tasks share and the data of one task to the result of one task.
        shared: Pytree that every task gets whole.
        per_task: Pytree of arrays with leading axis ``task``.
        tasks_at_once: How many tasks a device computes in one vectorised call (0: chosen for the device).
            Few keep activations in cache and memory low, many amortise the overhead of small networks.
    """
    mesh, chunk = _plan(per_task, tasks_at_once)

    def on_device(shared, per_task):
        def chunk_of_tasks(_, data):
            return None, _vectorised(function)(shared, data)

        return _joined(jax.lax.scan(chunk_of_tasks, None, _chunked(per_task, chunk))[1])

    return _sharded(on_device, mesh, _TASK)(shared, per_task)


def mean_gradient_over_tasks(
    loss: Callable, parameters: PyTree, per_task: PyTree, tasks_at_once: int
) -> tuple[PyTree, PyTree]:
    """Gradient of the mean over tasks of ``loss``, and its auxiliary output for every task.

    Gradients are summed chunk by chunk, so memory does not grow with the number of tasks.

    Args:
        loss: (parameters, data of one task) → (loss, auxiliary).
        parameters: What is differentiated.
        per_task: Pytree of arrays with leading axis ``task``.
        tasks_at_once: As for `map_over_tasks`.

    Returns:
        (gradient, auxiliary with leading axis ``task``).
    """
    count = _task_count(per_task)
    mesh, chunk = _plan(per_task, tasks_at_once)

    def total(parameters, data):
        losses, auxiliary = _vectorised(loss)(parameters, data)
        return jnp.sum(losses) / count, auxiliary

    def on_device(parameters, per_task):
        def accumulate(so_far, data):
            gradient, auxiliary = jax.grad(total, has_aux=True)(parameters, data)
            return jax.tree.map(jnp.add, so_far, gradient), auxiliary

        start = jax.tree.map(jnp.zeros_like, parameters)
        gradient, auxiliary = jax.lax.scan(accumulate, start, _chunked(per_task, chunk))
        return jax.lax.psum(gradient, "task"), _joined(auxiliary)

    return _sharded(on_device, mesh, (_REPLICATED, _TASK))(parameters, per_task)


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
