"""Agents with memory are told the same, and remember the same, however their episodes are sampled."""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from helpers.trees import assert_close
from tesp.acting import Acted, Agent
from tesp.adaptation.task_axis import task_mesh
from tesp.episodes.actor import Actor
from tesp.episodes.budget import ROUND_CAPACITY
from tesp.episodes.collect import Stopwatch, collect
from tesp.episodes.compiled import collect_compiled
from tesp.tasks.gymnasium.task_wrappers import PlaceEnvironment
from tesp.tasks.gymnasium.vector_pool import VectorPool
from tesp.tasks.reacher import reacher2

N, HORIZON = 3, 8
FAMILY = reacher2(engine="closed-form", horizon=HORIZON)
#: Two near the start, where episodes end early, and one far away.
TASKS = FAMILY.simulate(1).positions[0] + np.array([[-0.02, 0.06], [0.5, 0.5], [-0.02, 0.07]])


class Remembering(Agent):
    """Writes down all that it is told; remembers its number of steps, and a number that the episode begins with."""

    remembers: ClassVar[bool] = True

    shared: Any
    own: Any
    by_task: bool = eqx.field(static=True, default=False)

    def start(self, key):
        return jnp.zeros((), jnp.int32), jax.random.normal(key, (2,))

    def act(self, memory, seen, noise):
        steps, drawn = memory
        action = 0.5 * noise + 0.1 * drawn + 0.1 * self.own + 0.2 * seen.action
        told = {"action": seen.action, "reward": seen.reward, "start": seen.start, "steps": steps, "drawn": drawn}
        # An integer of the agent's own, which has 64 bits inside a compiled round.
        return Acted(action, told, ((steps + 1).astype(int), drawn))


def agents(by_task):
    return Remembering((), jnp.asarray(np.random.default_rng(0).normal(size=(len(TASKS), 2)), jnp.float32), by_task)


def keys(capacity):
    return jax.random.split(jax.random.key(5), (len(TASKS), capacity))


def noise_of(capacity):
    return np.random.default_rng(1).normal(size=(len(TASKS), capacity, HORIZON, 2)).astype(np.float32)


def stepped(make, by_task, capacity, at_once):
    actor = Actor(agents(by_task), len(TASKS), capacity, keys=keys(capacity))
    episodes, outcomes = collect(make(), actor, TASKS, noise_of(capacity), Stopwatch(), None, at_once)
    return episodes, outcomes, jax.tree.map(lambda x: x.reshape(len(TASKS), capacity, *x.shape[1:]), actor.memory)


def in_lockstep():
    return FAMILY.simulate(len(TASKS) * N)


def in_a_pool():
    made = [lambda i=i: PlaceEnvironment(FAMILY.environment().unwrapped, i, "goal") for i in range(4)]
    return VectorPool(SyncVectorEnv(made, autoreset_mode=AutoresetMode.DISABLED), pass_tasks=True)


def compiled(by_task, capacity, at_once):
    begin = jax.vmap(jax.vmap(agents(by_task).start))(keys(capacity))
    dynamics = FAMILY.simulate(1).compiled
    mesh = task_mesh(len(TASKS))
    return collect_compiled(dynamics, agents(by_task), TASKS, noise_of(capacity), mesh, 2, at_once, begin)


def test_agents_without_what_their_episodes_begin_with_are_refused():
    with pytest.raises(ValueError, match="keys is None, but a Remembering has memory"):
        Actor(agents(False), len(TASKS), N)
    with pytest.raises(ValueError, match="memory is empty, but a Remembering has one"):
        collect_compiled(FAMILY.simulate(1).compiled, agents(False), TASKS, noise_of(N), task_mesh(len(TASKS)))


BUDGETS = pytest.mark.parametrize("at_once", [None, N], ids=["episodes", "steps"])


def capacity_of(at_once):
    return ROUND_CAPACITY * N if at_once else N


@BUDGETS
@pytest.mark.parametrize("by_task", [False, True])
def test_what_is_told_is_what_happened(by_task, at_once):
    episodes, outcomes, (steps, drawn) = stepped(in_lockstep, by_task, capacity_of(at_once), at_once)
    assert len(np.unique(outcomes.length)) > 2, "episodes must end at different steps"
    told, valid = episodes.behaviour, episodes.valid
    times = np.broadcast_to(np.arange(HORIZON), valid.shape)
    np.testing.assert_array_equal(told["start"][valid], (times == 0)[valid])
    np.testing.assert_array_equal(told["steps"][valid], times[valid])
    later = valid & (times > 0)
    before = np.roll(later, -1, axis=-1)
    np.testing.assert_array_equal(told["action"][later], episodes.action[before])
    np.testing.assert_array_equal(told["reward"][later], episodes.reward[before])
    assert not np.any(told["action"][valid & (times == 0)])
    np.testing.assert_array_equal(steps, outcomes.length)
    np.testing.assert_array_equal(told["drawn"][:, :, 0][valid[:, :, 0]], drawn[valid[:, :, 0]])


@BUDGETS
@pytest.mark.parametrize("by_task", [False, True])
def test_a_compiled_round_is_that_in_lockstep(by_task, at_once):
    expected = stepped(in_lockstep, by_task, capacity_of(at_once), at_once)
    found = compiled(by_task, capacity_of(at_once), at_once)
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5)


@BUDGETS
def test_a_pool_samples_the_same(at_once):
    capacity = capacity_of(at_once)
    expected, found = (stepped(make, False, capacity, at_once) for make in (in_lockstep, in_a_pool))
    assert_close(found[0].behaviour, expected[0].behaviour, rtol=1e-4, atol=1e-5)
    assert_close(found[2], expected[2], rtol=1e-4, atol=1e-5)
