"""A round that is measured in steps: in lockstep, in a pool and compiled it has the same episodes."""

import jax
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from helpers import compiled_rounds
from helpers.compiled_rounds import Linear, assert_same
from helpers.point import PointSimulation
from helpers.trees import assert_identical
from tesp.adaptation.task_axis import task_mesh
from tesp.distributions import Gaussian
from tesp.episodes import compiled
from tesp.episodes.actor import Actor
from tesp.episodes.collect import Stopwatch, collect
from tesp.episodes.compiled import collect_compiled
from tesp.errors import ConfigurationError, NonFiniteError
from tesp.tasks.gymnasium.task_wrappers import PlaceEnvironment
from tesp.tasks.gymnasium.vector_pool import VectorPool
from tesp.tasks.point import PointFamily
from tesp.tasks.reacher import reacher2
from tesp.tasks.simulation import Simulation

#: Reached at once, out of reach, reached after a few steps.
TASKS = np.array([[0.03, 0.03], [0.0, 2.0], [-0.15, 0.1]])
N, CAPACITY, HORIZON = 3, 12, 6


def noise_of(seed=1, tasks=3):
    return np.random.default_rng(seed).normal(size=(tasks, CAPACITY, HORIZON, 2)).astype(np.float32)


def act(_, seen, noise):
    mean = (0.3 - seen.observation[:, :2]).astype(np.float32)
    log_std = np.full_like(mean, -0.5) + 0.1 * mean
    return mean + np.exp(log_std) * noise, Gaussian(mean, log_std)


def counting(lengths, horizon=HORIZON, at_once=N):
    """Which episodes count, (task, episode), from the lengths of all that there is room for."""
    before = np.cumsum(lengths, axis=1) - lengths
    return before < at_once * horizon


def part(tree, where):
    return jax.tree.map(lambda x: x[where], tree)


@pytest.fixture(scope="module")
def all_of_them():
    return collect(PointSimulation(), act, TASKS, noise_of(), Stopwatch())


@pytest.fixture(scope="module")
def in_lockstep():
    return collect(PointSimulation(), act, TASKS, noise_of(), Stopwatch(), at_once=N)


def test_it_has_the_first_episodes_until_the_budget_is_met(all_of_them, in_lockstep):
    counts = counting(all_of_them[1].length)
    assert sorted(counts.sum(axis=1))[0] == N < sorted(counts.sum(axis=1))[-1] == CAPACITY
    episodes, outcomes = in_lockstep
    np.testing.assert_array_equal(episodes.valid.any(axis=-1), counts)
    assert_identical(part(episodes, counts), part(all_of_them[0], counts))
    for name in ("average_return", "success", "final_distance", "length", "unhealthy", "start", "position"):
        found, expected = getattr(outcomes, name)[counts], getattr(all_of_them[1], name)[counts]
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert not outcomes.length[~counts].any()
    assert not any(np.any(leaf[~counts]) for leaf in jax.tree.leaves(episodes))
    np.testing.assert_array_equal(outcomes.judged, np.broadcast_to(np.arange(CAPACITY) < N, counts.shape))


def test_the_budget_is_met_unless_the_round_is_full(in_lockstep):
    length = in_lockstep[1].length
    full = (length > 0).all(axis=1)
    assert full.tolist() == [True, False, False]
    assert (length.sum(axis=1)[~full] >= N * HORIZON).all()
    assert length.sum(axis=1)[0] < N * HORIZON
    # Without the last one it was not met: nothing is sampled in vain.
    last = np.take_along_axis(length, (length > 0).sum(axis=1, keepdims=True) - 1, axis=1)[:, 0]
    assert (length.sum(axis=1) - last < N * HORIZON).all()


def test_a_simulation_never_waits_for_others_of_its_task():
    """Task 2 goes on at once: with a round of its own it takes the same steps of the simulation."""
    simulation = PointSimulation()
    collect(simulation, act, TASKS, noise_of(), Stopwatch(), at_once=N)
    alone = PointSimulation()
    collect(alone, act, TASKS[2:], noise_of()[2:], Stopwatch(), at_once=N)
    together = [ids[ids >= 2 * N] - 2 * N for ids in simulation.stepped]
    assert [ids.tolist() for ids in alone.stepped] == [ids.tolist() for ids in together if ids.size]
    assert len(alone.stepped[0]) == N


def test_outcomes_of_the_judged_alone(in_lockstep):
    outcomes = in_lockstep[1]
    assert_identical(outcomes.of_judged(), jax.tree.map(lambda x: x[:, :N], outcomes))


@pytest.mark.parametrize("size", [1, 2, 5, 9])
@pytest.mark.parametrize("mode", ["Disabled", "NextStep"])
def test_a_pool_samples_the_same_round(size, mode):
    family = PointFamily(horizon=HORIZON, inner_radius=0.0)
    tasks = np.array([[0.03, 0.02], [0.0, 2.0]])

    def fast(_, seen, noise):
        action = np.round(noise, 0)
        return 0.3 * action + 0.05 * tasks[0].astype(np.float32), (action, seen.observation.astype(np.float32))

    noise = noise_of(tasks=2)
    expected = collect(family.simulate(2 * N), fast, tasks, noise, Stopwatch(), at_once=N)
    assert (expected[1].length[0] > 0).sum() > N
    vector = SyncVectorEnv(
        [lambda i=i: PlaceEnvironment(family.environment().unwrapped, i, "goal") for i in range(size)],
        autoreset_mode=AutoresetMode(mode),
    )
    found = collect(VectorPool(vector, pass_tasks=True), fast, tasks, noise, Stopwatch(), at_once=N)
    vector.close()
    assert_same(expected, found)


def near_and_far(links=2):
    """A round of arms, some of which are at their goals soon."""
    sampled = compiled_rounds.make_round(links)
    start = compiled_rounds.FAMILIES[links].simulate(1).positions[0]
    tasks = start + np.array([[-0.02, 0.06], [0.5, 0.5], [-0.02, 0.07], [-0.01, -0.065]])
    noise = np.random.default_rng(3).normal(size=(4, CAPACITY, HORIZON, links)).astype(np.float32)
    return sampled, tasks, noise


@pytest.mark.parametrize("own_policies", [False, True])
def test_a_compiled_round_is_that_in_lockstep_and_nothing_is_compiled_anew(own_policies):
    sampled, tasks, noise = near_and_far()
    outside, agents = Actor(sampled.agents, 4, CAPACITY), sampled.agents
    if own_policies:
        agents = Linear(None, (np.stack([sampled.policy] * 4), sampled.embedding), by_task=True)

    def sample(noise):
        return collect_compiled(sampled.dynamics, agents, tasks, noise, task_mesh(4), 2, N)[:2]

    found = sample(noise)
    expected = collect(reacher2(engine="closed-form").simulate(4 * N), outside, tasks, noise, Stopwatch(), at_once=N)
    begun = (expected[1].length > 0).sum(axis=1)
    assert begun.min() == N < begun.max()
    assert_same(expected, found)
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
    with jax.enable_x64(True):
        size = compiled._sample._cache_size()
    assert not np.array_equal(sample(2 * noise)[1].length, found[1].length)
    assert compiled._sample._cache_size() == size > 0


def test_threads_change_nothing_even_with_noise_on_the_dynamics():
    family = reacher2()
    _, tasks, noise = near_and_far()

    def sample(threads, sigma):
        simulation = family.simulate(4 * N, threads)
        simulation.disturb(sigma, [1])
        return collect(simulation, act, tasks, noise, Stopwatch(), at_once=N)

    one, two = sample(1, 0.01), sample(2, 0.01)
    assert_identical(two, one)
    assert (one[1].length > 0).sum(axis=1).max() > N
    assert np.any(sample(1, 0.0)[0].observation[:, 0] != one[0].observation[:, 0])


def test_what_breaks_later_names_its_task_and_its_own_step():
    with pytest.raises(NonFiniteError, match=r"observation .* in task 1 \(at control step 2 of episode \d\)"):
        collect(PointSimulation(broken=TASKS[1]), act, TASKS, noise_of(), Stopwatch(), at_once=N)


def test_simulations_without_restart_say_what_is_missing():
    class Old(PointSimulation):
        restart = Simulation.restart

    with pytest.raises(ConfigurationError, match=r"Old has no method restart.*round_budget"):
        collect(Old(), act, TASKS, noise_of(), Stopwatch(), at_once=N)
