import jax
import numpy as np
import pytest

from helpers.point import PointSimulation
from tesp.acting import Seen
from tesp.distributions import Gaussian
from tesp.episodes.collect import Stopwatch, collect
from tesp.errors import NonFiniteError

TASKS = np.array([[0.25, 0.0], [0.0, 2.0], [-0.15, 0.1]])
EPISODES, HORIZON = 4, 6


def noise_of(seed=0):
    return np.random.default_rng(seed).normal(size=(3, EPISODES, HORIZON, 2)).astype(np.float32)


def act(_, seen, noise):
    """A policy that depends on what it observes; the tasks are told apart by nothing."""
    mean = (0.3 - seen.observation).astype(np.float32)
    log_std = np.full_like(mean, -0.5) + 0.1 * mean
    return mean + np.exp(log_std) * noise, Gaussian(mean, log_std)


def one_by_one(noise):
    """Every episode alone, in a simulation of its own, as unpadded lists."""
    for task, goal in enumerate(TASKS):
        for n in range(EPISODES):
            simulation, steps = PointSimulation(), []
            observation = simulation.reset(goal[None]).astype(np.float32)
            for t in range(HORIZON):
                action, (mean, log_std) = act(None, Seen(observation), noise[task, n, t])
                done = simulation.step(np.array([0]), action)
                steps.append((observation[0], action[0], mean[0], log_std[0], done))
                observation = done.observation.astype(np.float32)
                if done.terminated[0]:
                    break
            yield (task, n), steps


@pytest.fixture(scope="module")
def collected():
    simulation, noise = PointSimulation(), noise_of()
    return simulation, noise, *collect(simulation, act, TASKS, noise, Stopwatch())


def test_equals_episodes_sampled_alone(collected):
    _, noise, episodes, outcomes = collected
    lengths = []
    for at, steps in one_by_one(noise):
        n, last = len(steps), steps[-1][-1]
        lengths.append(n)
        assert episodes.valid[at].tolist() == [True] * n + [False] * (HORIZON - n)
        found = (episodes.observation, episodes.action, *episodes.behaviour)
        for index, values in enumerate(found):
            np.testing.assert_allclose(values[at][:n], [s[index] for s in steps], rtol=1e-6)
        for name in ("reward", "distance_reward"):
            expected = [getattr(s[-1], name)[0] for s in steps]
            np.testing.assert_allclose(getattr(episodes, name)[at][:n], expected, rtol=1e-6)
        ended = bool(last.terminated[0])
        assert episodes.terminated[at].tolist() == [ended and t == n - 1 for t in range(HORIZON)]
        assert episodes.truncated[at].tolist() == [not ended and t == n - 1 for t in range(HORIZON)]
        assert outcomes.length[at] == n
        assert outcomes.success[at] == ended
        assert not outcomes.unhealthy[at]
        np.testing.assert_allclose(outcomes.final_distance[at], last.distance[0], rtol=1e-5)
        np.testing.assert_allclose(outcomes.average_return[at], sum(s[-1].distance_reward[0] for s in steps), rtol=1e-5)
        np.testing.assert_allclose(outcomes.position[at][:n], [s[-1].position[0] for s in steps], rtol=1e-5)
        assert np.isnan(outcomes.position[at][n:]).all()
    assert min(lengths) < HORIZON == max(lengths), "some episodes must end early and some must not"


def test_padding_is_zero(collected):
    _, _, episodes, _ = collected
    for path, leaf in jax.tree_util.tree_leaves_with_path(episodes):
        assert not np.any(leaf[~episodes.valid]), path


def test_only_running_episodes_are_stepped(collected):
    simulation, _, episodes, _ = collected
    running = episodes.valid.reshape(-1, HORIZON)
    assert [ids.tolist() for ids in simulation.stepped] == [np.flatnonzero(r).tolist() for r in running.T]


def test_only_running_episodes_are_acted_for(collected):
    _, noise, episodes, _ = collected
    asked = []

    def listening(rows, seen, step_noise):
        asked.append((rows.tolist(), step_noise))
        return act(rows, seen, step_noise)

    again, _ = collect(PointSimulation(), listening, TASKS, noise, Stopwatch())
    np.testing.assert_array_equal(again.action, episodes.action)
    running = episodes.valid.reshape(-1, HORIZON)
    assert [rows for rows, _ in asked] == [np.flatnonzero(r).tolist() for r in running.T]
    for t, (rows, step_noise) in enumerate(asked):
        np.testing.assert_array_equal(step_noise, noise[:, :, t].reshape(-1, 2)[rows])


def test_arriving_at_the_last_step_is_not_a_truncation():
    def ahead(_rows, _seen, noise):
        one = np.ones_like(noise)
        return one * [1, 0], ()

    tasks = np.array([[0.65, 0.0], [0.95, 0.0]])
    episodes, _ = collect(PointSimulation(), ahead, tasks, np.zeros((2, 1, 6, 2), np.float32), Stopwatch())
    assert episodes.terminated[:, 0, -1].tolist() == [True, False]
    assert episodes.truncated[:, 0, -1].tolist() == [False, True]


def test_stops_when_nothing_runs():
    simulation = PointSimulation()
    tasks = np.array([[0.15, 0.0]])

    def ahead(_rows, _seen, noise):
        one = np.ones_like(noise)
        return one * [1, 0], ()

    episodes, _ = collect(simulation, ahead, tasks, np.zeros((1, 2, 50, 2), np.float32), Stopwatch())
    assert len(simulation.stepped) == 1
    assert episodes.valid.shape == (1, 2, 50)


def test_a_broken_observation_names_its_task():
    simulation = PointSimulation(broken=TASKS[1])
    with pytest.raises(NonFiniteError, match=r"observation .* in task 1 \(at control step 2 of episode \d\)") as error:
        collect(simulation, act, TASKS, noise_of(), Stopwatch())
    assert error.value.task == 1
    assert error.value.quantity == "observation"


def test_a_broken_reward_names_its_task():
    class Immeasurable(PointSimulation):
        def step(self, ids, actions):
            done = super().step(ids, actions)
            done.reward[ids == 2 * EPISODES + 1] = np.nan
            return done

    with pytest.raises(NonFiniteError, match=r"reward .* in task 2") as error:
        collect(Immeasurable(), act, TASKS, noise_of(), Stopwatch())
    assert error.value.task == 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_action_names_its_task(bad):
    def broken(rows, seen, noise):
        action, behaviour = act(rows, seen, noise)
        action[rows == 2 * EPISODES + 1] = [bad, -bad]
        return action, behaviour

    with pytest.raises(NonFiniteError, match=r"action .* in task 2") as error:
        collect(PointSimulation(), broken, TASKS, noise_of(), Stopwatch())
    assert error.value.task == 2


def test_large_but_finite_numbers_are_not_an_error():
    """Their sum overflows float32, they themselves do not."""

    def huge(_rows, _seen, noise):
        return np.full(noise.shape, 3e38, np.float32), ()

    collect(PointSimulation(), huge, TASKS, noise_of(), Stopwatch())


def test_stopwatch():
    stopwatch = Stopwatch()
    collect(PointSimulation(), act, TASKS, noise_of(), stopwatch)
    assert set(stopwatch.seconds) == {"physics", "acting", "recording"}
    assert all(seconds > 0 for seconds in stopwatch.seconds.values())
