"""The comparison with peers: its problems are the published ones for all of them, and its tables say what was found."""

import importlib
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import tesp

FOLDER = Path(__file__).parents[2] / "benchmarks" / "peers"

#: Modules of this folder; another folder has modules of the same names.
OWN = ("compare", "listing", "navigation", "problems", "table", "tesp_methods", "timing")


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    for name in OWN:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module
    for name in OWN:
        sys.modules.pop(name, None)


def test_navigation_by_hand(load):
    environment = load("problems").Navigation()
    environment.set_task((0.3, -0.4))
    observation, _ = environment.reset(seed=0)
    assert observation.tolist() == [0.0, 0.0]
    # A step of 5 along x counts as one of 1, and moves by 0.1; from there it is 0.2 and 0.4 to the goal.
    observation, reward, terminated, truncated, _ = environment.step(np.array([5.0, 0.0]))
    np.testing.assert_allclose(observation, [0.1, 0.0])
    np.testing.assert_allclose(reward, -np.sqrt(0.2**2 + 0.4**2))
    assert not terminated
    assert not truncated


@pytest.mark.parametrize(("left", "arrived"), [((0.009, -0.009), True), ((0.011, 0.0), False), ((0.0, -0.011), False)])
def test_navigation_ends_in_a_square(load, left, arrived):
    # The corner of the square is farther from the goal than 0.01, and counts all the same.
    environment = load("problems").Navigation()
    environment.set_task(np.array([0.1, 0.05]) - left)
    environment.reset(seed=0)
    assert environment.step(np.array([1.0, 0.5]))[2] is arrived


def test_the_family_is_the_environment(load):
    problems, family = load("problems"), load("navigation").NavigationFamily()
    goals = problems.Navigation.draw_tasks(np.random.default_rng(0), 3)
    simulation, environments = family.simulate(3), [problems.Navigation() for _ in goals]
    for environment, goal in zip(environments, goals, strict=True):
        environment.set_task(goal)
    first = np.stack([environment.reset()[0] for environment in environments])
    np.testing.assert_array_equal(simulation.reset(goals), first)
    generator = np.random.default_rng(1)
    for step in range(12):
        towards = goals - simulation.positions
        actions = 10.0 * towards if step > 6 else generator.uniform(-2.0, 2.0, (3, 2))
        moved = simulation.step(np.arange(3), actions)
        alone = [environment.step(action) for environment, action in zip(environments, actions, strict=True)]
        np.testing.assert_array_equal(moved.observation, [x[0] for x in alone])
        np.testing.assert_allclose(moved.reward, [x[1] for x in alone], rtol=1e-15)
        np.testing.assert_array_equal(moved.terminated, [x[2] for x in alone])
    assert moved.terminated.all()


def test_task_sets_of_the_family(load):
    sets = load("navigation").NavigationFamily(tasks_per_set=50).sample_task_sets(3)
    inside, outside = (np.abs(sets[name].tasks).max(axis=1) for name in ("in_distribution", "out_of_distribution"))
    assert len(inside) == len(outside) == 50
    assert inside.max() <= 0.5 < outside.min()


def test_half_cheetah_is_that_of_the_family(load):
    environment = load("problems").HalfCheetahVelocity()
    environment.set_task((1.2,))
    own = tesp.make_family("half-cheetah-velocity-v1").simulate(1, threads=1)
    np.testing.assert_allclose(environment.reset(seed=0)[0], own.reset(np.array([[1.2]]))[0], atol=1e-12)
    generator = np.random.default_rng(0)
    for action in generator.uniform(-1.5, 1.5, (4, 6)):
        observation, reward, terminated, _, _ = environment.step(action)
        moved = own.step(np.array([0]), action[None])
        np.testing.assert_allclose(observation, moved.observation[0], atol=1e-9)
        np.testing.assert_allclose(reward, moved.reward[0], atol=1e-9)
        assert not terminated


class Counting(gymnasium.Env):
    """Observes how many steps were taken, gives ten times as much, and ends after as many as its task says."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def set_task(self, task):
        self.length = task

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(1), {}

    def step(self, action):
        self.steps += 1
        return np.array([float(self.steps)]), 10.0 * self.steps, self.steps == self.length, False, {}


def test_a_trial_goes_on_over_episodes(load):
    trial = load("problems").Trial(Counting(), episodes=2, tasks=[2, 1])
    assert trial.reset()[0].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert trial.step(np.array([0.5]))[0].tolist() == [1.0, 0.5, 10.0, 0.0]
    # The first step of the second episode tells the last action and reward of the first one.
    seen, reward, terminated, _, _ = trial.step(np.array([3.0]))
    assert (seen.tolist(), reward, terminated) == ([0.0, 1.0, 20.0, 1.0], 20.0, False)
    trial.step(np.array([0.0]))
    _, _, terminated, truncated, info = trial.step(np.array([0.0]))
    assert (terminated, truncated, info) == (True, False, {"episode_returns": [30.0, 30.0]})
    trial.reset()
    assert trial.env.length == 1


def test_an_episode_of_a_trial_ends_at_the_horizon(load, monkeypatch):
    problems = load("problems")
    monkeypatch.setattr(problems, "HORIZON", 3)
    trial = problems.Trial(Counting(), episodes=1, tasks=[100])
    trial.reset()
    assert [trial.step(np.zeros(1))[2] for _ in range(3)] == [False, False, True]


def test_lines_that_a_user_writes(load, tmp_path):
    code = '"""What it is."""\n\nimport os\n\n\nclass Measure:\n    x = 1\n\n\n'
    code += '@property\ndef one():\n    """Say.\n\n    So.\n    """\n    # why\n    return 1\n\n\n'
    code += "def two():\n    return 2\n"
    (tmp_path / "it.py").write_text(code)
    listing = load("listing")
    assert listing.lines_of(tmp_path / "it.py") == 1 + 3 + 2
    assert listing.lines_of(tmp_path / "it.py", ("two",)) == 2
    for peer in listing.PEERS.values():
        assert peer.lines("navigation") > peer.lines("half-cheetah-velocity") > 10 or peer.environment


def events(*told):
    names = {"update": ("steps", "seconds"), "evaluation": ("steps", "seconds", "return")}
    return [{"kind": kind, **dict(zip(names[kind], values, strict=True))} for kind, *values in told]


def test_the_table(load):
    listing, table = load("listing"), load("table")
    found = events(
        ("update", 1000, 10.0), ("evaluation", 1000, 10.0, -30.0), ("update", 3000, 20.0), ("evaluation", 3000, 20, -18)
    )
    common = {"problem": "navigation", "seed": 0, "limit": 40.0, "lines": 7}
    ran = {**common, "peer": "tesp-rl2", "events": found, "start_again": 4.0}
    failed = {**common, "peer": "sb3", "events": [], "error": "ImportError: no"}
    content = {"targets": {"navigation": [-20.0, -15.0]}, "results": [ran, failed]}
    head, _, own, other = table.table(content, "navigation", listing.PEERS)
    assert "s to −20 | s to −15" in head
    assert own == "| tesp, RL² | 7 | 1 | 10 (4) | 200 | 20 (14) | > 40 | −18 | 3,000 |"
    assert "did not run: ImportError: no" in other
    assert own.count("|") == other.count("|") == head.count("|")


def test_the_clock_leaves_evaluations_out(load, monkeypatch, capsys):
    timing, now = load("timing"), [100.0]
    monkeypatch.setenv("PEER_STARTED", "90")
    monkeypatch.setattr(timing.time, "time", lambda: now[0])
    monkeypatch.setattr(sys, "argv", ["x", "navigation", "--limit", "30", "--target", "-5", "--every", "8"])
    watch = timing.Watch(timing.arguments(""))
    assert watch.seconds == 10.0
    assert watch.due
    with watch.evaluation(500) as returns:
        now[0] = 160.0
        returns.append(-7.0)
    assert watch.seconds == 10.0
    assert not watch.due
    now[0] = 170.0
    watch.updated(800)
    assert (watch.due, watch.over) == (True, False)
    watch.evaluated(800, -4.0, 20.0)
    assert watch.over
    told = [line.removeprefix(timing.MARK) for line in capsys.readouterr().out.splitlines()]
    assert told[0] == '{"kind": "evaluation", "steps": 500, "seconds": 10.0, "return": -7.0}'
    assert '"seconds": 20.0' in told[1]


def test_the_reason_of_a_failure(load):
    reason = load("compare").reason
    assert (
        reason(["Traceback\n", "TypeError: no\n", "  warnings.warn(x)\n", 'PEER {"steps": 1}\n'], 1) == "TypeError: no"
    )
    assert reason(["killed\n"], -9) == "killed"
    assert reason([], -9) == "exit code -9"


def test_what_is_not_possible_is_refused(load, monkeypatch, capsys):
    compare = load("compare")
    for words, said in (
        ([], "give --environments FOLDER and --json FILE"),
        (["--table", "none.json"], "none.json is no file"),
        (["--environments", ".", "--json", "none/x.json"], "cannot be written"),
        (["--environments", ".", "--json", "x.json", "--limit", "-1"], "more than 0 seconds"),
    ):
        monkeypatch.setattr(sys, "argv", ["compare.py", *words])
        with pytest.raises(SystemExit) as stopped:
            compare.main()
        assert stopped.value.code == 2
        assert said in capsys.readouterr().err


def test_settings_of_the_library_are_possible(load):
    own, config = load("tesp_methods"), tesp.preset_config
    for method, values in own.SETTINGS.items():
        made = config("half-cheetah-velocity-v1", "quick", method, horizon=100, threads=1, **values)
        assert made.algorithm == method
