import pickle

import gymnasium
import numpy as np
import pytest

from tesp.environments import register_environments
from tesp.errors import ConfigurationError, NonFiniteError
from tesp.tasks.ant import ant
from tesp.tasks.environment import FamilyEnvironment
from tesp.tasks.point import PointFamily
from tesp.tasks.registration import NamedEnvironment

register_environments()


def test_truncated_at_the_horizon_and_not_before():
    env = gymnasium.make("tesp/Point-v0")
    env.reset(options={"goal": (1.0, 1.0)})
    flags = [env.step(np.zeros(2, np.float32))[2:4] for _ in range(100)]
    assert flags[:-1] == [(False, False)] * 99
    assert flags[-1] == (False, True)
    env.close()


def test_info():
    env = NamedEnvironment("point")
    observation, info = env.reset(options={"goal": [0.3, 0.4]})
    np.testing.assert_array_equal(observation, 0)
    assert info["distance"] == pytest.approx(0.5)
    assert info["success"] is False
    np.testing.assert_array_equal(info["goal"], [0.3, 0.4])
    _, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0]))
    assert info["distance"] == pytest.approx(np.hypot(0.2, 0.4))
    assert info["distance_reward"] == -info["distance"]
    assert reward == pytest.approx(info["distance_reward"] - 0.001)
    assert (terminated, truncated, info["success"], info["healthy"]) == (False, False, False, True)
    assert set(info) == {"distance_reward", "distance", "success", "goal", "healthy", "position"}


def test_goals_are_drawn_uniformly_from_the_training_area():
    env = NamedEnvironment("point")
    goals = [env.reset(seed=0)[1]["goal"]] + [env.reset()[1]["goal"] for _ in range(999)]
    squared = np.sum(np.square(goals), axis=1)
    assert squared.min() > 0.2**2
    assert squared.max() < 1.1**2
    share = np.sort((squared - 0.04) / (1.21 - 0.04))
    assert np.abs(share - np.linspace(0, 1, 1000)).max() < 1.95 / np.sqrt(1000)
    np.testing.assert_array_equal(env.reset(seed=0)[1]["goal"], goals[0])
    assert abs(np.mean(goals)) < 0.05


def test_a_goal_underfoot_counts_as_success_at_reset():
    assert NamedEnvironment("point").reset(options={"goal": (0.01, 0.0)})[1]["success"] is True


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gaol": (1, 1)}, "no option 'gaol'"),
        ({"goal": (1, 1, 1)}, "two finite numbers"),
        ({"goal": "north"}, "two finite numbers"),
        ({"goal": (np.inf, 0)}, "two finite numbers"),
    ],
)
def test_bad_reset_options(options, words):
    with pytest.raises(ConfigurationError, match=words):
        NamedEnvironment("point").reset(options=options)


def test_options_are_passed_on():
    env = gymnasium.make("tesp/Ant-v0", when_unhealthy="continue", inner_radius=0.5).unwrapped
    assert isinstance(env, FamilyEnvironment)
    assert env.family == ant(when_unhealthy="continue", inner_radius=0.5)
    assert FamilyEnvironment(PointFamily(horizon=4)).family.horizon == 4
    with pytest.raises(ConfigurationError, match="no option 'colour'"):
        gymnasium.make("tesp/Ant-v0", colour="red")
    with pytest.raises(ConfigurationError, match="max_episode_steps"):
        gymnasium.make("tesp/Ant-v0", horizon=3)


def test_misuse_is_named():
    with pytest.raises(ConfigurationError, match="render_mode is 'human'"):
        NamedEnvironment("point", render_mode="human")
    env = NamedEnvironment("point")
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(2))
    env.reset()
    with pytest.raises(ConfigurationError, match="render_mode is None"):
        env.render()
    with pytest.raises(ConfigurationError, match="actions have shape"):
        env.step(np.zeros(3))
    with pytest.raises(NonFiniteError, match="action"):
        env.step(np.array([0.0, np.nan]))


def test_spec_survives_pickling():
    env = gymnasium.make("tesp/Ant-v0", when_unhealthy="continue")
    again = gymnasium.make(pickle.loads(pickle.dumps(env.spec))).unwrapped
    assert isinstance(again, FamilyEnvironment)
    assert again.family.when_unhealthy == "continue"


def test_gymnasium_steps_many_at_once():
    envs = gymnasium.make_vec("tesp/Wheeled-v0", num_envs=3, vectorization_mode="sync")
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (3, 9)
    assert observations.dtype == np.float64
    _, rewards, *_ = envs.step(envs.action_space.sample())
    assert (rewards < 0).all()
    envs.close()
