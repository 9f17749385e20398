import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from helpers.vector_environments import AutomaticResets
from tesp.episodes.collect import Stopwatch, collect
from tesp.errors import ConfigurationError, EnvironmentFailedError, NonFiniteError
from tesp.tasks.gymnasium.given import vectorised
from tesp.tasks.gymnasium.spaces import check_spaces, to_bounds
from tesp.tasks.gymnasium.vector_pool import VectorPool


class Counter(gymnasium.Env):
    """Counts its steps up to a length that its task and its place in the count of resets decide."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, 1), np.float32)
    action_space = gymnasium.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))

    def __init__(self, lengths=(3,), told=True):
        self.lengths, self.told, self.resets, self.seeds, self.tasks = lengths, told, 0, [], []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.tasks.append(None if "tasks" not in (options or {}) else float(options["tasks"][0, 0]))
        self.length = self.lengths[self.resets % len(self.lengths)]
        self.resets += 1
        self.t = 0
        return self._observation(), {"position": np.zeros(2)} if self.told else {}

    def _observation(self):
        return np.array([[self.t], [self.resets]], np.float32)

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        ended = self.t == self.length
        info = {"is_success": np.bool_(ended), "position": (self.t, 2 * self.t), "distance": 7.0} if self.told else {}
        return self._observation(), float(self.t + action[0]), ended and self.length % 2 == 1, ended, info


def pool_of(*counters, mode="Disabled", **options):
    return VectorPool(SyncVectorEnv([lambda c=c: c for c in counters], autoreset_mode=AutoresetMode(mode)), **options)


def sample(pool, episodes=5, horizon=4, tasks=((0.5,), (1.5,)), seeds=None):
    """Rounds of a policy that always acts 0.25 and 0, so that rewards tell the step."""

    def act(_, seen, _noise):
        return np.tile(np.array([[0.25, 0.0]], np.float32), (len(seen.observation), 1)), ()

    tasks = np.array(tasks)
    noise = np.zeros((len(tasks), episodes, horizon, 2), np.float32)
    return collect(pool, act, tasks, noise, Stopwatch(), seeds)


def test_more_episodes_than_places():
    counter = Counter((3, 2, 9))
    episodes, outcomes = sample(pool_of(counter, pass_tasks=True), seeds=np.arange(100, 110))
    assert outcomes.length.ravel().tolist() == [3, 2, 4, 3, 2, 4, 3, 2, 4, 3]
    # 3 ends by itself, 2 is cut off by the environment and 9 by the horizon of 4.
    ends = episodes.valid.sum(axis=-1).ravel() - 1
    at = (np.repeat([0, 1], 5), np.tile(np.arange(5), 2), ends)
    assert episodes.terminated[at].tolist() == [n == 3 for n in outcomes.length.ravel()]
    assert episodes.truncated[at].tolist() == [n != 3 for n in outcomes.length.ravel()]
    assert episodes.terminated.sum() + episodes.truncated.sum() == 10
    np.testing.assert_allclose(episodes.reward[0, 0, :3], [1.5, 2.5, 3.5])
    assert counter.seeds == list(range(100, 110))
    assert counter.tasks == [0.5] * 5 + [1.5] * 5
    np.testing.assert_array_equal(episodes.observation[0, 1, :2, 0], [0, 1])


def test_what_the_info_tells():
    _, outcomes = sample(pool_of(Counter()), episodes=2)
    assert outcomes.success.all()
    np.testing.assert_array_equal(outcomes.position[0, 0, :3], [[1, 2], [2, 4], [3, 6]])
    assert (outcomes.final_distance == 7.0).all()
    np.testing.assert_array_equal(outcomes.start[0], [[0, 0], [0, 0]])
    _, silent = sample(pool_of(Counter(told=False)), episodes=2)
    assert not silent.success.any()
    assert np.isnan(silent.final_distance).all()
    assert np.isnan(silent.position).all()
    assert np.isnan(silent.start).all()
    np.testing.assert_allclose(silent.average_return, 1.5 + 2.5 + 3.5)


def test_places_that_are_not_wanted_any_more_disturb_nothing():
    alone, _ = sample(pool_of(Counter()), episodes=4)
    episodes, outcomes = sample(pool_of(*(Counter() for _ in range(3))), episodes=4)
    assert (outcomes.length == 3).all()
    np.testing.assert_array_equal(episodes.reward, alone.reward)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_environments_that_begin_when_they_please(mode):
    vector = AutomaticResets([lambda: Counter((3, 9))] * 2, mode)
    pool = VectorPool(vector)
    for _ in range(2):
        episodes, outcomes = sample(pool, episodes=4)
        # The horizon cuts off at 4; the environment goes on to 9 before the place can be used again.
        assert set(outcomes.length.ravel().tolist()) == {3, 4}
        steps = np.where(episodes.valid, episodes.observation[..., 0], -1)
        for n, row in zip(outcomes.length.ravel(), steps.reshape(-1, 4), strict=True):
            np.testing.assert_array_equal(row[:n], np.arange(n))
        assert (outcomes.start == 0).all()


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_episodes_that_never_end_are_not_waited_for(mode):
    vector = AutomaticResets([lambda: Counter((10**9,))] * 2, mode)
    pool = VectorPool(vector)
    for _ in range(2):
        _, outcomes = sample(pool, episodes=4)
        assert (outcomes.length == 4).all()


@pytest.mark.parametrize(
    ("told", "key"),
    [
        ({"position": (1.0, 2.0, 3.0), "distance": np.ones(2), "success": "no"}, "success"),
        ({"position": "here", "distance": None, "is_success": 1}, "position"),
        ({"position": np.ones((2, 2)), "healthy": True}, "position"),
        ({"position": (1.0, 2.0, 3.0), "distance": None, "colour": "red"}, None),
    ],
)
def test_whatever_an_info_holds(told, key):
    class Odd(Counter):
        def step(self, action):
            return *super().step(action)[:-1], told

    if key is not None:
        with pytest.raises(EnvironmentFailedError, match=rf"info\['({key}|distance|is_success)'\] of the vector"):
            sample(pool_of(Odd(), Odd()), episodes=3)
        return
    _, outcomes = sample(pool_of(Odd(), Odd()), episodes=3)
    assert (outcomes.length == 3).all()
    assert not outcomes.success.any()
    np.testing.assert_array_equal(outcomes.position[0, 0, :3], [[1, 2]] * 3)


def test_spaces_that_no_policy_acts_in():
    box, discrete = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Discrete(3)
    with pytest.raises(ConfigurationError, match=r"observation space is Discrete\(3\); .*FlattenObservation"):
        check_spaces(discrete, box)
    with pytest.raises(ConfigurationError, match=r"action space is Discrete\(3\)"):
        check_spaces(box, discrete)
    with pytest.raises(ConfigurationError, match="its bounds must be finite"):
        check_spaces(box, gymnasium.spaces.Box(-np.inf, 1, (2,)))


def test_actions_are_scaled_to_the_bounds():
    low, high = np.array([-2.0, 0.0]), np.array([2.0, 10.0])
    np.testing.assert_allclose(to_bounds(np.array([[-1.0, 0.0], [1.0, 0.5]]), low, high), [[-2, 5], [2, 7.5]])


def test_an_action_that_is_no_number():
    pool = pool_of(Counter())
    pool.start(np.arange(1), np.zeros((1, 1)), np.arange(1))
    with pytest.raises(NonFiniteError, match="action"):
        pool.step(np.array([[np.nan, 0.0]]))


def test_the_metadata_of_what_is_given_stay_as_they_are():
    counter = Counter()
    before = dict(Counter.metadata)
    vector, own = vectorised(counter, 3)
    assert not own
    assert vector.num_envs == 1
    assert Counter.metadata == before
    assert vectorised(Counter, 3)[0].num_envs == 3
    assert [vectorised(Counter, n)[0].num_envs for n in (8, 9, 16, 30)] == [8, 5, 8, 8]


def test_what_is_given_is_not_closed_and_what_was_made_is(monkeypatch):
    closed = []
    monkeypatch.setattr(Counter, "close", lambda self: closed.append(self))
    vectorised(Counter(), 3)[0].close()
    assert not closed
    vectorised(Counter, 3)[0].close()
    assert len(closed) == 3

    made = []

    def two_and_no_more():
        if len(made) == 2:
            raise RuntimeError("no licence left")
        made.append(Counter())
        return made[-1]

    closed.clear()
    with pytest.raises(ConfigurationError, match="no licence left"):
        vectorised(two_and_no_more, 3)
    assert closed == made
