"""Three methods that the library does not know, each in one file: everything that one can do with a method, they do."""

import dataclasses
import importlib
import json
import shutil
import sys
from collections import namedtuple
from unittest import mock

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import tesp
from helpers.running import TINY, any_parameter_differs, assert_same_run, lines_of, records, shared_learner, tiny_config
from helpers.running import tesp as command
from helpers.trees import assert_identical, random_like
from tesp import building, compare, config
from tesp.agents.adapting import AdaptedAgent
from tesp.episodes.rollout import Learner
from tesp.methods import base
from tesp.methods.gradient.tesp import TESP
from tesp.methods.registry import METHODS
from tesp.methods.settings import MethodConfig
from tesp.report import words
from tesp.runs.stored import stored_config
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS

#: Of each method: the number of its last round, an option of its own with another value, its metric, and whether its
#: agent has memory.
METHODS_OF_USERS = {
    "recurrent": (2, {"units": 5}, "surrogate", True),
    "latent": (2, {"latents": 3}, "latent_loss", True),
    "replay": (1, {"replay_size": 7}, "imitation_loss", False),
}
#: What is tiny of every method.
COMMON = {
    name: value
    for name, value in TINY.items()
    if name not in ("buffer_size", "policy_units", "encoder_units", "embedding_size", "epochs")
} | {"checkpoint_every": 2}

# Three episodes of six steps tell nothing.
pytestmark = pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning")


@pytest.fixture(scope="module", params=METHODS_OF_USERS)
def file(request):
    """The name of a method's file. The method is registered as long as its tests run, in JAX as users have it."""
    where = f"helpers.methods.{request.param}"
    with mock.patch.dict(METHODS), jax.numpy_dtype_promotion("standard"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("tesp.building.build_learner", shared_learner)
        importlib.import_module(where)
        yield request.param
        # Whoever imports it again registers it again.
        del sys.modules[where]
    assert f"toy-{request.param}" not in METHODS


@pytest.fixture(scope="module")
def name(file):
    return f"toy-{file}"


@pytest.fixture(scope="module")
def last(file):
    return METHODS_OF_USERS[file][0]


@pytest.fixture(scope="module")
def option(file):
    return METHODS_OF_USERS[file][1]


@pytest.fixture(scope="module")
def remembers(file):
    return METHODS_OF_USERS[file][3]


def tiny(name, family="point", **overrides):
    return tesp.preset_config(family, "quick", name, **{**COMMON, **overrides})


@pytest.fixture(scope="module")
def trained(name, tmp_path_factory):
    """A finished run."""
    return tesp.train(tiny(name), tmp_path_factory.mktemp("runs") / name)


@pytest.fixture(scope="module")
def learner(trained):
    return tesp.load(trained.folder.path, "latest")


class Homing(gymnasium.Env):
    """An environment of a user: a place on a plane, nearer to home is better."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._place, self._steps = np.zeros(2), 0
        return self._place.astype(np.float32), {}

    def step(self, action):
        self._place, self._steps = self._place + 0.1 * action, self._steps + 1
        distance = np.linalg.norm(self._place - (0.6, -0.3))
        return self._place.astype(np.float32), -distance, False, self._steps == TINY["horizon"], {}


def walked(agent, steps=4):
    """The actions of an agent in an episode."""
    env, state, reward, actions = Homing(), None, None, []
    observation, _ = env.reset()
    for _ in range(steps):
        action, state = agent.predict(observation, state, deterministic=True, reward=reward)
        observation, reward, *_ = env.step(action)
        actions.append(action)
    return np.array(actions)


class TestTraining:
    def test_it_learns_and_records_what_it_measures(self, file, trained):
        stored = records(trained.folder.path, "train")
        assert [record["meta_update"] for record in stored] == [1, 2, 3, 4]
        assert all(np.isfinite(record[METHODS_OF_USERS[file][2]]) for record in stored)
        method = trained.learner.method
        assert any_parameter_differs(trained.parameters, method.parameters(method.init(jax.random.key(0))))

    def test_returns_rise(self, name, last, tmp_path):
        """In the mean over all rounds with which something is known already."""
        sizes = {"tasks_per_set": 10, "tasks_per_update": 10, "episodes_per_round": 8, "horizon": 20}
        length = {"meta_updates": 60, "evaluate_every": 60, "checkpoint_every": 60, "tensorboard": False}
        run = tesp.train(tiny(name, **sizes, **length), tmp_path / "run")
        before, after = (
            np.mean(
                [
                    r["average_return"]
                    for r in records(run.folder.path, "evaluation")
                    if r["meta_update"] == done and r["task_set"] == "train" and r["fast_update"] > 0
                ]
            )
            for done in (0, 60)
        )
        assert after > before + 0.4

    def test_stopped_and_resumed_it_ends_the_same(self, name, trained, tmp_path):
        halves = tmp_path / "run"
        tesp.train(tiny(name, meta_updates=2), halves)
        tesp.resume(halves, meta_updates=tiny(name).schedule.meta_updates)
        assert_same_run(halves, trained.folder.path)

    def test_a_checkpoint_holds_the_whole_state(self, file, trained):
        loaded = tesp.load_run(trained.folder.path, "latest")
        assert_identical(loaded.state, trained.state)
        fresh = trained.learner.method.init(jax.random.key(0))
        assert set(loaded.state.method._fields) == set(fresh._fields)
        for field, content in loaded.state.method._asdict().items():
            assert any_parameter_differs(content, getattr(fresh, field)), field
        if file == "replay":
            valid = np.asarray(loaded.state.method.replay[-1])
            # Four tasks, two rounds and four meta-updates, the newest last.
            np.testing.assert_array_equal(valid.any(axis=1), np.arange(64) >= 64 - 32)


def test_it_is_evaluated_on_every_set_after_every_round(last, trained):
    rows = trained.evaluate()
    assert [(r["task_set"], r["fast_update"]) for r in rows] == [(s, k) for s in TASK_SETS for k in range(last + 1)]
    recorded = [r for r in records(trained.folder.path, "evaluation") if r["meta_update"] == 4]
    assert [r["average_return"] for r in rows] == [r["average_return"] for r in recorded]


class TestAdapting:
    def test_to_an_environment_in_three_lines(self, last, trained):
        learner = tesp.load(trained.folder.path)
        agent = learner.adapt(Homing(), progress=False)
        action, _ = agent.predict(np.zeros(2), deterministic=True)
        assert action.shape == (2,)
        assert [past.fast_update for past in agent.history] == list(range(last + 1))
        assert all(past.environment_steps == 3 * TINY["horizon"] for past in agent.history)

    def test_what_it_acts_on_changes_with_the_rounds(self, learner):
        stages = learner.adapt(Homing(), progress=False).stages
        assert any_parameter_differs(stages[0].agent.own, stages[-1].agent.own)
        assert not np.array_equal(walked(stages[0]), walked(stages[-1]))

    def test_it_acts_on_what_it_remembers(self, file, remembers, learner):
        agent = learner.adapt(Homing(), progress=False)
        action, state = agent.predict(np.zeros(2), deterministic=True)
        if not remembers:
            assert state is None
            again, _ = agent.predict(np.zeros(2), deterministic=True)
            np.testing.assert_array_equal(action, again)
            return
        with pytest.raises(tesp.ConfigurationError, match="reward is None, but the agent has memory"):
            agent.predict(np.zeros(2), state)
        following, later = agent.predict(np.zeros(2), state, reward=-1.0, deterministic=True)
        assert any_parameter_differs(state.memory, later.memory) == (file == "recurrent")
        assert np.array_equal(action, following) == (file == "latent")
        # Where an episode starts, the state before it has no meaning.
        _, begun = agent.predict(np.zeros(2), later, np.array([True]), reward=-1.0, deterministic=True)
        if file == "recurrent":
            np.testing.assert_array_equal(begun.memory, state.memory)
        else:
            assert any_parameter_differs(begun.memory, state.memory)

    def test_a_saved_agent_acts_and_goes_on_the_same(self, learner, tmp_path):
        agent = learner.adapt(Homing(), progress=False)
        loaded = AdaptedAgent.load(agent.save(tmp_path / "agent.safetensors"))
        assert_identical(loaded.progress, agent.progress)
        np.testing.assert_array_equal(walked(loaded), walked(agent))
        further = [one.adapt(Homing(), progress=False).history for one in (loaded, agent)]
        np.testing.assert_array_equal(further[0][-1].returns, further[1][-1].returns)

    def test_a_saved_learner_adapts_the_same(self, learner, tmp_path):
        loaded = tesp.load(learner.save(tmp_path / "learner.safetensors"))
        assert (loaded.config, loaded.interface) == (learner.config, learner.interface)
        actions = [walked(one.adapt(Homing(), progress=False)) for one in (loaded, learner)]
        np.testing.assert_array_equal(*actions)


def test_it_is_compared_with_tesp_in_one_table(name, last, reference, tmp_path):
    shutil.copytree(reference.path, tmp_path / "tesp-seed0")
    paths = compare.compare([tiny_config(), tiny(name)], tmp_path, episodes=(1,))
    rows = [line.split(" | ") for line in paths[0].read_text().splitlines()]
    of_the_method = [row for row in rows if len(row) > 2 and row[1] == name]
    assert [row[2] for row in of_the_method] == [str(k) for k in range(last + 1)] * len(TASK_SETS)
    assert sum(len(row) > 2 and row[1] == "TESP" for row in rows) == 4 * len(TASK_SETS)
    numbers = {r["episodes_per_round"] for r in lines_of(tmp_path / f"{name}-seed0" / "scores.jsonl")[3:]}
    assert numbers == {1, TINY["episodes_per_round"]}


class TestOptions:
    def test_are_stored(self, name, option):
        given = tiny(name, **option)
        restored = config.from_json(config.to_json(given))
        assert restored == given
        assert type(restored.method) is type(given.method)
        assert json.loads(config.to_json(given))["method"] == option
        assert tiny(name) != given

    def test_decide_what_is_built(self, name, option, learner):
        method = shared_learner(tiny(name, **option)).method
        shapes = [jax.tree.map(jnp.shape, m.init(jax.random.key(0))) for m in (method, learner.learner.method)]
        assert shapes[0] != shapes[1]

    def test_of_others_are_refused(self, name, option):
        own = ", ".join(option)
        with pytest.raises(tesp.ConfigurationError, match=f"encoder_units is no option of .*{name}' has: {own}\\.$"):
            tesp.preset_config("point", "quick", name, encoder_units=3)
        sentence = command("train", "point", "--preset", "quick", "--algorithm", name, "--encoder-units", 3).sentence()
        assert f"{name!r} has: {own}." in sentence

    def test_are_listed_and_given_on_the_command_line(self, name, option, tmp_path):
        words = ["train", "point", "--preset", "quick", "--algorithm", name]
        listed = command(*words, "--help")
        ((own, value),) = option.items()
        flag = f"--{own.replace('_', '-')}"
        assert listed.code == 0
        assert flag in listed.out
        assert "--encoder-units" not in listed.out
        numbers = [str(word) for n, x in COMMON.items() for word in (f"--{n.replace('_', '-')}", x)]
        numbers += ["--meta-updates", "0", flag, str(value), "--output", str(tmp_path / "run")]
        assert command(*words, *numbers).code == 0
        assert getattr(tesp.load(tmp_path / "run").config.method, own) == value


def test_a_method_has_its_own_defaults():
    """Whatever options of the same names other methods have."""

    @dataclasses.dataclass(frozen=True)
    class OfAUser(MethodConfig):
        learning_rate: float = 0.77
        last_round = 1

        def build(self, interface, sampling):
            raise NotImplementedError

    with mock.patch.dict(METHODS), mock.patch.dict(words.ALGORITHMS):
        tesp.register_method("of-a-user", OfAUser, title="A user's own")
        assert tesp.preset_config("point", "paper", "of-a-user").method == OfAUser()
        assert words.method("of-a-user") == "A user's own"
        for title in ("TESP", "A user's own", 5):
            with pytest.raises(
                tesp.ConfigurationError, match=f"title = {title!r} is not possible; give a text by which"
            ):
                tesp.register_method("another", OfAUser, title=title)
        assert "another" not in METHODS
    assert words.method("of-a-user") == "of-a-user"


def test_it_is_refused_as_onnx(name, learner, tmp_path):
    with pytest.raises(tesp.ConfigurationError, match=f"The method '{name}' cannot be exported as ONNX: it is a "):
        tesp.export_onnx(learner, tmp_path / "robot")
    assert list(tmp_path.iterdir()) == []


def test_a_compiled_round_is_that_on_the_host(name, tmp_path, monkeypatch):
    """In rounds that are measured in steps, so that some episodes never begin: nothing becomes NaN by them."""
    sizes = {"horizon": 8, "meta_updates": 1, "evaluate_every": 1}
    run = tesp.train(tiny(name, "reacher2", engine="closed-form", round_budget="steps", **sizes), tmp_path / "run")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.state.method))
    assert run.family.simulate(1).compiled is not None
    compiled = run.evaluate()
    monkeypatch.setattr(type(run.family.simulate(1)), "compiled", None)
    assert run.family.simulate(1).compiled is None
    stepped = run.evaluate()
    returns = [[row["average_return"] for row in rows] for rows in (compiled, stepped)]
    np.testing.assert_allclose(*returns, rtol=1e-4)
    assert len(np.unique(returns[0])) == len(returns[0])


@pytest.mark.parametrize("file", ["recurrent"], indirect=True)
class TestTheMemory:
    @pytest.mark.parametrize("cut", ["between rounds", "within episodes"])
    def test_is_carried_over(self, trained, cut):
        method = trained.learner.method

        class Forgetful(type(method)):
            def agent(self, parameters, belief):
                if cut == "between rounds":
                    return super().agent(parameters, jnp.zeros_like(belief))
                agent = super().agent(parameters, belief)
                return WithoutMemory(agent.shared, agent.own)

        class WithoutMemory(type(trained.parameters)):
            def act(self, memory, seen, noise):
                return super().act(self.own, seen, noise)

        learner = Learner(Forgetful(method.sizes), trained.learner.sampling)
        cut_rows = dataclasses.replace(trained, learner=learner).evaluate()
        for row, other in zip(trained.evaluate(), cut_rows, strict=True):
            first = row["fast_update"] == 0 and cut == "between rounds"
            assert (row["average_return"] == other["average_return"]) == first

    def test_is_gone_back_through_by_the_gradient(self, trained):
        """The slope is that by differences, and the memory has its share of it."""
        surrogate = sys.modules[type(trained.learner.method).__module__].surrogate
        tasks = trained.task_sets["train"].tasks[:2]
        simulation = trained.family.simulate(2 * 3)
        horizon, key = trained.family.horizon, jax.random.key(1)
        trials = trained.learner.adapt(trained.parameters, simulation, tasks, horizon, key).trials
        with jax.enable_x64(True):
            wide = [
                jax.tree.map(lambda x: jnp.asarray(x, jnp.float64) if x.dtype == jnp.float32 else jnp.asarray(x), tree)
                for tree in (random_like(trained.parameters, 0, 0.5), trials)
            ]
            _, gradient = surrogate(*wide)
            memory = jnp.zeros_like(wide[0].shared[0]).at[-8:].set(gradient.shared[0][-8:])
            assert float(jnp.max(jnp.abs(memory))) > 1e-3
            ahead, behind = (
                surrogate(
                    wide[0].__class__((wide[0].shared[0] + step * memory, *wide[0].shared[1:]), wide[0].own), wide[1]
                )[0]
                for step in (1e-5, -1e-5)
            )
            np.testing.assert_allclose((ahead - behind) / 2e-5, jnp.sum(memory**2), rtol=1e-5)


class TestAStateThatCheckpointsCannotHold:
    class Plain(base.Method):
        action_size, plan = 2, base.Plan(0, 2)

        def init(self, key):
            return jnp.zeros(3)

        parameters = prior = agent = infer = meta_update = init

    class Colliding(Plain):
        def init(self, key):
            return namedtuple("State", "weights meta_update")(jnp.zeros(3), jnp.zeros(3))

    @pytest.mark.parametrize(("kind", "said"), [(Plain, "must be a NamedTuple"), (Colliding, "a field 'meta_update'")])
    def test_is_refused_before_anything_is_trained(self, kind, said, monkeypatch):
        monkeypatch.setattr("tesp.building.make_method", lambda *_: kind())
        config = tesp.preset_config("point", "quick")
        with pytest.raises(tesp.ConfigurationError, match=said):
            building.build_method(config, building.build_family(config))


class TestNames:
    @pytest.fixture(autouse=True)
    def forgotten(self, monkeypatch):
        methods = dict(METHODS)
        for module in ("tesp.methods.registry", "tesp.registering", "tesp.config", "tesp.runs.stored"):
            monkeypatch.setattr(f"{module}.METHODS", methods)

    def config(self, **annotations):
        fields = [(name, kind, dataclasses.field(default=kind())) for name, kind in annotations.items()]
        given = {"last_round": 2, "build": lambda *_: None}
        return dataclasses.make_dataclass("Config", fields, bases=(MethodConfig,), namespace=given, frozen=True)

    @pytest.mark.parametrize("option", ["seed", "horizon", "output", "meta_updates"])
    def test_an_option_called_like_one_of_all_methods_is_refused(self, option):
        with pytest.raises(tesp.ConfigurationError, match=f"has an option '{option}', which all methods have"):
            tesp.register_method("mine", self.config(**{option: int}))

    def test_an_option_in_two_groups_is_refused(self):
        inside = self.config(units=int)
        with pytest.raises(tesp.ConfigurationError, match="an option 'units', which it has twice"):
            tesp.register_method("mine", self.config(one=inside, two=inside))

    def test_what_is_no_method_is_refused(self):
        class Undecorated(MethodConfig):
            units: int = 8

        for given, said in ((Undecorated, "must be a frozen dataclass"), (max, "is no method"), (3, "is no method")):
            with pytest.raises(tesp.ConfigurationError, match=said):
                tesp.register_method("mine", given)
        for name in ("tesp", "", "My Method"):
            with pytest.raises(tesp.ConfigurationError, match=r"give another name|not possible as the name"):
                tesp.register_method(name, self.config(units=int))

    def test_equal_experience_leaves_a_registered_method_with_a_warm_up_round_alone(self):
        tesp.register_method("mine", TESP)
        config = tiny_config(algorithm="mine")
        assert compare.at_equal_experience(config) == config

    def test_a_run_of_a_method_that_is_not_known_here_is_refused_with_its_name(self, tmp_path):
        kind = self.config(units=int)
        tesp.register_method("mine", kind)
        stored = config.to_json(tesp.preset_config("point", "quick", "mine"))
        del known_now()["mine"]
        (tmp_path / "config.json").write_text(stored)
        (tmp_path / "records.jsonl").write_text("")
        with pytest.raises(tesp.RunFolderError, match="trained with the algorithm 'mine', which is not known here"):
            stored_config(RunFolder(tmp_path))


def known_now():
    return importlib.import_module("tesp.methods.registry").METHODS
