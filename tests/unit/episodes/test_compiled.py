"""A round that is compiled as a whole is the round that is sampled step by step."""

import dataclasses
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from helpers import compiled_rounds
from helpers.compiled_rounds import assert_same, make_round
from tesp.acting import Acted, Agent
from tesp.episodes import compiled
from tesp.episodes.actor import Actor
from tesp.episodes.collect import Stopwatch, collect
from tesp.episodes.compiled import collect_compiled
from tesp.errors import NonFiniteError
from tesp.tasks.compiled_dynamics import CompiledDynamics, CompiledTransition


def step_by_step(sampled):
    """The same round from `collect`, on the simulation that is stepped from outside."""
    act = Actor(sampled.agents, *sampled.noise.shape[:2])
    return collect(sampled.simulate(), act, sampled.tasks, sampled.noise, Stopwatch())


@pytest.mark.parametrize(("links", "own_policies", "seed"), [(2, False, 0), (4, False, 0), (2, True, 5)])
def test_equals_a_round_sampled_step_by_step(links, own_policies, seed):
    sampled = make_round(links, own_policies, seed)
    # With blocks of two rows, rows move together again and again.
    expected, found = step_by_step(sampled), sampled.collect(block=2)
    lengths = expected[1].length
    assert len(np.unique(lengths)) > 3, "episodes must end at different steps"
    assert lengths.max() == sampled.noise.shape[2]
    assert_same(expected, found)


def test_types_and_shapes_are_those_of_step_by_step():
    sampled = make_round(2)
    for one, other in zip(jax.tree.leaves(step_by_step(sampled)), jax.tree.leaves(sampled.collect()), strict=True):
        assert isinstance(other, np.ndarray)
        assert (one.dtype, one.shape) == (other.dtype, other.shape)


def test_padding_is_zero():
    episodes, outcomes = make_round(2).collect()
    assert not episodes.valid.all()
    for path, leaf in jax.tree_util.tree_leaves_with_path(episodes):
        assert not np.any(leaf[~episodes.valid]), path
    np.testing.assert_array_equal(np.isnan(outcomes.position).all(axis=-1), ~episodes.valid)


def test_nothing_is_compiled_anew():
    first, second = make_round(2, seed=0), make_round(2, seed=1)
    first.collect()
    with jax.enable_x64(True):
        size = compiled._sample._cache_size()
    one, other = second.collect()[0], first.collect()[0]
    assert compiled._sample._cache_size() == size > 0
    assert np.any(one.action != other.action)


def test_the_simulation_is_left_alone_and_the_process_in_single_precision():
    sampled = make_round(2)
    simulation = sampled.simulate()
    simulation.reset(np.repeat(sampled.tasks, sampled.noise.shape[1], axis=0))
    simulation.step(np.arange(len(simulation.qpos)), np.ones((len(simulation.qpos), 2)))
    before = simulation.qpos.copy()
    dataclasses.replace(sampled, dynamics=simulation.compiled).collect()
    np.testing.assert_array_equal(simulation.qpos, before)
    assert jnp.ones(1).dtype == np.float32


def test_noise_on_the_dynamics_is_not_compiled():
    simulation = make_round(2).simulate()
    assert simulation.compiled == simulation.compiled is not None
    simulation.disturb(0.1, [0])
    assert simulation.compiled is None
    simulation.disturb(0.0, [0])
    assert simulation.compiled is not None


@dataclass(frozen=True)
class Point(CompiledDynamics):
    """x ← x + 0.1·clip(a); with a wrong ``quantity`` in the third step towards goals with x > 1."""

    quantity: str = ""
    stop_at: float = 0.0

    def start(self, task):
        return (jnp.zeros(2), jnp.array(0)), jnp.zeros(2), jnp.zeros(2)

    def step(self, state, task, action):
        (x, steps), good = state, (state[1] != 2) | (task[0] <= 1)
        x = x + 0.1 * jnp.clip(action, -1, 1)
        distance = jnp.sqrt(jnp.sum((x - task) ** 2))
        arrived = distance < self.stop_at
        observation = jnp.where(good | (self.quantity != "observation"), x, jnp.nan)
        reward = jnp.where(good | (self.quantity != "reward"), -distance, jnp.inf)
        done = CompiledTransition(observation, reward, -distance, distance, x, arrived, arrived, steps != 1)
        return (x, steps + 1), done


class Towards(Agent):
    """Always acts the same."""

    shared: Any
    own: Any
    by_task: bool = eqx.field(static=True, default=False)

    def act(self, memory, seen, noise):
        action = (self.own if self.by_task else self.shared) + 0 * noise
        return Acted(action, (), memory)


def of_points(dynamics, tasks, policy, horizon=6, own_policies=False):
    tasks, noise = np.asarray(tasks), np.ones((len(tasks), 2, horizon, 2), np.float32)
    agents = Towards(None, policy, by_task=True) if own_policies else Towards(policy, ())
    return collect_compiled(dynamics, agents, tasks, noise, compiled_rounds.mesh())[:2]


def test_arriving_at_the_last_step_is_not_a_truncation():
    tasks = np.array([[0.6, 0.0], [0.9, 0.0], [0.3, 0.0]])
    episodes, outcomes = of_points(Point(stop_at=0.05), tasks, jnp.array([1.0, 0.0]))
    assert outcomes.length.tolist() == [[6, 6], [6, 6], [3, 3]]
    assert episodes.terminated[:, 0, -1].tolist() == [True, False, False]
    assert episodes.truncated[:, 0, -1].tolist() == [False, True, False]
    assert outcomes.success[:, 0].tolist() == [True, False, True]
    assert outcomes.unhealthy.all()
    np.testing.assert_allclose(outcomes.final_distance[:, 0], [0.0, 0.3, 0.0], atol=1e-12)


@pytest.mark.parametrize("quantity", ["observation", "reward"])
def test_broken_numbers_name_their_task(quantity):
    with pytest.raises(NonFiniteError, match=rf"{quantity} .* in task 1 \(at control step 2 of episode \d\)") as error:
        of_points(Point(quantity), np.array([[0.5, 0.5], [1.5, 0.0], [2.0, 0.0]]), jnp.array([0.1, 0.0]))
    assert (error.value.quantity, error.value.task) == (quantity, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_action_names_its_task(bad):
    policies = jnp.zeros((3, 2)).at[2, 1].set(bad)
    with pytest.raises(NonFiniteError, match=r"action .* in task 2 \(at control step 0 of episode 0\)"):
        of_points(Point(), np.ones((3, 2)), policies, own_policies=True)


def test_what_is_broken_after_an_episodes_end_is_no_error():
    episodes, _ = of_points(Point("reward", stop_at=0.95), np.array([[1.1, 0.0]]), jnp.array([1.0, 0.0]))
    assert episodes.valid[0].sum(axis=-1).tolist() == [2, 2]


def test_two_devices_sample_what_one_does(tmp_path):
    flags = "--xla_force_host_platform_device_count=2 --xla_cpu_multi_thread_eigen=false"
    done = subprocess.run(
        [sys.executable, "-m", "helpers.compiled_rounds", str(tmp_path / "two.npz")],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["2"]
    one = compiled_rounds.leaves(make_round(2).collect())
    with np.load(tmp_path / "two.npz") as two:
        assert len(two.files) == len(one)
        for name, expected in one.items():
            np.testing.assert_allclose(two[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
