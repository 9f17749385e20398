"""RL² as it is sampled, adapted and asked to act."""

from functools import partial

import gymnasium
import jax
import numpy as np
import pytest

import tesp
from helpers.running import shared_learner, tiny_config
from helpers.trees import assert_close, random_like
from tesp.building import build_family, build_method
from tesp.methods.recurrent import rl2
from tesp.methods.recurrent.trials import inputs_of, joined
from tesp.registering import register_method

HORIZON = 6


@pytest.fixture
def learner():
    """A trained learner that does something: its weights are drawn, and what it sees is scaled."""
    return made(tiny_config(algorithm="rl2"))


def made(config):
    learner, family = shared_learner(config), build_family(config)
    parameters = learner.method.parameters(learner.method.init(jax.random.key(0)))
    network = random_like(parameters.network, 1, 0.4)
    scaling = jax.tree.map(lambda x: x + 0.3, parameters.scaling)
    return tesp.MetaLearner(config, family.interface, parameters._replace(network=network, scaling=scaling), learner)


def recomputed(parameters, trial):
    network, scaling = parameters
    states = rl2._contexts(network, inputs_of(scaling, trial)[None], trial.valid[None])[0]
    return network.heads.policy(scaling.observation.scaled(trial.observation), states)


@pytest.mark.parametrize("family", ["point", "reacher2"], ids=["in lockstep", "compiled"])
def test_what_is_learned_from_is_what_acted(family):
    """The memory that PPO goes back through is the one that the agent had, over all episodes of the trial."""
    options = {"engine": "closed-form"} if family == "reacher2" else {}
    config = tiny_config(family, algorithm="rl2", **options)
    learner, body = made(config), build_family(config)
    tasks = body.sample_task_sets(0)["train"].tasks
    # One near the start, so that its episodes end early.
    tasks = np.concatenate([body.simulate(1).positions * 0.97, tasks[1:]]) if family == "reacher2" else 0.1 * tasks
    simulation = body.simulate(len(tasks))
    key = jax.random.key(1)
    adaptation = learner.learner.adapt(learner.parameters, simulation, tasks, HORIZON, key, keep_beliefs=True)
    trial = jax.jit(jax.vmap(joined))(adaptation.trials)
    assert len(np.unique(trial.valid.sum(axis=1))) > 1
    found = jax.jit(jax.vmap(partial(recomputed, learner.parameters)))(trial)
    there = np.asarray(trial.valid)
    for ours, theirs in zip(found, trial.behaviour, strict=True):
        np.testing.assert_allclose(np.asarray(ours)[there], np.asarray(theirs)[there], rtol=2e-4, atol=2e-5)
    beliefs = [np.asarray(result.belief.state) for result in adaptation.rounds]
    assert not beliefs[0].any()
    assert not np.array_equal(beliefs[1], beliefs[2])


class TestRounds:
    @pytest.mark.parametrize(("option", "value"), [("episodes_per_round", 5), ("round_budget", "steps")])
    def test_of_more_than_one_episode_are_refused(self, option, value):
        said = f"{option} = {value!r} is not possible with the algorithm 'rl2', which stands for .*single episodes"
        with pytest.raises(tesp.ConfigurationError, match=said):
            tiny_config(algorithm="rl2", **{option: value})

    def test_are_refused_under_another_name_too(self, monkeypatch):
        monkeypatch.setattr("tesp.registering.METHODS", methods := dict(tesp.methods.registry.METHODS))
        for module in ("tesp.methods.registry", "tesp.config"):
            monkeypatch.setattr(f"{module}.METHODS", methods)
        register_method("mine", type(tiny_config(algorithm="rl2").method))
        config = tesp.preset_config("point", "quick", "mine", episodes_per_round=2)
        with pytest.raises(
            tesp.ConfigurationError, match=r"episodes_per_round = 2 .*Give 1; more episodes are a larger"
        ):
            build_method(config, build_family(config))

    def test_tasks_must_divide_into_minibatches(self):
        config = tiny_config(algorithm="rl2", minibatches=3)
        with pytest.raises(tesp.ConfigurationError, match="minibatches = 3 is not possible with tasks_per_update = 4"):
            build_method(config, build_family(config))

    def test_another_method_of_the_same_preset_has_its_own_again(self):
        rl2 = tesp.config.override(tesp.preset_config("point", "quick"), algorithm="rl2")
        assert rl2.sampling.episodes_per_round == 1
        assert tesp.config.override(rl2, algorithm="tesp").sampling == tesp.preset_config("point", "quick").sampling


class Homing(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = np.zeros(2)
        return self.place.astype(np.float32), {}

    def step(self, action):
        self.place = self.place + 0.1 * action
        distance = np.linalg.norm(self.place - (0.6, -0.3))
        return self.place.astype(np.float32), -distance, False, False, {}


def walk(agent, state=None, reward=None):
    """The actions of an episode, and what is left of it."""
    env, actions = Homing(), []
    observation, _ = env.reset()
    start = np.array([True])
    for _ in range(4):
        action, state = agent.predict(observation, state, start, deterministic=True, reward=reward)
        observation, reward, *_ = env.step(action)
        start = np.array([False])
        actions.append(action)
    return np.array(actions), state, reward


class TestAnAdaptedAgent:
    def test_has_no_warning_of_rounds_that_cannot_tell(self, learner):
        """Warnings are errors here."""
        agent = learner.adapt(Homing(), progress=False)
        assert [past.episodes for past in agent.history] == [1, 1, 1]

    def test_takes_no_other_number_of_episodes(self, learner):
        agent = learner.adapt(Homing(), progress=False)
        for adapt in (learner.adapt, agent.adapt):
            with pytest.raises(
                tesp.ConfigurationError, match=r"episodes = 3 is not possible .*'rl2'.*more fast_updates"
            ):
                adapt(Homing(), episodes=3, progress=False)

    def test_begins_every_episode_with_the_trial_that_it_had_unless_it_goes_on(self, learner):
        agent = learner.adapt(Homing(), progress=False)
        first, state, reward = walk(agent)
        again, _, _ = walk(agent, state, reward)
        np.testing.assert_array_equal(first, again)
        agent.goes_on = True
        beginning, _, _ = walk(agent)
        np.testing.assert_array_equal(first, beginning)
        following, _, _ = walk(agent, state, reward)
        assert not np.allclose(first, following)
        with pytest.raises(tesp.ConfigurationError, match="reward is None"):
            walk(agent, state)

    def test_that_goes_on_is_the_agent_of_the_next_round(self, learner):
        """What `predict` carries over is what one more episode of adaptation would."""
        shorter, longer = (learner.adapt(Homing(), k, horizon=4, progress=False) for k in (1, 2))
        played = shorter.progress.round.episodes
        memory = jax.tree.map(lambda x: x[:, 0], shorter.progress.round.memory)
        last = jax.tree.map(lambda x: x[:, 0, -1], (played.action, played.reward))
        state = (memory, last[0])
        shorter.goes_on = True
        actions = [
            agent.predict(np.zeros(2), given, np.array([True]), deterministic=True, reward=reward)[0]
            for agent, given, reward in ((shorter, state, last[1]), (longer, None, None))
        ]
        np.testing.assert_allclose(*actions, rtol=1e-5)
        assert_close(longer.agent.own.action, last[0][0], rtol=1e-6)

    def test_represents_its_task_by_its_memory(self, learner):
        agent = learner.adapt(Homing(), progress=False)
        assert agent.embedding.shape == (8,)
        assert not agent.stages[0].embedding.any()
        assert agent.embedding.any()
