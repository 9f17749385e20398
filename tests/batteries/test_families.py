"""What every family must do; a new family joins by its name."""

import json
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from tesp.environments import CARDS, register_environments
from tesp.errors import ConfigurationError, NonFiniteError
from tesp.presets import presets_of
from tesp.task_sets import TASK_SETS
from tesp.tasks.family import Family
from tesp.tasks.registry import make_family

#: Families whose tasks are goals in the plane, and the classic tasks: the sizes of their observations.
OF_GOALS = {"point": 2, "wheeled": 9, "ant": 29, "reacher2": 8, "reacher4": 14}
CLASSIC = {
    "half-cheetah-velocity-v1": 17,
    "half-cheetah-direction-v1": 17,
    "ant-direction-v1": 27,
    "ant-goal-v1": 29,
    "humanoid-direction-v1": 45,
    "walker-parameters-v1": 17,
    "hopper-parameters-v1": 11,
}
FAMILIES = OF_GOALS | CLASSIC
ACTIONS = dict(zip(FAMILIES, (2, 2, 8, 2, 4, 6, 6, 8, 8, 17, 6, 3), strict=True))
TASKS = dict(zip(CLASSIC, (1, 2, 1, 2, 1, 58, 34), strict=True))
CLOSED_FORM = ["reacher2 closed-form", "reacher4 closed-form"]
#: Those whose bodies other families have too, and what takes longest.
FOR_LATER = ("half-cheetah-direction-v1", "ant-direction-v1", "humanoid-direction-v1", "hopper-parameters-v1")
ARRIVAL = {"point": 0.02, "wheeled": 0.02, "ant": 0.03, "reacher2": 0.06, "reacher4": 0.11}
START = {"reacher2": (1.70, 0.0), "reacher4": (2.00, 0.0)}


def when_there_is_time(name: str):
    """The name as a parameter that is left out unless there is time, if it is one of those."""
    return pytest.param(name, marks=pytest.mark.long) if name in FOR_LATER else name


@pytest.fixture(params=[*OF_GOALS, *CLOSED_FORM, *map(when_there_is_time, CLASSIC)])
def row(request) -> list[str]:
    """A family's name, and the engine if it is not the default one."""
    return request.param.split()


@pytest.fixture
def name(row) -> str:
    return row[0]


@pytest.fixture
def family(row) -> Family:
    return made_of(row)


@pytest.fixture(params=[*OF_GOALS, *CLOSED_FORM])
def goal_row(request) -> list[str]:
    """The same of a family whose tasks are goals in the plane."""
    return request.param.split()


@pytest.fixture
def goal_name(goal_row) -> str:
    return goal_row[0]


@pytest.fixture
def goal_family(goal_row) -> Family:
    made = made_of(goal_row)
    assert made.goals is not None
    return made


def made_of(row: list[str]) -> Family:
    return make_family(row[0], engine=row[1]) if len(row) > 1 else make_family(row[0])


def goals(count: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(-1.0, 1.0, (count, 2))


def tasks(family: Family, count: int) -> np.ndarray:
    generator = np.random.default_rng(7)
    return goals(count) if family.goals else np.stack([family.draw_task(generator) for _ in range(count)])


def actions(family: Family, steps: int, count: int) -> np.ndarray:
    return np.random.default_rng(8).uniform(-1.5, 1.5, (steps, count, family.action_size))


def run(family: Family, count: int, threads: int, steps: int = 12) -> np.ndarray:
    """Observations and rewards of all simulations, step by step."""
    simulation = family.simulate(count, threads)
    simulation.reset(tasks(family, count))
    rows = []
    for action in actions(family, steps, count):
        done = simulation.step(np.arange(count), action)
        rows.append(np.column_stack([done.observation, done.reward]))
    return np.array(rows)


def test_sizes_and_constants(name, family):
    observation = family.simulate(3).reset(tasks(family, 3))
    assert observation.shape == (3, FAMILIES[name])
    assert observation.dtype == np.float64
    assert family.observation_size == FAMILIES[name]
    assert family.action_size == ACTIONS[name]
    assert family.task_size == TASKS.get(name, 2)
    assert (family.goals is None) == (name in CLASSIC)
    assert family.goals is None or family.goals.arrival == ARRIVAL[name]
    assert family.horizon == (100 if name == "point" else 200)
    assert family.name == name


def test_start_position(goal_name, goal_family):
    simulation = goal_family.simulate(2)
    simulation.reset(goals(2))
    np.testing.assert_allclose(simulation.positions, [START.get(goal_name, (0.0, 0.0))] * 2, atol=1e-12)


def test_reset_is_deterministic_and_forgets_the_episode_before(family):
    simulation = family.simulate(2)
    first = simulation.reset(tasks(family, 2))
    for action in actions(family, 5, 2):
        before = simulation.step(np.arange(2), action)
    assert not np.array_equal(before.observation, first)
    np.testing.assert_array_equal(simulation.reset(tasks(family, 2)), first)
    for action in actions(family, 5, 2):
        after = simulation.step(np.arange(2), action)
    np.testing.assert_array_equal(after.observation, before.observation)
    np.testing.assert_array_equal(first[0], first[1])


@pytest.mark.parametrize("threads", [1, 2])
def test_simulations_that_begin_again_are_as_new(family, threads):
    """Bit for bit, beside others that go on as if nothing had happened."""
    undisturbed, simulation, begun = run(family, 4, 1), family.simulate(4, threads), np.array([1, 3])
    first = simulation.reset(tasks(family, 4))
    driven = actions(family, 12, 4)
    for t in range(5):
        simulation.step(np.arange(4), driven[t])
    np.testing.assert_array_equal(simulation.restart(begun), first[begun])
    np.testing.assert_array_equal(simulation.positions[begun], family.simulate(4).positions[begun])
    for t in range(7):
        action = driven[t + 5].copy()
        action[begun] = driven[t, begun]
        done = simulation.step(np.arange(4), action)
        found = np.column_stack([done.observation, done.reward])
        np.testing.assert_array_equal(found[begun], undisturbed[t, begun])
        np.testing.assert_array_equal(found[[0, 2]], undisturbed[t + 5, [0, 2]])


def test_threads_change_nothing(family):
    np.testing.assert_array_equal(run(family, 5, threads=1), run(family, 5, threads=2))


def test_simulations_are_those_of_a_single_environment(row, name, family):
    together = run(family, 3, threads=2)
    register_environments()
    # In closed form another number of simulations is another compiled program, which may round differently.
    options, tolerance = ({"engine": row[1]}, 1e-12) if len(row) > 1 else ({}, 0.0)
    key = "goal" if family.goals else "task"
    for index in range(3):
        env = gymnasium.make(CARDS[name].environment, **options).unwrapped
        env.reset(options={key: tasks(family, 3)[index]})
        for t, action in enumerate(actions(family, 12, 3)[:, index]):
            observation, reward, _, truncated, _ = env.step(action)
            np.testing.assert_allclose(observation, together[t, index, :-1], rtol=tolerance, atol=tolerance)
            np.testing.assert_allclose(reward, together[t, index, -1], rtol=tolerance, atol=tolerance)
            assert truncated is False
        env.close()


def test_only_the_given_simulations_move(family):
    together = run(family, 4, threads=2)
    simulation = family.simulate(4)
    simulation.reset(tasks(family, 4))
    taken = np.zeros(4, int)
    for ids in ([0, 1, 2, 3], [1, 3], [3], [0, 2], [0, 1, 2, 3]):
        rows = np.array(ids)
        still = np.setdiff1d(np.arange(4), rows)
        waiting = simulation.positions[still]
        done = simulation.step(rows, actions(family, 12, 4)[taken[rows], rows])
        np.testing.assert_array_equal(done.observation, together[taken[rows], rows, :-1])
        np.testing.assert_array_equal(done.reward, together[taken[rows], rows, -1])
        np.testing.assert_array_equal(simulation.positions[still], waiting)
        np.testing.assert_array_equal(simulation.positions[rows], done.position)
        taken[rows] += 1


def test_reward_is_the_sum_of_its_terms(goal_family):
    simulation = goal_family.simulate(4)
    simulation.reset(goals(4))
    for action in actions(goal_family, 5, 4):
        done = simulation.step(np.arange(4), action)
        distance = np.linalg.norm(done.position - goals(4), axis=1)
        clipped = np.maximum(-1, np.minimum(1, action))
        np.testing.assert_allclose(done.distance, distance, rtol=1e-12)
        np.testing.assert_allclose(done.distance_reward, -distance, rtol=1e-12)
        np.testing.assert_allclose(done.reward, -distance - 0.001 * np.linalg.norm(clipped, axis=1) ** 2, rtol=1e-12)


def test_actions_are_clipped(family):
    simulation = family.simulate(2)
    simulation.reset(np.repeat(tasks(family, 1), 2, axis=0))
    for sign in (1.0, -1.0, 1.0):
        action = sign * np.ones((2, family.action_size))
        action[1] *= 37.0
        done = simulation.step(np.arange(2), action)
    np.testing.assert_array_equal(done.observation[0], done.observation[1])
    assert done.reward[0] == done.reward[1]
    weak = family.simulate(1)
    weak.reset(tasks(family, 1))
    for sign in (1.0, -1.0, 1.0):
        half = weak.step(np.arange(1), 0.5 * sign * np.ones((1, family.action_size)))
    assert not np.array_equal(half.observation[0], done.observation[0])


def test_arrival_terminates(goal_family):
    simulation = goal_family.simulate(3)
    simulation.reset(goals(3))
    still = np.zeros((3, goal_family.action_size))
    position = simulation.step(np.arange(3), still).position[0]
    offsets = goal_family.goals.arrival * np.array([[0.98, 0.0], [0.0, 1.02], [-5.0, 0.0]])
    simulation.reset(position + offsets)
    done = simulation.step(np.arange(3), still)
    np.testing.assert_array_equal(done.success, [True, False, False])
    np.testing.assert_array_equal(done.terminated, [True, False, False])
    assert done.healthy.all()


def test_task_sets(goal_name, goal_family):
    sets = goal_family.sample_task_sets(3)
    assert tuple(sets) == TASK_SETS
    spacing = 0.11 if goal_name == "reacher4" else 0.10
    for key, (inner, outer) in zip(TASK_SETS, [(0.2, 1.1), (0.2, 1.1), (1.1, 1.5)], strict=True):
        assert sets[key].name == key
        assert sets[key].tasks.shape == (100, 2)
        radius = np.linalg.norm(sets[key].tasks, axis=1)
        assert inner < radius.min() < inner + 0.1
        assert outer - 0.1 < radius.max() < outer
    inside = np.concatenate([sets["train"].tasks, sets["in_distribution"].tasks])
    for points in (inside, sets["out_of_distribution"].tasks):
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(len(points), 1)]
        assert spacing <= distances.min() < spacing + 0.01


def test_task_sets_belong_to_family_and_seed(family):
    first, again, other = (family.sample_task_sets(seed) for seed in (3, 3, 4))
    for key in TASK_SETS:
        np.testing.assert_array_equal(first[key].tasks, again[key].tasks)
        assert not np.array_equal(first[key].tasks, other[key].tasks)


def test_options_survive_json(name, family):
    assert make_family(name, **json.loads(json.dumps(family.options))) == family
    of_goals = {} if name in CLASSIC else {"spacing": 0.05, "outer_radius": 2.0, "inner_radius": 0.3}
    changed = make_family(name, horizon=7, tasks_per_set=9, **of_goals)
    assert changed != family
    assert changed.horizon == 7
    assert make_family(name, **json.loads(json.dumps(changed.options))) == changed
    assert changed.sample_task_sets(0)["train"].tasks.shape == (9, family.task_size)


def test_none_keeps_the_default(name, family):
    assert make_family(name, **dict.fromkeys(family.options)) == make_family(name)


def test_presets(goal_name, goal_family):
    presets = presets_of(goal_family)
    assert presets == presets_of(goal_name)
    paper, quick = presets["paper"], presets["quick"]
    expected = {
        "point": ((64, 64), 64, 8, 0.01),
        "wheeled": ((256, 256), 256, 8, 0.01),
        "ant": ((512, 512), 256, 32, 0.01),
        "reacher2": ((256, 256), 256, 8, 0.005),
        "reacher4": ((512, 512), 256, 16, 0.005),
    }[goal_name]
    keys = ("policy_units", "encoder_units", "embedding_size", "embedding_penalty")
    # What suits single algorithms is tested with the presets.
    sizes = {key: paper[key] for key in paper if key not in ("algorithms", "round_budget")}
    assert sizes == dict(zip(keys, expected, strict=True))
    assert paper["round_budget"] == "steps"
    assert set(quick) >= set(keys)
    assert set(presets["small"]) >= set(quick)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"horizon": 0}, "horizon is 0"),
        ({"tasks_per_set": -1}, "tasks_per_set is -1"),
        ({"spacing": float("nan")}, "spacing is nan"),
        ({"inner_radius": -0.1}, "inner_radius is -0.1"),
        ({"inner_radius": 1.2}, "must increase in this order"),
    ],
)
def test_impossible_options_are_named(goal_name, options, words):
    with pytest.raises(ConfigurationError, match=words):
        make_family(goal_name, **options)


def test_bad_arguments_are_named(family):
    with pytest.raises(ConfigurationError, match="count is 0"):
        family.simulate(0)
    with pytest.raises(ConfigurationError, match="threads is -1"):
        family.simulate(1, threads=-1)
    simulation = family.simulate(2)
    numbers = "1 finite number for" if family.task_size == 1 else f"{family.task_size} finite numbers for"
    words = "one finite goal" if family.goals else numbers
    with pytest.raises(ConfigurationError, match=words):
        simulation.reset(tasks(family, 3))
    with pytest.raises(ConfigurationError, match=words):
        simulation.reset(np.full((2, family.task_size), np.nan))
    simulation.reset(tasks(family, 2))
    with pytest.raises(ConfigurationError, match="actions have shape"):
        simulation.step(np.arange(2), np.zeros((2, family.action_size + 1)))
    bad = np.zeros((2, family.action_size))
    bad[1, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"action became NaN or infinite \(simulation 1\)"):
        simulation.step(np.arange(2), bad)


@pytest.mark.parametrize("name", [when_there_is_time(name) for name in CARDS])
def test_gymnasium_finds_no_fault(name):
    register_environments()
    env = gymnasium.make(CARDS[name].environment, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()


def test_pictures_show_the_goal_and_the_body(goal_family):
    simulation = goal_family.simulate(1)
    pictures = {}
    for x in (-0.8, 0.8):
        simulation.reset(np.array([[x, 0.3]]))
        pictures[x] = simulation.render(0)
    left, right = pictures[-0.8].astype(int), pictures[0.8].astype(int)
    assert left.shape[2] == 3
    assert pictures[0.8].dtype == np.uint8
    reddest = [np.unravel_index(np.argmax(2 * p[..., 0] - p[..., 1] - p[..., 2]), p.shape[:2]) for p in (left, right)]
    middle = left.shape[1] / 2
    assert reddest[0][1] < middle - 50
    assert reddest[1][1] > middle + 50
    for _ in range(4):
        simulation.step(np.arange(1), np.ones((1, goal_family.action_size)))
    assert not np.array_equal(simulation.render(0), right)
    simulation.close()
    simulation.close()
