"""What users hold survives pickle, deepcopy and other processes, and goes on as if nothing had been."""

import copy
import multiprocessing
import pickle
import warnings

import gymnasium
import numpy as np
import pytest

import tesp
from helpers.running import tiny_config
from helpers.trees import assert_identical
from tesp.config import to_json
from tesp.environments import CARDS
from tesp.errors import EnvironmentFailedError, NonFiniteError
from tesp.tasks.registry import families, make_family

pytestmark = pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning")

COPYING = {"pickle": lambda x: pickle.loads(pickle.dumps(x)), "deepcopy": copy.deepcopy}


@pytest.fixture(scope="module", params=COPYING)
def copied(request):
    return COPYING[request.param]


@pytest.fixture(scope="module")
def learner(reference):
    return tesp.load(reference.path, "latest")


@pytest.fixture(scope="module")
def agent(learner):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tesp.AdaptationWarning)
        make = lambda: make_family("point", horizon=6).environment((0.5, 0.5))  # noqa: E731
        return learner.adapt(make, 1, episodes=2, progress=False)


def test_configurations_and_families(copied):
    config = tiny_config(policy_units=(8, 8))
    assert copied(config) == config
    assert to_json(copied(config)) == to_json(config)
    for name in families():
        family = copied(make_family(name))
        assert (family.name, family.options, family.interface) == (
            name,
            make_family(name).options,
            make_family(name).interface,
        )


def test_errors(copied):
    for error in (NonFiniteError("reward", 2, "at the end"), EnvironmentFailedError("It broke", None, "here")):
        again = copied(error)
        assert (type(again), str(again), again.task, again.detail) == (
            type(error),
            str(error),
            error.task,
            error.detail,
        )


def play(environment, steps, generator):
    seen = []
    for _ in range(steps):
        action = generator.uniform(-1, 1, environment.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, info = environment.step(action)
        seen += [observation.tobytes(), reward, terminated, truncated, info.get("distance")]
        if terminated or truncated:
            break
    return seen


@pytest.mark.parametrize("family", CARDS)
@pytest.mark.parametrize("engine", ["mujoco", "closed-form"])
def test_environments_go_on_bit_for_bit(family, engine, copied):
    if engine == "closed-form" and "reacher" not in family:
        pytest.skip("has one engine")
    options = {"engine": engine} if "reacher" in family else {}
    environment = make_family(family, **options).environment()
    environment.reset(seed=3)
    play(environment, 7, np.random.default_rng(0))
    again = copied(environment)
    assert play(again, 9, np.random.default_rng(1)) == play(environment, 9, np.random.default_rng(1))
    # The generator of the tasks goes along too.
    assert str(again.reset()[1]) == str(environment.reset()[1])
    assert play(again, 3, np.random.default_rng(2)) == play(environment, 3, np.random.default_rng(2))


def test_one_that_has_not_begun(copied):
    with pytest.raises(gymnasium.error.ResetNeeded):
        copied(make_family("wheeled").environment()).step(np.zeros(2))


def test_meta_learners_adapt_alike(learner, copied):
    again = copied(learner)
    assert_identical(again.parameters, learner.parameters)
    agents = [
        one.adapt(lambda: make_family("point", horizon=6).environment((0.3, 0.1)), 1, episodes=2, progress=False)
        for one in (learner, again)
    ]
    np.testing.assert_array_equal(agents[0].embedding, agents[1].embedding)
    assert_identical(agents[0].progress, agents[1].progress)


def test_agents_act_and_go_on_alike(agent, copied):
    observation = np.array([[0.1, -0.2], [0.3, 0.4]])
    again = copied(agent)
    for one, other in ((agent, again), (agent.stages[0], again.stages[0])):
        np.testing.assert_array_equal(*(each.predict(observation, deterministic=True)[0] for each in (one, other)))
    assert again.history[-1].fast_update == agent.history[-1].fast_update
    task = lambda: make_family("point", horizon=6).environment((0.5, 0.5))  # noqa: E731
    further = [one.adapt(task, 1, progress=False).embedding for one in (agent, again)]
    np.testing.assert_array_equal(*further)


def embedding_of(learner):
    """What another process makes of a learner."""
    env = lambda: make_family("point", horizon=6).environment((0.3, 0.1))  # noqa: E731
    return learner.adapt(env, 1, episodes=2, progress=False).embedding


def test_another_process_takes_them(learner):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        told = pool.apply(embedding_of, (learner,))
    np.testing.assert_allclose(told, embedding_of(learner), rtol=1e-5)


def test_registered_environments_in_processes_of_their_own():
    tesp.register_environments()
    vector = gymnasium.make_vec("tesp/Wheeled-v0", 2, vectorization_mode="async", vector_kwargs={"context": "spawn"})
    try:
        observation, _ = vector.reset(seed=0)
        assert observation.shape[0] == 2
    finally:
        vector.close()
