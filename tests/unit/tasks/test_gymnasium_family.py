import dataclasses
import gc
import json
import weakref

import gymnasium
import numpy as np
import pytest

import tesp
from helpers.running import tiny_config
from tesp.episodes.collect import Stopwatch, collect
from tesp.errors import ConfigurationError
from tesp.interface import Interface
from tesp.presets import PAPER, presets_of
from tesp.storage.interfaces import interface_from
from tesp.storage.strict_json import dumps, loads
from tesp.tasks import registry
from tesp.tasks.family import Family
from tesp.tasks.gymnasium.family import GymnasiumFamily
from tesp.tasks.gymnasium.spaces import check_same_spaces
from tesp.tasks.registry import make_family

#: As a file, since what is defined in one must reach other processes by itself.
FILE = '''
import gymnasium
import numpy as np

from tesp.tasks.gymnasium.family import GymnasiumFamily


class Line(gymnasium.Env):
    """x starts near 0 and moves by the action in [-2, 4]; the task is where it should be, and a drift."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2, 1), np.float32)
    action_space = gymnasium.spaces.Box(-2.0, 4.0, (1,), np.float32)
    metadata = {"render_modes": ["rgb_array"]}
    goal, drift = 0.0, 0.0

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def set_task(self, task):
        self.goal, self.drift = task

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if "where" in (options or {}):
            self.set_task(options["where"])
        self.x, self.steps = self.np_random.normal(), 0
        return self.seen(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.x, self.steps = self.x + 0.1 * float(action[0]) + self.drift, self.steps + 1
        gap = abs(self.x - self.goal)
        info = {"is_success": gap < 0.2, "distance_reward": -2 * gap, "distance": gap, "other": "words"}
        return self.seen(), -gap, gap < 0.2, self.steps == 9, info

    def seen(self):
        return np.array([[self.x], [2 * self.x]], np.float32)

    def render(self):
        return np.full((4, 4, 3), 7, np.uint8)


def tasks(generator, count, task_set):
    far = 10.0 if task_set == "out_of_distribution" else 0.0
    return generator.uniform(far, far + 2.0, (count, 2)) * (1.0, 0.01)


line = GymnasiumFamily(Line, sample_tasks=tasks, name="line", horizon=7, tasks_per_set=3)
'''


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    path = tmp_path_factory.mktemp("line") / "line_family.py"
    path.write_text(FILE)
    return make_family(f"{path}:line")


def sampled(family, episodes=4):
    """A round on the tasks of D, with policies that know no more than the noise."""
    tasks = family.sample_task_sets(0)["train"].tasks
    noise = np.random.default_rng(0).standard_normal((len(tasks), episodes, family.horizon, 1)).astype(np.float32)
    pool = family.simulate(len(tasks) * episodes)

    def act(_rows, seen, step_noise):
        return step_noise - 0.1 * seen.observation[:, :1], ()

    result = collect(pool, act, tasks, noise, Stopwatch(), np.arange(len(tasks) * episodes))
    pool.close()
    return result


class TestFamily:
    def test_sizes_and_options(self, line):
        assert isinstance(line, Family)
        assert (line.observation_size, line.action_size, line.task_size, line.horizon) == (2, 1, 2, 7)
        assert line.options == {"horizon": 7, "tasks_per_set": 3, "vectorization": "sync", "environments": 0}
        assert dataclasses.replace(line, **json.loads(json.dumps(line.options))) == line
        assert hash(line) == hash(dataclasses.replace(line))

    def test_agents_see_and_act_in_the_environments_own_shapes_and_units(self, line):
        assert line.interface == Interface((2, 1), (-2.0,), (4.0,), 2, 7)
        assert interface_from(loads(dumps(dataclasses.asdict(line.interface)))) == line.interface
        check_same_spaces(gymnasium.vector.SyncVectorEnv([lambda: line.environment((1.0, 0.0))]), line.interface)

    @pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning")
    def test_an_agent_is_adapted_to_its_environment_and_acts_in_its_units(self, line, monkeypatch, tmp_path):
        monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
        registry.register_family("line", line)
        config = tiny_config("line", meta_updates=0)
        learner = tesp.train(config, tmp_path / "run").meta_learner
        environment = line.environment((1.0, 0.0))
        agent = learner.adapt(environment, 1, progress=False)
        observation, _ = environment.reset(seed=0)
        actions = np.array([agent.predict(observation)[0] for _ in range(100)])
        assert actions.shape == (100, 1)
        assert -2.0 <= actions.min() < -1.0
        assert 3.0 < actions.max() <= 4.0
        own = tesp.load_run(tmp_path / "run", "latest").adapt((1.0, 0.0), 1)
        for one, other in zip(agent.history, own.history, strict=True):
            np.testing.assert_allclose(one.returns, other.returns, rtol=1e-5)

    def test_a_registered_environment_and_its_own_horizon(self):
        def angles(generator, count, _):
            return generator.uniform(1.0, 2.0, (count, 1))

        family = GymnasiumFamily("Pendulum-v1", sample_tasks=angles, task_option="unknown")
        with pytest.warns(UserWarning, match="takes no notice of its task"):
            family.sample_task_sets(0)
        assert (family.observation_size, family.action_size, family.horizon) == (3, 1, 200)
        shorter = dataclasses.replace(family, horizon=4)
        assert shorter.horizon == 4
        assert shorter.environment([1.5]).spec.max_episode_steps == 4

    def test_registered_as_it_is(self, line, monkeypatch):
        monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
        registry.register_family("the-line", line)
        assert make_family("the-line") is line
        assert make_family("the-line", horizon=3).horizon == 3
        with pytest.raises(ConfigurationError, match="no option 'spacing'"):
            make_family("the-line", spacing=0.1)

    def test_presets(self, line):
        assert presets_of(line)["paper"] == PAPER
        own = dataclasses.replace(line, preset_values={"quick": {"learning_rate": 5e-3}, "long": {"meta_updates": 9}})
        assert presets_of(own)["quick"] == {**presets_of(line)["quick"], "learning_rate": 5e-3}
        assert presets_of(own)["long"] == {"meta_updates": 9}

    def test_task_sets(self, line):
        sets = line.sample_task_sets(3)
        assert {name: task_set.tasks.shape for name, task_set in sets.items()} == dict.fromkeys(
            ("train", "in_distribution", "out_of_distribution"), (3, 2)
        )
        again = line.sample_task_sets(3)
        assert all(np.array_equal(sets[name].tasks, again[name].tasks) for name in sets)
        assert not np.array_equal(sets["train"].tasks, sets["in_distribution"].tasks)
        assert not np.array_equal(sets["train"].tasks, line.sample_task_sets(4)["train"].tasks)
        assert sets["out_of_distribution"].tasks[:, 0].min() > sets["train"].tasks[:, 0].max()


class TestPool:
    @pytest.mark.parametrize(("most", "size"), [(0, 12), (5, 4), (1, 1), (11, 6), (64, 12)])
    def test_how_many_environments(self, line, most, size):
        pool = dataclasses.replace(line, environments=most).simulate(12)
        assert pool.size == size
        pool.close()

    def test_an_episode_by_hand(self, line):
        pool = line.simulate(2)
        pool.start(np.arange(2), np.array([[1.5, 0.0], [0.5, 0.2]]), np.array([5, 5]))
        x = np.random.default_rng(np.random.SeedSequence(5)).normal()
        np.testing.assert_allclose(pool.observation, np.float32([[x, 2 * x]] * 2))
        # The action 0.5 of [−1, 1] is 2.5 of [−2, 4].
        done = pool.step(np.array([[0.5], [3.0]]))
        moved = np.array([x + 0.25, x + 0.4 + 0.2])
        gap = np.abs(moved - [1.5, 0.5])
        np.testing.assert_allclose(done.observation[:, 0], moved.astype(np.float32))
        np.testing.assert_allclose(done.reward, -gap)
        np.testing.assert_allclose(done.distance_reward, -2 * gap)
        np.testing.assert_allclose(done.distance, gap)
        np.testing.assert_array_equal(done.success, gap < 0.2)
        assert done.healthy.all()
        pool.close()

    def test_no_result_depends_on_the_number_of_environments(self, line):
        expected = sampled(line)
        assert expected[1].success.any()
        assert expected[0].truncated.any()
        for environments in (1, 5):
            same_as(sampled(dataclasses.replace(line, environments=environments)), expected)

    def test_processes_of_their_own_change_no_result(self, line):
        same_as(sampled(dataclasses.replace(line, vectorization="async", environments=2)), sampled(line))

    def test_the_option_sets_the_task_as_the_method_does(self, line):
        by_option = dataclasses.replace(line, task_option="where")
        same_as(sampled(by_option), sampled(line))

    def test_environments_are_closed_with_the_pool(self, line):
        closed = []

        class Closing(gymnasium.Wrapper):
            def close(self):
                closed.append(1)
                super().close()

        family = dataclasses.replace(line, make_env=lambda: Closing(line.make_env()))
        closed.clear()
        pool, gone = family.simulate(3), []
        weakref.finalize(pool, gone.append, 1)
        del pool
        gc.collect()
        assert gone == [1]
        assert len(closed) == 3


def same_as(result, expected):
    for part, other in zip(result, expected, strict=True):
        for name in vars(other):
            np.testing.assert_array_equal(getattr(part, name), getattr(other, name), err_msg=name)


class TestEnvironment:
    def test_the_task_holds_for_every_episode(self, line):
        environment = line.environment((1.0, 0.25))
        for _ in range(2):
            observation, info = environment.reset(seed=1)
            np.testing.assert_array_equal(info["task"], [1.0, 0.25])
            after = environment.step(np.zeros(1, np.float32))[0]
            np.testing.assert_allclose(after - observation, [[0.25], [0.5]], rtol=1e-5)
        assert environment.observation_space.shape == (2, 1)
        assert environment.action_space == gymnasium.spaces.Box(-2.0, 4.0, (1,), np.float32)

    def test_truncated_at_the_horizon(self, line):
        environment = line.environment((100.0, 0.0))
        environment.reset(seed=0)
        flags = [environment.step(np.zeros(1, np.float32))[2:4] for _ in range(7)]
        assert flags == [(False, False)] * 6 + [(False, True)]

    @pytest.mark.parametrize("option", [None, "where"])
    def test_tasks_are_drawn_or_given_at_a_reset(self, line, option):
        environment = dataclasses.replace(line, task_option=option).environment()
        first = [environment.reset(seed=7)[1]["task"], environment.reset()[1]["task"]]
        assert not np.array_equal(*first)
        np.testing.assert_array_equal(environment.reset(seed=7)[1]["task"], first[0])
        given = environment.reset(options={option or "task": [0.5, 0.125]})
        np.testing.assert_array_equal(given[1]["task"], [0.5, 0.125])
        np.testing.assert_array_equal(environment.unwrapped.goal, 0.5)
        with pytest.raises(ConfigurationError, match="2 finite numbers"):
            environment.reset(options={option or "task": [0.5]})

    def test_rendering(self, line):
        environment = line.environment((1.0, 0.0), render_mode="rgb_array")
        environment.reset()
        assert environment.render().shape == (4, 4, 3)
        blind = dataclasses.replace(line, make_env=lambda: line.make_env())
        with pytest.raises(ConfigurationError, match="takes no render_mode"):
            blind.environment(render_mode="rgb_array")

    def test_an_impossible_task(self, line):
        with pytest.raises(ConfigurationError, match="2 finite numbers"):
            line.environment((np.nan, 0.0))


def broken():
    raise RuntimeError("no robot is connected")


class WithSpaces(gymnasium.Env):
    def __init__(self, observation, action):
        self.observation_space, self.action_space = observation, action

    def set_task(self, task):
        pass


BOX = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)


def with_spaces(observation=BOX, action=BOX):
    return lambda: WithSpaces(observation, action)


class TestErrors:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"make_env": broken}, r"cannot be made: RuntimeError: no robot is connected \(test_gymnasium_family.py"),
            ({"make_env": "NoSuch-v0"}, "'NoSuch-v0', which Gymnasium cannot find"),
            ({"make_env": lambda: 3}, "returned 3; it must return a gymnasium.Env"),
            ({"make_env": "Pendulum-v1"}, "no method set_task.*task_option"),
            ({"make_env": with_spaces(observation=gymnasium.spaces.Discrete(3))}, "Discrete.*FlattenObservation"),
            ({"make_env": with_spaces(action=gymnasium.spaces.Discrete(3))}, "must be a Box of real numbers"),
            ({"make_env": with_spaces(action=gymnasium.spaces.Box(-np.inf, np.inf, (1,)))}, "bounds must be finite"),
            ({"make_env": with_spaces(), "horizon": None}, "no max_episode_steps.*give the horizon"),
            ({"horizon": 0}, "horizon is 0"),
            ({"tasks_per_set": 0}, "tasks_per_set is 0"),
            ({"name": ""}, "name is ''"),
            ({"vectorization": "threads"}, "'threads'; it must be 'sync' or 'async'"),
            ({"environments": -1}, "environments is -1"),
            ({"sample_tasks": lambda *_: np.zeros(2)}, r"shape \(2,\) for 2 tasks of the set 'train'"),
            ({"sample_tasks": lambda *_: np.zeros((2, 0))}, r"shape \(2, 0\)"),
            ({"sample_tasks": lambda *_: np.full((2, 1), np.inf)}, r"returned \[inf\].*must be finite"),
            ({"sample_tasks": lambda: 0}, "sample_tasks of the family 'line' failed.*TypeError"),
        ],
    )
    def test_refused_when_it_is_made(self, line, changes, words):
        with pytest.raises(ConfigurationError, match=words):
            dataclasses.replace(line, **changes)

    def test_refused_when_tasks_are_drawn(self, line):
        def grows(_generator, count, task_set):
            return np.ones((count, 2 if task_set == "train" else 3))

        with pytest.raises(ConfigurationError, match=r"'in_distribution'; it must be \(3, 2\)"):
            dataclasses.replace(line, sample_tasks=grows).sample_task_sets(0)
        with pytest.raises(ConfigurationError, match="seed is -1"):
            line.sample_task_sets(-1)
        failing = dataclasses.replace(line, make_env=with_spaces())
        with pytest.raises(ConfigurationError, match=r"cannot be trained on.*reset returned None.*tried for 10 steps"):
            failing.sample_task_sets(0)

    def test_environments_that_cannot_all_be_made(self, line):
        made = []

        def only_one():
            made.append(1)
            if len(made) > 1:
                raise RuntimeError("the port is taken")
            return line.make_env()

        family = dataclasses.replace(line, make_env=only_one)
        with pytest.raises(ConfigurationError, match=r"2 environments of the family 'line'.*the port is taken"):
            family.simulate(2)
