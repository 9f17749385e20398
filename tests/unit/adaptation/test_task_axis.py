import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers.trees import assert_close
from tesp.adaptation.task_axis import map_over_tasks, mean_gradient_over_tasks, shard_tasks, task_mesh

TASKS = 6
SHARED = {"w": np.array([0.5, -1.0, 2.0], np.float32), "b": np.float32(0.3)}


@pytest.fixture(scope="module")
def data():
    return {"x": jnp.asarray(np.random.default_rng(0).normal(size=(TASKS, 3)), jnp.float32)}


def of_one_task(shared, data):
    assert data["x"].shape == (3,), "functions are written for one task"
    loss = jnp.sin(jnp.dot(shared["w"], data["x"]) + shared["b"])
    return loss, {"loss": loss, "square": data["x"] ** 2}


@pytest.mark.parametrize("tasks_at_once", [0, 1, 4, 100])
def test_map_equals_vmap(data, tasks_at_once):
    actual = jax.jit(lambda s, d: map_over_tasks(of_one_task, s, d, tasks_at_once))(SHARED, data)
    assert_close(actual, jax.jit(jax.vmap(of_one_task, in_axes=(None, 0)))(SHARED, data), rtol=1e-6)


@pytest.mark.parametrize("tasks_at_once", [0, 1, 4, 100])
def test_mean_gradient_equals_the_gradient_of_the_mean(data, tasks_at_once):
    gradient, auxiliary = jax.jit(lambda s, d: mean_gradient_over_tasks(of_one_task, s, d, tasks_at_once))(SHARED, data)

    def mean(shared):
        losses, auxiliary = jax.vmap(of_one_task, in_axes=(None, 0))(shared, data)
        return jnp.mean(losses), auxiliary

    expected = jax.jit(jax.grad(mean, has_aux=True))(jax.tree.map(jnp.asarray, SHARED))
    assert_close((gradient, auxiliary), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tasks", [1, 3, 4, 7])
def test_mesh_divides_the_tasks(tasks):
    mesh = task_mesh(tasks)
    assert mesh.axis_names == ("task",)
    assert tasks % mesh.size == 0
    assert shard_tasks(np.zeros((tasks, 2), np.float32), tasks).shape == (tasks, 2)
