import re

import mujoco
import numpy as np
import pytest

from tesp.errors import ConfigurationError, NonFiniteError, TespError
from tesp.presets import PAPER, presets_of
from tesp.task_sets import TASK_SETS
from tesp.tasks.goals.goals import Goals

from .cart import CART, DYNAMICS, MODEL, NAMES, make, observe, rollout, some_actions, some_tasks


@pytest.fixture(scope="module")
def family():
    return make()


def plain_rollout(task, actions):
    """One MjData of a model that is compiled with the task's values."""
    model = mujoco.MjModel.from_xml_string(CART.format(**dict(zip(NAMES, map(repr, task.tolist()), strict=True))))
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, 0)
    rows = []
    for action in [None, *actions]:
        if action is not None:
            data.ctrl[:] = -0.5 + 1.5 * np.clip(action, -1, 1)
            for _ in range(3):
                mujoco.mj_step(model, data)
        mujoco.mj_forward(model, data)
        rows.append(np.concatenate([data.qpos, data.qvel, data.site_xpos[0]]))
    return np.array(rows)


def test_dynamics_are_those_of_models_compiled_with_the_values(family):
    tasks = some_tasks(4)
    batch = rollout(family, tasks)
    plain = np.stack([plain_rollout(task, some_actions(25, 4)[:, row]) for row, task in enumerate(tasks)], axis=1)
    np.testing.assert_allclose(batch, plain, rtol=1e-9, atol=1e-10)
    assert np.abs(batch[-1, 1:] - batch[-1, 0]).max() > 1e-3


@pytest.mark.parametrize("field", DYNAMICS)
def test_every_field_matters(family, field):
    without = make(dynamics={name: function for name, function in DYNAMICS.items() if name != field})
    assert np.abs(rollout(family, some_tasks(2)) - rollout(without, some_tasks(2))).max() > 1e-4


def test_the_models_of_a_batch_are_the_compiled_ones_with_all_constants(family):
    task = some_tasks(1)
    simulation = family.simulate(2)
    simulation.reset(np.repeat(task, 2, axis=0))
    ours = simulation.engine.batch.get_model(1)
    theirs = mujoco.MjModel.from_xml_string(CART.format(**dict(zip(NAMES, map(repr, task[0].tolist()), strict=True))))
    base = family.body.model
    followed = ("body_inertia", "body_invweight0", "dof_invweight0", "dof_M0", "body_subtreemass", "actuator_acc0")
    for name in (*followed, "body_mass", "geom_friction", "actuator_gear", "dof_damping"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-12, atol=1e-15)
        assert not np.allclose(getattr(ours, name), getattr(base, name), rtol=1e-3), name


def test_given_inertias_are_kept():
    inertia = {"body_inertia": lambda tasks, model: np.tile(7 * model.body_inertia, (len(tasks), 1, 1))}
    family = make(dynamics={"body_mass": DYNAMICS["body_mass"], **inertia})
    simulation = family.simulate(1)
    simulation.reset(some_tasks(1))
    np.testing.assert_array_equal(simulation.engine.batch.get_model(0).body_inertia, 7 * family.body.model.body_inertia)


def test_threads_and_earlier_tasks_change_nothing(family):
    tasks = some_tasks(5)
    expected = rollout(family, tasks)
    np.testing.assert_array_equal(rollout(family, tasks, threads=2), expected)
    simulation = family.simulate(5)
    for before in (tasks[::-1], tasks, tasks):
        first = simulation.reset(before)
        simulation.step(np.arange(5), np.ones((5, 1)))
    np.testing.assert_array_equal(first, expected[0])
    simulation.reset(tasks)
    for action, row in zip(some_actions(25, 5), expected[1:], strict=True):
        np.testing.assert_array_equal(simulation.step(np.arange(5), action).observation, row)


def test_only_the_given_simulations_move(family):
    tasks = some_tasks(3)
    together = rollout(family, tasks)
    simulation = family.simulate(3)
    simulation.reset(tasks)
    taken = np.zeros(3, int)
    for rows in ([0, 1, 2], [1], [0, 2], [2]):
        ids = np.array(rows)
        done = simulation.step(ids, some_actions(25, 3)[taken[ids], ids])
        taken[ids] += 1
        np.testing.assert_array_equal(done.observation, together[taken[ids], ids])


@pytest.mark.parametrize("threads", [1, 2])
def test_simulations_that_begin_again_are_as_new_with_their_own_dynamics(family, threads):
    tasks = some_tasks(4)
    fresh = rollout(family, tasks)
    simulation, again = family.simulate(4, threads), np.array([0, 2])
    simulation.reset(tasks)
    actions = some_actions(25, 4)
    for t in range(5):
        simulation.step(np.arange(4), actions[t])
    np.testing.assert_array_equal(simulation.restart(again), fresh[0][again])
    for t in range(7):
        action = actions[t + 5].copy()
        action[again] = actions[t, again]
        found = simulation.step(np.arange(4), action).observation
        np.testing.assert_array_equal(found[again], fresh[t + 1][again])
        np.testing.assert_array_equal(found[[1, 3]], fresh[t + 6][[1, 3]])


def test_derived_fields_describe_the_state_after_the_step(family):
    simulation = family.simulate(2)
    simulation.reset(some_tasks(2))
    simulation.disturb(0.1, (5,))
    for _ in range(5):
        done = simulation.step(np.arange(2), np.ones((2, 1)))
    x, z, angle = done.observation[:, :3].T
    tip = np.stack([x + 0.1 * np.cos(angle) + 0.5 * np.sin(angle), z + 0.5 * np.cos(angle) - 0.1 * np.sin(angle)])
    np.testing.assert_allclose(done.observation[:, [6, 8]], tip.T, atol=1e-12)


def test_noise_is_added_once_a_step():
    still = make(dynamics={})
    tasks = some_tasks(2)
    quiet, noisy = (still.simulate(2) for _ in range(2))
    quiet.reset(tasks)
    noisy.disturb(1e-3, (1, 2))
    noisy.reset(tasks)
    rows = [simulation.step(np.arange(2), np.zeros((2, 1))).observation[:, :6] for simulation in (quiet, noisy)]
    difference = np.abs(rows[1] - rows[0])
    assert (difference > 0).all()
    assert difference.max() < 6e-3
    with pytest.raises(ConfigurationError, match="dynamics_noise = -1"):
        quiet.disturb(-1.0, (1,))


def test_state_shows_controls_time_and_task():
    seen = []
    family = make(observe=lambda state: (seen.append(state), observe(state))[1])
    simulation = family.simulate(3)
    tasks = some_tasks(3)
    simulation.reset(tasks)
    for action in (np.full((2, 1), -9.0), np.full((2, 1), 0.0)):
        simulation.step(np.array([0, 2]), action)
    np.testing.assert_array_equal(seen[-1].task, tasks[[0, 2]])
    np.testing.assert_allclose(seen[-1].time, 2 * 3 * 0.01)
    np.testing.assert_array_equal(seen[-1].ctrl, [[-0.5], [-0.5]])
    np.testing.assert_array_equal(seen[-2].ctrl, [[-2.0], [-2.0]])
    assert seen[-1].model.site("tip").id == 0
    seen[-1].qpos[:] = 77.0
    assert np.abs(simulation.qpos).max() < 1.0


def test_state_shows_where_the_control_step_began():
    seen = []
    family = make(observe=lambda state: (seen.append(state), observe(state))[1])
    simulation, tasks = family.simulate(3), some_tasks(3)

    def before_is(state, other, rows):
        np.testing.assert_array_equal(state.qpos_before, other.qpos[rows])
        np.testing.assert_array_equal(state.derived_before["site_xpos"], other.derived["site_xpos"][rows])

    simulation.reset(tasks)
    begun = seen[-1]
    before_is(begun, begun, [0, 1, 2])
    simulation.step(np.arange(3), np.ones((3, 1)))
    first = seen[-1]
    before_is(first, begun, [0, 1, 2])
    simulation.disturb(1e-3, (1, 2))
    simulation.step(np.array([0, 2]), np.ones((2, 1)))
    before_is(seen[-1], first, [0, 2])
    assert np.abs(seen[-1].qpos - seen[-1].qpos_before).min() > 0
    noisy = seen[-1]
    simulation.step(np.array([2]), np.ones((1, 1)))
    before_is(seen[-1], noisy, [1])
    simulation.restart(np.array([1]))
    before_is(seen[-1], begun, [1])
    seen[-1].qpos_before[:] = 77.0
    assert np.abs(seen[-1].qpos).max() < 1.0


def test_a_task_may_change_the_control_range():
    ranges = {"actuator_ctrlrange": lambda tasks, _: np.stack([-tasks[:, :1], tasks[:, :1]], axis=2)}
    controls = []
    family = make(dynamics=ranges, reward=lambda state, action: (controls.append(state.ctrl), action[:, 0])[1])
    simulation = family.simulate(2)
    simulation.reset(some_tasks(2))
    simulation.step(np.array([1]), np.ones((1, 1)))
    np.testing.assert_allclose(controls[-1], some_tasks(2)[1:, :1])


def test_optional_functions_fill_the_transition(family):
    simulation = family.simulate(2)
    simulation.reset(some_tasks(2))
    done = simulation.step(np.arange(2), np.ones((2, 1)))
    np.testing.assert_array_equal(done.distance_reward, done.reward)
    assert np.isnan(done.distance).all()
    assert np.isnan(done.position).all()
    assert not done.terminated.any()
    assert not done.success.any()
    assert done.healthy.all()
    full = make(
        terminated=lambda state: state.task[:, 0] > 0,
        success=lambda state: state.qpos[:, 0] < 5,
        task_reward=lambda state, _: -np.abs(state.qpos[:, 0]),
        distance=lambda state: np.abs(state.qpos[:, 0]),
        position=lambda state: state.qpos[:, :2],
    ).simulate(2)
    full.reset(some_tasks(2))
    done = full.step(np.arange(2), np.ones((2, 1)))
    assert done.terminated.all()
    assert done.success.all()
    np.testing.assert_array_equal(done.distance, -done.distance_reward)
    np.testing.assert_allclose(done.reward, done.distance_reward - 0.01)
    np.testing.assert_array_equal(full.positions, done.position)


def test_sizes_options_and_presets(family):
    assert (family.observation_size, family.action_size, family.task_size) == (9, 1, 6)
    assert family.options == {"horizon": 200, "tasks_per_set": 6}
    assert make(factory_options={"wind": 2}).options["wind"] == 2
    presets = presets_of(family)
    assert presets["paper"] == PAPER
    assert presets["quick"]["policy_units"] == (64, 64)
    given = {"paper": {"epochs": 4}, "quick": {"epochs": 3, "encoder_units": 8}, "own": {"epochs": 2}}
    assert presets_of(make(preset_values=given)) == {
        "paper": {**presets["paper"], "epochs": 4},
        "quick": {**presets["quick"], "epochs": 3, "encoder_units": 8},
        "small": {**presets["small"], "epochs": 3, "encoder_units": 8},
        "own": {"epochs": 2},
    }


def test_task_sets_belong_to_name_and_seed(family):
    first, again, other = (family.sample_task_sets(seed) for seed in (3, 3, 4))
    renamed = make(name="other").sample_task_sets(3)
    assert tuple(first) == TASK_SETS
    for key in TASK_SETS:
        assert first[key].tasks.shape == (6, 6)
        np.testing.assert_array_equal(first[key].tasks, again[key].tasks)
        for different in (other, renamed):
            assert not np.array_equal(first[key].tasks, different[key].tasks)
    assert not np.array_equal(first["train"].tasks, first["in_distribution"].tasks)
    with pytest.raises(ConfigurationError, match="seed is -1"):
        family.sample_task_sets(-1)


@pytest.mark.parametrize("kind", ["path", "text", "model"])
def test_models_come_from_a_file_a_text_or_compiled(family, tmp_path, kind):
    (tmp_path / "cart.xml").write_text(MODEL)
    compiled = mujoco.MjModel.from_xml_string(MODEL)
    source = {"path": tmp_path / "cart.xml", "text": MODEL, "model": compiled}[kind]
    np.testing.assert_array_equal(
        rollout(make(model=source), some_tasks(2), steps=3), rollout(family, some_tasks(2), steps=3)
    )
    assert compiled.opt.disableflags == 0


def test_keyframes_by_name_and_index_and_the_models_defaults():
    for keyframe, x in ((None, 0.0), ("tilted", 0.1), (1, 0.1), (0, 0.0)):
        assert make(keyframe=keyframe).simulate(1).reset(some_tasks(1))[0, 0] == x
    bare = re.sub(r"<keyframe>.*</keyframe>", "", MODEL, flags=re.DOTALL)
    assert make(model=bare).simulate(1).reset(some_tasks(1))[0, 0] == 0.0


def test_a_task_may_change_where_episodes_start():
    def starts(tasks, model):
        values = np.tile(model.key_qpos, (len(tasks), 1, 1))
        values[:, 0, 0] = tasks[:, 0]
        return values

    first = make(dynamics={"key_qpos": starts}).simulate(2).reset(some_tasks(2))
    np.testing.assert_array_equal(first[:, 0], some_tasks(2)[:, 0])


def test_divergence_is_reported_with_its_task_and_harms_nobody_else(family, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the engine writes a log where it meets NaN
    expected = rollout(family, some_tasks(2), steps=2)
    simulation = family.simulate(2)
    simulation.reset(some_tasks(2))
    simulation.qvel[0] = 1e200
    for action, row in zip(some_actions(2, 2), expected[1:], strict=True):
        done = simulation.step(np.arange(2), action)
        np.testing.assert_array_equal(done.observation[1], row[1])
    assert not np.isfinite(done.observation[0]).all()
    np.testing.assert_array_equal(done.healthy, [False, True])
    bad = np.array([[0.0], [np.nan]])
    with pytest.raises(NonFiniteError, match=r"action became NaN or infinite \(simulation 1\)"):
        simulation.step(np.arange(2), bad)


def test_pictures_come_from_the_chosen_camera_with_the_tasks_dynamics():
    sized = {"geom_size": lambda tasks, model: model.geom_size * tasks[:, None, :1]}
    bare = re.sub("<camera[^>]*>", "", MODEL)
    pictures = []
    for values in ({}, {"camera": "back"}, {"model": bare}, {"dynamics": sized}):
        simulation = make(dynamics=values.pop("dynamics", {}), **values).simulate(2)
        simulation.reset(np.array([[1.0] * 6, [2.0] * 6]))
        pictures.append(simulation.render(1))
        simulation.close()
        simulation.close()
    assert pictures[0].shape == (480, 640, 3)
    for other in pictures[1:]:
        assert not np.array_equal(pictures[0], other)


def test_no_opengl_says_what_to_do(family, monkeypatch):
    def fail(*_):
        raise mujoco.FatalError("no OpenGL context")

    monkeypatch.setattr(mujoco, "Renderer", fail)
    with pytest.raises(TespError, match=r"MUJOCO_GL=egl \(install libegl1\) or MUJOCO_GL=osmesa"):
        family.simulate(1).render(0)


def test_environment_takes_a_task(family):
    env = family.environment()
    seen, info = env.reset(seed=1, options={"task": some_tasks(1)[0]})
    np.testing.assert_array_equal(seen, rollout(family, some_tasks(1), steps=0)[0, 0])
    np.testing.assert_array_equal(info["task"], some_tasks(1)[0])
    after = env.step(some_actions(1, 1)[0, 0])[0]
    np.testing.assert_array_equal(after, rollout(family, some_tasks(1), steps=1)[1, 0])
    env.close()


@pytest.fixture(scope="module")
def hill():
    """The cart as a family of goals, which is healthy on the right side only."""
    values = dict.fromkeys(("reward", "sample_tasks", "terminated", "success", "distance"))
    return make(
        **values,
        dynamics={},
        goals=Goals(arrival=0.05, outer_radius=2.0),
        position=lambda state: state.qpos[:, :2],
        healthy=lambda state: state.qpos[:, 0] >= 0,
        when_unhealthy="terminate",
        keyframe="tilted",
    )


def test_goals_say_what_tasks_there_are_and_what_a_step_is_worth(hill):
    assert hill.task_size == 2
    sets = hill.sample_task_sets(3)
    expected = hill.goals.sample_task_sets("cart", 3, hill.tasks_per_set)
    for name, drawn in expected.items():
        np.testing.assert_array_equal(sets[name].tasks, drawn.tasks)
    simulation = hill.simulate(3, threads=1)
    with pytest.raises(ConfigurationError, match=r"one finite goal \(x, y\) for each of 3 simulations"):
        simulation.reset(np.zeros((2, 2)))
    near = simulation.positions[0]
    goals = np.array([near, [0.1, 1.0], [0.1, 1.0]])
    simulation.reset(goals)
    simulation.qpos[2, 0] = -1.0
    actions = np.array([[0.5], [-0.5], [0.0]])
    done = simulation.step(np.arange(3), actions)
    approach = hill.goals.approach(done.position, goals, actions)
    np.testing.assert_array_equal(done.reward, approach.reward)
    np.testing.assert_array_equal(done.distance_reward, -done.distance)
    np.testing.assert_array_equal(done.success, [True, False, False])
    np.testing.assert_array_equal(done.healthy, [True, True, False])
    np.testing.assert_array_equal(done.terminated, [True, False, True])


def test_an_environment_of_goals_takes_and_shows_a_goal(hill):
    environment = hill.environment()
    _, info = environment.reset(options={"goal": (0.1, 0.0)})
    np.testing.assert_array_equal(info["goal"], (0.1, 0.0))
    assert info["distance"] == pytest.approx(0.0, abs=1e-12)
    assert info["success"]


def test_a_model_may_be_a_function():
    calls = []

    def build():
        calls.append(1)
        return mujoco.MjModel.from_xml_string(MODEL)

    family = make(model=build)
    assert calls == [1]
    np.testing.assert_array_equal(family.body.model.body_mass, make().body.model.body_mass)
