"""What a user's environment may return, raise and tell: it works, or one sentence says what, and in which task."""

import warnings

import gymnasium
import numpy as np
import pytest

import tesp
from helpers.fuzzing import FACTOR, refusal, strange_returns
from helpers.running import TINY, records, shared_learner, state, tiny_config
from helpers.running import tesp as command
from tesp.errors import ConfigurationError, EnvironmentFailedError, NonFiniteError
from tesp.runs import load_run, resume, train
from tesp.tasks import registry
from tesp.tasks.gymnasium.checked import CheckedEnvironment
from tesp.tasks.gymnasium.family import GymnasiumFamily
from tesp.tasks.gymnasium.given import vectorised
from tesp.tasks.gymnasium.infos import read_info
from tesp.tasks.gymnasium.vector_pool import VectorPool


class Line(gymnasium.Env):
    """A point on a line that is pushed towards a place. What it returns can be spoilt from a control step on."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float64)
    action_space = gymnasium.spaces.Box(np.array([-0.1, -3.0]), np.array([0.3, 7.0]), dtype=np.float64)

    def __init__(self, spoil=None, step=3, only=None, at_reset=False):
        self._spoil, self._at, self._only, self._at_reset = spoil, step, only, at_reset
        self.goal = np.zeros(1)
        self.actions = []

    def set_task(self, task):
        self.goal = task

    @property
    def spoilt(self):
        return self._spoil is not None and (self._only is None or self.goal[0] >= self._only)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.steps = np.array([0.0, 1.0]), 0
        returned = self.x.copy(), {"position": self.x}
        return self._spoil(*returned) if self.spoilt and self._at_reset else returned

    def step(self, action):
        self.actions.append(action)
        assert self.action_space.contains(action), action
        self.x = np.clip(self.x + 0.1 * np.asarray(action, float), -10, 10)
        self.steps += 1
        away = float(abs(self.x[0] - self.goal[0]))
        info = {"distance": away, "distance_reward": -away, "success": away < 0.1, "position": self.x.copy()}
        returned = self.x.copy(), -away, False, False, info
        return self._spoil(*returned) if self.spoilt and not self._at_reset and self.steps > self._at else returned


def boom(*_):
    raise RuntimeError("the motor is on fire")


def leave(*_):
    raise SystemExit(3)


def changed(**parts):
    """Replace parts of what step returns; functions are given what stood there."""

    def spoil(observation, reward, terminated, truncated, info):
        whole = {"observation": observation, "reward": reward, "terminated": terminated, "truncated": truncated}
        whole |= {"info": info}
        for name, value in parts.items():
            whole[name] = value(whole[name]) if callable(value) else value
        return tuple(whole.values())

    return spoil


def told(**entries):
    return changed(info=lambda info: info | entries)


USELESS = {
    "raises": (boom, "RuntimeError: the motor is on fire"),
    "leaves": (leave, "SystemExit: 3"),
    "four values": (lambda *x: x[:4], "not observation, reward, terminated, truncated and info"),
    "nothing": (lambda *_: None, "step returned None"),
    "observation of another shape": (
        changed(observation=np.zeros(3)),
        r"has the shape \(3,\), and its space has",
    ),
    "complex observation": (changed(observation=np.zeros(2) * 1j), "no array of real numbers"),
    "texts as observation": (changed(observation=np.array(["a", "b"])), "no array of real numbers"),
    "dictionary as observation": (changed(observation={"x": 1.0}), "no array of real numbers"),
    "ragged observation": (changed(observation=[[1.0], [1.0, 2.0]]), "no array of real numbers"),
    "reward with an axis": (changed(reward=np.zeros(1)), r"the reward is array\(\[0\.\]\), which is no real number"),
    "complex reward": (changed(reward=1j), "the reward is 1j, which is no real number"),
    "text as reward": (changed(reward="much"), "the reward is 'much', which is no real number"),
    "no reward": (changed(reward=None), "the reward is None, which is no real number"),
    "text as end": (changed(terminated="no"), "terminated is 'no', which is neither true nor false"),
    "list as end": (changed(truncated=[False]), r"truncated is \[False\], which is neither true nor false"),
    "list as info": (changed(info=[]), r"info is \[\], which is no dictionary"),
    "text as distance": (told(distance="far"), r"info\['distance'\] is 'far', which is no real number"),
    "array as distance": (told(distance=np.zeros(2)), r"info\['distance'\] is array"),
    "text as distance reward": (told(distance_reward="good"), r"info\['distance_reward'\] is 'good'"),
    "number as success": (told(success=0.5), r"info\['success'\] is 0\.5, which is neither true nor false"),
    "text as health": (told(healthy="fine"), r"info\['healthy'\] is 'fine'"),
    "number as position": (told(position=3.0), r"info\['position'\] is 3\.0, which is no list of two numbers or more"),
    "short position": (told(position=[3.0]), r"info\['position'\] is \[3\.0\]"),
    "texts as position": (told(position=["a", "b"]), r"info\['position'\]"),
}

FINE = {
    "NumPy's numbers": changed(reward=np.float32(-1), terminated=np.False_, truncated=np.bool_(0)),
    "integers": changed(reward=-1, terminated=0, truncated=np.int64(0), observation=np.zeros(2, int)),
    "arrays without axes": changed(reward=np.array(-1.0), terminated=np.array(False)),
    "lists": changed(observation=[0.0, 1.0]),
    "single precision": changed(observation=np.zeros(2, np.float32)),
    "more than is read": told(image=np.zeros((4, 4)), name="x", nested={"a": [1, "b"]}, ragged=[[1], [1, 2]]),
    "nothing told": changed(info={}),
    "None told": told(distance=None, position=None, success=None),
    "NumPy's flags": told(success=np.True_, healthy=np.array(True), is_success=1),
    "three coordinates": told(position=(1.0, 2, np.float32(3))),
}


def family_of(spoil=None, **options):
    own = {"make_env": lambda: Line(spoil, **options), "horizon": 6, "tasks_per_set": 6}
    return GymnasiumFamily(name="line", sample_tasks=draw, environments=3, **own)


def draw(generator, count, task_set):
    return generator.uniform(0.1, 1.0, (count, 1)) + (task_set == "out_of_distribution")


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))


def config_of(family, **options):
    registry._FACTORIES["line"] = family
    return tiny_config("line", **options)


@pytest.mark.parametrize("kind", USELESS)
def test_what_cannot_be_used_is_refused_before_there_is_a_run(kind, tmp_path):
    spoil, said = USELESS[kind]
    with pytest.raises(ConfigurationError, match=said) as error:
        family_of(spoil).sample_task_sets(0)
    assert "at control step 3 of an episode of the task (" in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FINE)
def test_what_can_be_used_is(kind):
    with warnings.catch_warnings():
        # Some of it takes no notice of the task.
        warnings.filterwarnings("ignore", message="The tasks .* gave the same observations")
        family = family_of(FINE[kind])
        tasks = family.sample_task_sets(0)["train"].tasks
    pool = family.simulate(3)
    pool.start(np.arange(3), tasks[:3], np.arange(3))
    for _ in range(5):
        done = pool.step(np.zeros((3, 2)))
    assert done.observation.shape == (3, 2)
    assert done.reward.dtype == done.distance.dtype == np.float64
    assert done.success.dtype == done.healthy.dtype == bool
    pool.close()


def test_whatever_is_returned_is_of_the_right_kinds_or_refused():
    """One task's environment alone and several side by side agree on which it is."""
    refused = 0
    for spoil in strange_returns(150, seed=0):
        taken, said = [], []
        for count in (1, 2):
            pool = VectorPool(vectorised(lambda spoil=spoil: Line(spoil, step=1), count)[0])
            pool.start(np.arange(count), np.zeros((count, 1)), np.arange(count))
            assert pool.size == count

            def steps(pool=pool, count=count, taken=taken):
                for _ in range(3):
                    taken.append(pool.step(np.zeros((count, 2))))

            said.append(refusal(steps))
            pool.close()
        assert (said[0] is None) == (said[1] is None), said
        refused += said[0] is not None
        assert all("\n" not in sentence and len(sentence) < 1000 for sentence in said if sentence)
        for done in taken:
            assert done.reward.dtype == done.distance.dtype == np.float64
            assert done.success.dtype == done.healthy.dtype == bool
            assert done.observation.shape[1:] == (2,)
            assert np.issubdtype(done.observation.dtype, np.floating)
    assert 0.3 < refused / (150 * FACTOR) < 0.95


class TestInTraining:
    """What goes wrong later loses nothing, and says where it was."""

    @pytest.fixture
    def trained(self, monkeypatch, tmp_path):
        monkeypatch.setattr("tesp.building.build_learner", shared_learner)

        def train_on(spoil, after):
            resets = []
            begin = Line.reset

            def counting(self, **options):
                resets.append(self)
                return begin(self, **options)

            monkeypatch.setattr(Line, "reset", counting)
            family = family_of(lambda *x: spoil(*x) if len(resets) > after else x)
            return command_or_error(config_of(family), tmp_path / "run")

        return train_on

    @pytest.mark.parametrize(("spoil", "reason"), [(boom, "RuntimeError"), (leave, "SystemExit: 3")])
    def test_an_exception(self, trained, tmp_path, spoil, reason):
        # Past the trial and the evaluation at the start, in the second meta-update.
        error = trained(spoil, after=self.resets_of(meta_updates=1) + 10)
        assert isinstance(error, EnvironmentFailedError)
        for part in (
            reason,
            "at control step 3 of an episode of the task (",
            "in meta-update 2",
            "checkpoint is that of",
        ):
            assert part in str(error)
        assert isinstance(origin(error), RuntimeError | SystemExit)
        assert state(tmp_path / "run").meta_update == 1
        assert [record["meta_update"] for record in records(tmp_path / "run", "train")] == [1]
        registry._FACTORIES["line"] = family_of()
        assert resume(tmp_path / "run").state.meta_update == TINY["meta_updates"]

    def resets_of(self, meta_updates):
        rounds = 5 * 3
        return 2 + 3 * TINY["tasks_per_set"] * (1 + rounds) + meta_updates * TINY["tasks_per_update"] * rounds

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (changed(reward=np.nan), "reward became NaN or infinite"),
            (changed(reward=1e300), "reward became NaN or infinite"),
            (told(distance_reward=np.inf), "distance_reward became NaN or infinite"),
            (changed(observation=np.array([0.0, np.nan])), "observation became NaN or infinite"),
            (changed(observation=np.array([0.0, -1e39])), "observation became NaN or infinite"),
        ],
    )
    def test_numbers_are_blamed_where_they_first_stood(self, trained, spoil, said):
        error = trained(spoil, after=2)
        assert isinstance(error, NonFiniteError)
        assert said in str(error)
        assert error.detail.startswith("at control step 3 of episode ")
        assert "standing still on the task (" in str(error)


def origin(error):
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def command_or_error(config, folder):
    with pytest.raises(tesp.TespError) as error:
        train(config, folder)
    return error.value


def test_an_observation_that_a_reset_spoils(tmp_path, monkeypatch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    spoil = lambda observation, info: (observation * np.nan, info)  # noqa: E731
    error = command_or_error(config_of(family_of(spoil, at_reset=True, only=1.0)), tmp_path / "run")
    assert "observation became NaN or infinite" in str(error)
    assert "in the reset of episode 0" in str(error)


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("environments", [1, 2, 5])
def test_what_infos_tell_does_not_depend_on_what_runs_side_by_side(environments, vectorization):
    """Of the first places some tell nothing, or numbers of other kinds."""
    family = GymnasiumFamily(
        name="line",
        make_env=Telling,
        sample_tasks=draw,
        horizon=6,
        environments=environments,
        vectorization=vectorization,
    )
    seen = []
    for first in range(0, 5, environments):
        goals = np.array([[0.0], [1.0], [2.0], [3.0], [4.0]])[first : first + environments]
        pool = family.simulate(environments)
        places = np.arange(len(goals))
        pool.start(places, goals, places)
        done = pool.step(np.zeros((environments, 2)))
        seen += [
            (float(done.distance[i]), bool(done.success[i]), *done.position[i].tolist(), bool(done.healthy[i]))
            for i in places
        ]
        pool.close()
    assert str(seen) == str(
        [
            (float("nan"), False, float("nan"), float("nan"), True),
            (1.0, True, 1.0, 2.0, True),
            (2.5, False, 0.5, 2.5, False),
            (float("nan"), True, float("nan"), float("nan"), True),
            (4.0, False, 4.0, 0.0, True),
        ]
    )


class Telling(Line):
    """Tells something else in every task."""

    INFOS = (
        {"other": "x"},
        {"distance": 1, "success": True, "position": [1, 2, 3]},
        {"distance": np.float32(2.5), "success": np.False_, "position": np.array([0.5, 2.5]), "healthy": False},
        {"is_success": 1, "distance": None},
        {"distance": np.array(4), "position": (4.0, 0.0), "image": np.zeros(3)},
    )

    def step(self, action):
        observation, reward, terminated, truncated, _ = super().step(action)
        return observation, reward, terminated, truncated, dict(self.INFOS[int(self.goal[0])])


class TestVectorEnvironmentsOfUsers:
    """They are not taken apart; what they tell is read, or refused by name."""

    def pool(self, infos):
        class Vector(gymnasium.vector.VectorEnv):
            num_envs = 2
            single_observation_space, single_action_space = Line.observation_space, Line.action_space
            observation_space = gymnasium.vector.utils.batch_space(Line.observation_space, 2)
            action_space = gymnasium.vector.utils.batch_space(Line.action_space, 2)

            def reset(self, *, seed=None, options=None):
                return np.zeros((2, 2)), {}

            def step(self, actions):
                return np.zeros((2, 2)), np.zeros(2), np.zeros(2, bool), np.zeros(2, bool), infos

        pool = VectorPool(Vector())
        pool.start(np.arange(2), np.zeros((2, 1)), np.arange(2))
        return pool

    def test_what_is_told(self):
        infos = {
            "distance": np.array([1, None], object),
            "success": np.array([True, False]),
            "_success": np.array([False, True]),
            "position": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
            "image": "whatever",
        }
        done = self.pool(infos).step(np.zeros((2, 2)))
        np.testing.assert_array_equal(done.distance, [1.0, np.nan])
        np.testing.assert_array_equal(done.success, [False, False])
        np.testing.assert_array_equal(done.position, [[1.0, 2.0], [4.0, 5.0]])

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("distance", ["near", "far"]),
            ("distance", np.zeros(3)),
            ("distance", np.zeros((2, 2))),
            ("distance", 1.0),
            ("success", np.array([object(), None])),
            ("position", np.zeros(2)),
            ("position", np.array([[1.0], [2.0]])),
        ],
    )
    def test_what_cannot_be_read_is_refused_by_name(self, key, value):
        with pytest.raises(EnvironmentFailedError, match=rf"info\['{key}'\] of the vector environment is .*of the 2"):
            self.pool({key: value}).step(np.zeros((2, 2)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bounds", [(-0.1, 0.3), (1 / 3, 2 / 3), (-1e-3, 1e3)])
def test_actions_are_inside_the_bounds_in_the_environments_own_precision(dtype, bounds):
    low, high = (np.full(2, bound, np.float64).astype(dtype) for bound in bounds)

    class Bounded(Line):
        action_space = gymnasium.spaces.Box(low, high, dtype=dtype)

    family = GymnasiumFamily(name="line", make_env=Bounded, sample_tasks=draw, horizon=6)
    pool = family.simulate(2)
    pool.start(np.arange(2), np.ones((2, 1)), np.arange(2))
    for corner in (-1.0, 1.0, -1.0 - 1e-7, 1.0 + 1e-7, 0.9999999, -0.9999999):
        pool.step(np.full((2, 2), corner))
    pool.close()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_errors_of_environments_come_through_processes_as_they_are():
    family = GymnasiumFamily(
        name="line", make_env=Failing, sample_tasks=draw, horizon=6, environments=2, vectorization="async"
    )
    pool = family.simulate(2)
    pool.start(np.arange(2), np.ones((2, 1)), np.arange(2))
    with pytest.raises(EnvironmentFailedError, match=r"RuntimeError: the motor is on fire.*at control step 0 of an"):
        pool.step(np.zeros((2, 2)))
    pool.close()


class Failing(Line):
    def step(self, action):
        boom()


def test_what_a_user_gives_to_adapt_is_checked_too(reference, monkeypatch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    learner = tesp.load(reference.path)

    class Point(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, learner.interface.observation_shape)
        action_space = gymnasium.spaces.Box(
            np.array(learner.interface.action_low, np.float32), np.array(learner.interface.action_high, np.float32)
        )

        def reset(self, *, seed=None, options=None):
            return np.zeros(2), {}

        def step(self, action):
            return np.zeros(2), "much", False, False, {}

    with pytest.raises(EnvironmentFailedError, match=r"the reward is 'much', .*in the warm-up round"):
        learner.adapt(Point(), progress=False)


def test_the_simulation_of_a_family_that_fails(run, monkeypatch):
    from tesp.tasks.point import PointSimulation

    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    loaded = load_run(run)

    def fail(*_):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(PointSimulation, "step", fail)
    with pytest.raises(EnvironmentFailedError, match=r"ZeroDivisionError: .*at control step 0.*warm-up"):
        loaded.evaluate()


def test_infos_are_read_into_one_form():
    read = read_info({"distance": np.float32(1), "success": 1, "position": [1, 2, 3], "other": 3, "healthy": None})
    assert read["distance"] == 1.0
    assert type(read["distance"]) is float
    assert read["success"] is True
    assert read["position"].tolist() == [1.0, 2.0]
    assert set(read) == {"distance", "success", "position"}


def test_the_metadata_of_the_environment_stay_its_own():
    env = Line()
    CheckedEnvironment(env).metadata["changed"] = True
    assert "changed" not in env.metadata


def test_one_command_line_for_an_environment_that_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_FACTORIES", {**registry._FACTORIES, "line": family_of(boom)})
    refused = command("train", "line", "--preset", "quick", "--output", tmp_path / "run").sentence()
    assert "The family 'line' cannot be trained on. The environment" in refused
    assert not (tmp_path / "run").exists()


def test_hints_say_what_fits():
    clipped = gymnasium.wrappers.ClipAction(Line())
    with pytest.raises(ConfigurationError, match="Leave ClipAction out"):
        GymnasiumFamily(name="line", make_env=lambda: clipped, sample_tasks=draw, horizon=6)

    class Unbounded(Line):
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)

    with pytest.raises(ConfigurationError, match="TransformAction"):
        GymnasiumFamily(name="line", make_env=Unbounded, sample_tasks=draw, horizon=6)
    # What the hint says helps.
    box = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
    bounded = gymnasium.wrappers.TransformAction(Unbounded(), lambda action: action, box)
    assert GymnasiumFamily(name="line", make_env=lambda: bounded, sample_tasks=draw, horizon=6).action_size == 2

    class Parts(Line):
        observation_space = gymnasium.spaces.Dict(
            {"x": gymnasium.spaces.Box(-1, 1, (2,)), "y": gymnasium.spaces.Box(-1, 1)}
        )

    with pytest.raises(ConfigurationError, match="FlattenObservation"):
        GymnasiumFamily(name="line", make_env=Parts, sample_tasks=draw, horizon=6)
    flat = gymnasium.wrappers.FlattenObservation(Parts())
    assert GymnasiumFamily(name="line", make_env=lambda: flat, sample_tasks=draw, horizon=6).observation_size == 3


@pytest.mark.parametrize("wrapper", [gymnasium.wrappers.NormalizeObservation, gymnasium.wrappers.NormalizeReward])
def test_wrappers_that_go_on_changing_are_warned_of(wrapper):
    environment = gymnasium.wrappers.TimeLimit(wrapper(Line()), 5)
    for given in (environment, lambda: environment):
        with pytest.warns(UserWarning, match=f"wrapped in {wrapper.__name__}, whose statistics go on changing"):
            vectorised(given, 1)
    environment.env.update_running_mean = False
    vectorised(environment, 1)
