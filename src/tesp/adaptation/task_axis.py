"""The one place where the task axis is added to functions that are written for one task."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from tesp.types import PyTree


def map_over_tasks(function: Callable, per_task: PyTree, tasks_at_once: int) -> PyTree:
    """Apply ``function`` to every task, ``tasks_at_once`` of them in one vectorised call.

    Args:
        function: From the data of one task to the result of one task.
        per_task: Pytree of arrays with leading axis ``task``.
        tasks_at_once: How many tasks are computed together; small numbers keep activations in cache and
            memory low, large ones amortise the overhead of small networks.
    """
    count = _task_count(per_task)
    if tasks_at_once >= count:
        return jax.vmap(function)(per_task)
    return jax.lax.map(function, per_task, batch_size=tasks_at_once)


def mean_gradient_over_tasks(
    loss: Callable, parameters: PyTree, per_task: PyTree, tasks_at_once: int
) -> tuple[PyTree, PyTree]:
    """Gradient of the mean over tasks of ``loss``, and its auxiliary output for every task.

    Gradients are summed chunk by chunk, so memory does not grow with the number of tasks.

    Args:
        loss: (parameters, data of one task) → (loss, auxiliary).
        parameters: What is differentiated.
        per_task: Pytree of arrays with leading axis ``task``.
        tasks_at_once: As for :func:`map_over_tasks`; lowered to the nearest divisor of the number of tasks.

    Returns:
        (gradient, auxiliary with leading axis ``task``).
    """
    count = _task_count(per_task)
    chunk = next(size for size in range(min(tasks_at_once, count), 0, -1) if count % size == 0)

    def total(parameters, data):
        losses, auxiliary = jax.vmap(loss, in_axes=(None, 0))(parameters, data)
        return jnp.sum(losses) / count, auxiliary

    gradient_of = jax.grad(total, has_aux=True)
    if chunk == count:
        return gradient_of(parameters, per_task)

    def accumulate(so_far, data):
        gradient, auxiliary = gradient_of(parameters, data)
        return jax.tree.map(jnp.add, so_far, gradient), auxiliary

    chunks = jax.tree.map(lambda x: x.reshape(count // chunk, chunk, *x.shape[1:]), per_task)
    gradient, auxiliary = jax.lax.scan(accumulate, jax.tree.map(jnp.zeros_like, parameters), chunks)
    return gradient, jax.tree.map(lambda x: x.reshape(count, *x.shape[2:]), auxiliary)


def _task_count(per_task: PyTree) -> int:
    return jax.tree.leaves(per_task)[0].shape[0]
