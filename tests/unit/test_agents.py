import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import tesp
from helpers.running import TINY, shared_learner, tiny_config
from helpers.trees import assert_identical
from helpers.vector_environments import AutomaticResets
from tesp.agents.adapting import AdaptedAgent, MetaLearner, Origin
from tesp.agents.rounds import significantly_different
from tesp.interface import Interface
from tesp.storage import tensor_files
from tesp.tasks.gymnasium.given import vectorised
from tesp.tasks.point import PointFamily

GOAL = (0.5, -0.25)
HORIZON = TINY["horizon"]

# Three episodes of six steps tell nothing: every adaptation here warns, and one test says so.
pytestmark = pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning")


def environment(goal=GOAL):
    return PointFamily(horizon=HORIZON).environment(goal)


@pytest.fixture(scope="module")
def loaded(reference):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tesp.building.build_learner", shared_learner)
        yield tesp.load_run(reference.path, "latest")


@pytest.fixture(scope="module")
def learner(loaded) -> MetaLearner:
    return loaded.meta_learner


@pytest.fixture(scope="module")
def agent(learner) -> AdaptedAgent:
    with pytest.warns(tesp.AdaptationWarning):
        return learner.adapt(environment(), progress=False)


def same_rounds(one, other, exactly=True):
    assert [r.fast_update for r in one.history] == [r.fast_update for r in other.history]
    for a, b in zip(one.history, other.history, strict=True):
        np.testing.assert_array_equal(a.lengths, b.lengths)
        np.testing.assert_allclose(a.returns, b.returns, rtol=0 if exactly else 1e-5)
    np.testing.assert_allclose(one.embedding, other.embedding, rtol=0 if exactly else 1e-4, atol=1e-7)


class TestAdapting:
    def test_an_environment_gives_what_the_familys_own_simulation_gives(self, loaded, agent):
        same_rounds(agent, loaded.adapt(GOAL), exactly=False)

    @pytest.mark.parametrize("kind", ["vector", "function", "function of a vector", "next step", "same step"])
    def test_whatever_the_environment_is_given_as(self, learner, agent, kind):
        copies = [environment] * 2
        given = {
            "vector": lambda: SyncVectorEnv(copies),
            "function": lambda: environment,
            "function of a vector": lambda: lambda: SyncVectorEnv(copies),
            "next step": lambda: AutomaticResets(copies, "NextStep"),
            "same step": lambda: AutomaticResets(copies, "SameStep"),
        }[kind]()
        same_rounds(agent, learner.adapt(given, progress=False))

    def test_what_happened_is_told(self, agent):
        assert [r.fast_update for r in agent.history] == [-1, 0, 1, 2, 3]
        assert agent.fast_updates == 3
        for past in agent.history:
            assert past.episodes == TINY["episodes_per_round"]
            assert past.environment_steps == past.lengths.sum() == past.episodes * HORIZON
            assert not past.successes.any()
            distance = np.linalg.norm(past.outcomes.position[0] - GOAL, axis=-1)
            assert (past.returns <= -distance.sum(axis=-1) + 1e-5).all()

    def test_stages_are_the_agent_as_it_acted(self, agent):
        assert [stage.fast_updates for stage in agent.stages] == [-1, 0, 1, 2, 3]
        assert not agent.stages[0].embedding.any()
        observation = np.array([0.3, -0.1])
        last = agent.stages[-1].predict(observation, deterministic=True)[0]
        np.testing.assert_array_equal(last, agent.predict(observation, deterministic=True)[0])
        assert not np.array_equal(last, agent.stages[0].predict(observation, deterministic=True)[0])
        with pytest.raises(tesp.ConfigurationError, match="A stage of an adaptation cannot go on"):
            agent.stages[0].adapt(environment())
        with pytest.raises(tesp.ConfigurationError, match="A stage of an adaptation cannot be saved"):
            agent.stages[0].save("stage.safetensors")

    def test_going_on_is_as_if_there_had_been_no_pause(self, learner):
        whole = learner.adapt(environment(), fast_updates=5, progress=False)
        parts = learner.adapt(environment(), fast_updates=3, progress=False).adapt(environment(), 2, progress=False)
        same_rounds(whole, parts)
        assert_identical(whole.progress, parts.progress)
        assert [stage.fast_updates for stage in parts.stages] == [4, 5]

    def test_other_numbers_of_episodes_fast_updates_and_steps(self, learner):
        small = learner.adapt(environment(), fast_updates=1, episodes=1, horizon=4, progress=False)
        assert [(r.episodes, r.environment_steps) for r in small.history] == [(1, 4)] * 3
        none = learner.adapt(environment(), fast_updates=0, progress=False)
        assert [r.fast_update for r in none.history] == [-1, 0]

    def test_the_seed_decides(self, learner, agent):
        same_rounds(agent, learner.adapt(environment(), progress=False))
        other = learner.adapt(environment(), seed=1, progress=False)
        assert not np.array_equal(other.history[0].returns, agent.history[0].returns)

    def test_the_given_environment_stays_open_and_a_made_one_does_not(self, learner, monkeypatch):
        closed = []
        monkeypatch.setattr("tesp.tasks.environment.FamilyEnvironment.close", lambda self: closed.append(self))
        learner.adapt(given := environment(), fast_updates=0, progress=False)
        assert not closed
        learner.adapt(environment, fast_updates=0, progress=False)
        assert len(closed) == TINY["episodes_per_round"]
        given.step(np.zeros(2, np.float32))

    def test_progress_is_shown_on_stderr(self, learner, capsys):
        learner.adapt(environment(), fast_updates=0)
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "adapting: 6 of 6 episodes  after 0 fast-updates: return" in shown.err

    def test_no_change_is_warned_of(self, learner):
        with pytest.warns(tesp.AdaptationWarning, match=r"no significant change .* give more episodes"):
            learner.adapt(environment(), progress=False)
        with pytest.warns(tesp.AdaptationWarning, match="one episode a round cannot tell"):
            learner.adapt(environment(), episodes=1, progress=False)

    @pytest.mark.filterwarnings("error::tesp.AdaptationWarning")
    def test_a_change_is_not(self, learner, monkeypatch):
        monkeypatch.setattr("tesp.agents.rounds.significantly_different", lambda *_: True)
        learner.adapt(environment(), progress=False)


def test_significance():
    generator = np.random.default_rng(0)
    one = generator.normal(0.0, 1.0, 20)
    assert significantly_different(one, one + 2.0)
    assert not significantly_different(one, generator.normal(0.0, 1.0, 20))
    assert not significantly_different(one[:1], one[:5] + 100.0)
    assert significantly_different(np.zeros(3), np.ones(3))
    assert not significantly_different(np.ones(3), np.ones(3))


class Other(gymnasium.Env):
    """An environment of any spaces that does nothing."""

    def __init__(self, observation, action):
        self.observation_space, self.action_space = observation, action


BOX = gymnasium.spaces.Box


class TestRefusals:
    @pytest.mark.parametrize(
        ("observation", "action"),
        [
            (BOX(-1, 1, (3,)), BOX(-1, 1, (2,))),
            (BOX(-1, 1, (2,)), BOX(-1, 1, (3,))),
            (BOX(-1, 1, (2,)), BOX(-2, 2, (2,))),
            (gymnasium.spaces.Discrete(2), BOX(-1, 1, (2,))),
            (BOX(-1, 1, (2,)), gymnasium.spaces.Discrete(2)),
        ],
    )
    def test_spaces_that_do_not_match_are_both_printed(self, learner, observation, action):
        with pytest.raises(tesp.ConfigurationError) as caught:
            learner.adapt(Other(observation, action))
        for words in (str(observation), str(action), "shape (2,)", str(BOX(-1, 1, (2,)))):
            assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            (lambda: 3, "returned 3; it must return a gymnasium.Env"),
            (lambda: 1 / 0, "failed: ZeroDivisionError: division by zero"),
        ],
    )
    def test_no_environment(self, learner, given, words):
        with pytest.raises(tesp.ConfigurationError, match=words):
            learner.adapt(given)

    def test_an_identifier_is_no_environment(self):
        with pytest.raises(tesp.ConfigurationError, match=r"env is 'tesp/Point-v0'; .* give gymnasium\.make"):
            vectorised("tesp/Point-v0", 1)

    @pytest.mark.parametrize(
        ("values", "words"),
        [
            ({"fast_updates": -1}, "fast_updates = -1"),
            ({"episodes": 0}, "episodes is 0"),
            ({"horizon": 0}, "horizon is 0"),
            ({"seed": -1}, "seed = -1"),
            ({"seed": 2**32}, "seed = 4294967296"),
        ],
    )
    def test_numbers(self, learner, values, words):
        with pytest.raises(tesp.ConfigurationError, match=words):
            learner.adapt(environment(), **values)

    def test_a_function_that_makes_nothing_new(self, learner):
        env = environment()
        with pytest.raises(tesp.ConfigurationError, match="returned the same environment twice"):
            learner.adapt(lambda: env)

    def test_going_on_by_nothing(self, agent):
        with pytest.raises(tesp.ConfigurationError, match="fast_updates is 0"):
            agent.adapt(environment(), 0)

    def test_a_method_that_must_be_told_the_task(self, tmp_path):
        run = tesp.train(tiny_config(algorithm="oracle", meta_updates=0), tmp_path / "run")
        with pytest.raises(tesp.ConfigurationError, match="'oracle' must be told the task"):
            run.meta_learner.adapt(environment())
        assert run.adapt(GOAL).embedding == pytest.approx(GOAL)


class TestPredicting:
    def test_as_models_of_stable_baselines_do(self, agent):
        many = np.random.default_rng(0).normal(size=(5, 2))
        actions, state = agent.predict(many, deterministic=True)
        assert actions.shape == (5, 2)
        assert actions.dtype == np.float32
        assert state is None
        for row, action in zip(many, actions, strict=True):
            memory = (np.ones(1),)
            one, state = agent.predict(row, memory, np.array([True]), deterministic=True)
            np.testing.assert_allclose(one, action, rtol=1e-6)
            assert state is memory

    def test_samples_differ_and_stay_within_bounds(self, agent):
        samples = np.array([agent.predict(np.zeros(2))[0] for _ in range(50)])
        assert samples.std() > 0.3
        assert np.abs(samples).max() == 1.0

    def test_actions_are_in_the_units_of_the_environment(self, learner, agent):
        interface = Interface((2,), (-2.0, 0.0), (2.0, 10.0), 2, HORIZON)
        other = MetaLearner(learner.config, interface, learner.parameters, learner.learner)
        scaled = AdaptedAgent(other, agent.agent, agent.embedding, agent.history, 0)
        for observation in np.random.default_rng(1).normal(size=(5, 2)):
            plain = agent.predict(observation, deterministic=True)[0]
            expected = [2.0 * plain[0], 5.0 + 5.0 * plain[1]]
            np.testing.assert_allclose(scaled.predict(observation, deterministic=True)[0], expected, rtol=1e-5)

    def test_observations_that_are_not_possible(self, agent):
        with pytest.raises(tesp.ConfigurationError, match=r"has the shape \(3,\); it must be \(2,\)"):
            agent.predict(np.zeros(3))
        with pytest.raises(tesp.NonFiniteError, match="observation"):
            agent.predict(np.array([0.0, np.nan]))


@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped:UserWarning")
def test_stable_baselines_evaluates_the_agent(agent):
    evaluation = pytest.importorskip("stable_baselines3.common.evaluation")
    env = environment()
    returns, lengths = evaluation.evaluate_policy(agent, env, n_eval_episodes=3, return_episode_rewards=True)
    assert lengths == [HORIZON] * 3
    total, (observation, _) = 0.0, env.reset()
    for _ in range(HORIZON):
        observation, reward, *_ = env.step(agent.predict(observation, deterministic=True)[0])
        total += reward
    np.testing.assert_allclose(returns, total, rtol=1e-5)
    before = evaluation.evaluate_policy(agent.stages[0], env, n_eval_episodes=2)[0]
    assert before != pytest.approx(total)


class TestFiles:
    @pytest.mark.parametrize("algorithm", ["tesp", "maml"])
    def test_a_loaded_agent_acts_and_goes_on_like_the_saved_one(self, algorithm, tmp_path):
        config = tiny_config(algorithm=algorithm, meta_updates=0)
        run = tesp.train(config, tmp_path / "run")
        agent = run.meta_learner.adapt(environment(), 1, progress=False)
        loaded = AdaptedAgent.load(agent.save(tmp_path / "agent.safetensors"))
        same_rounds(agent, loaded)
        assert loaded.fast_updates == 1
        observation = np.array([0.2, 0.4])
        actions = [a.predict(observation, deterministic=True)[0] for a in (agent, loaded)]
        np.testing.assert_array_equal(*actions)
        same_rounds(agent.adapt(environment(), 1, progress=False), loaded.adapt(environment(), 1, progress=False))

    def test_a_saved_agent_is_exported_alike(self, agent, tmp_path):
        loaded = AdaptedAgent.load(agent.save(tmp_path / "agent.safetensors"))
        written = [tesp.export_onnx(one, tmp_path / name) for one, name in ((agent, "one"), (loaded, "other"))]
        assert [path.name for path in written[0]] == ["policy.onnx", "encoder.onnx", "buffer.npz"]
        for one, other in zip(*written, strict=True):
            assert one.read_bytes() == other.read_bytes()

    def test_a_learner_in_one_small_file(self, learner, agent, tmp_path):
        path = learner.save(tmp_path / "deep" / "learner.safetensors")
        loaded = tesp.load(path)
        assert_identical(loaded.parameters, learner.parameters)
        assert (loaded.config, loaded.interface) == (learner.config, learner.interface)
        assert loaded.origin == learner.origin == Origin(loaded.origin.run, TINY["meta_updates"])
        same_rounds(agent, loaded.adapt(environment(), progress=False))
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_a_run_is_loaded_without_its_family(self, reference, learner, monkeypatch):
        monkeypatch.setattr("tesp.tasks.registry._FACTORIES", {})
        loaded = tesp.load(reference.path, "latest")
        assert loaded.interface == learner.interface
        assert_identical(loaded.parameters, learner.parameters)

    def test_other_files_are_refused(self, learner, agent, reference, tmp_path):
        stored = learner.save(tmp_path / "learner.safetensors")
        with pytest.raises(tesp.RunFolderError, match="holds a trained learner; give the file of an adapted agent"):
            AdaptedAgent.load(stored)
        with pytest.raises(tesp.RunFolderError, match="There is no file"):
            AdaptedAgent.load(tmp_path / "none.safetensors")
        with pytest.raises(tesp.RunFolderError, match="There is no run folder"):
            tesp.load(tmp_path / "none")
        with pytest.raises(tesp.RunFolderError, match=r"ends in \.safetensors"):
            agent.save(tmp_path / "agent.pkl")
        with pytest.raises(tesp.RunFolderError, match="is damaged or no safetensors file"):
            tesp.load(reference.path / "config.json")
        stored.write_bytes(stored.read_bytes()[:-8])
        with pytest.raises(tesp.RunFolderError, match="is damaged"):
            tesp.load(stored)

    def test_a_later_format_is_refused(self, learner, tmp_path, monkeypatch):
        monkeypatch.setattr(tensor_files, "FORMAT", 3)
        stored = learner.save(tmp_path / "learner.safetensors")
        monkeypatch.setattr(tensor_files, "FORMAT", 2)
        with pytest.raises(tesp.RunFolderError, match="later version"):
            tesp.load(stored)

    def test_other_arrays_are_refused(self, learner, tmp_path):
        stored = learner.save(tmp_path / "learner.safetensors")
        arrays, description = tensor_files.read(stored, "trained-learner")
        name, array = next(iter(arrays.items()))
        tensor_files.write(stored, "trained-learner", {**arrays, name: array[:1]}, description)
        with pytest.raises(tesp.RunFolderError, match="does not fit its own description"):
            tesp.load(stored)
        del arrays[name]
        tensor_files.write(stored, "trained-learner", arrays, description)
        with pytest.raises(tesp.RunFolderError, match="is missing"):
            tesp.load(stored)

    @pytest.mark.parametrize(
        "missing", ["belief.embedding", "history[1].returns", "round.episodes.valid", "seed", "rounds"]
    )
    def test_incomplete_agents_are_refused(self, agent, tmp_path, missing):
        stored = agent.save(tmp_path / "agent.safetensors")
        arrays, description = tensor_files.read(stored, "adapted-agent")
        del (arrays if missing in arrays else description)[missing]
        tensor_files.write(stored, "adapted-agent", arrays, description)
        with pytest.raises(tesp.RunFolderError, match="is damaged"):
            AdaptedAgent.load(stored)

    def test_a_failed_write_leaves_the_old_file(self, learner, tmp_path, monkeypatch):
        stored = learner.save(tmp_path / "learner.safetensors")
        before = stored.read_bytes()

        def fail(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tensor_files, "save_file", fail)
        with pytest.raises(tesp.RunFolderError, match="No space left on device"):
            learner.save(stored)
        assert stored.read_bytes() == before
        assert [file.name for file in tmp_path.iterdir()] == [stored.name]
