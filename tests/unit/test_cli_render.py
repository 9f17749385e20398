"""`tesp render`: which tasks are filmed, where films lie, and what is refused."""

import io
import os
import warnings
from types import SimpleNamespace

import gymnasium
import mujoco
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from helpers.running import tesp
from tesp import runs
from tesp.agents.rounds import AdaptationWarning
from tesp.commands.render import film_task
from tesp.errors import NonFiniteError
from tesp.storage.run_folder import RunFolder
from tesp.tasks.gymnasium.family import GymnasiumFamily
from tesp.tasks.point import PointFamily
from tesp.tasks.reacher import reacher2
from tesp.tasks.wheeled import wheeled


class Agent:
    """Stands in for an agent that a task was adapted to: it acts as it did in three rounds."""

    def __init__(self, action_size):
        self.history = [SimpleNamespace(fast_update=k) for k in (-1, 0, 1)]
        self.stages = [self] * 3
        self._action = np.full(action_size, 0.3)

        self.agent = SimpleNamespace(remembers=False)

    def predict(self, observation, state=None, episode_start=None, deterministic=False):
        assert deterministic
        return self._action, None


class Drift(gymnasium.Env):
    """Is pushed over the plane; it has no pictures, and before the first step it tells nothing."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float64)

    def __init__(self, positions):
        self.positions, self.place, self.task = positions, np.zeros(2), np.zeros(2)

    def set_task(self, task):
        self.task = task

    def reset(self, *, seed=None, options=None):
        self.place = np.zeros(2)
        return self.place, {}

    def step(self, action):
        self.place = self.place + 0.1 * action
        distance = float(np.hypot(*(self.place - self.task)))
        told = {"position": self.place, "distance": distance} if self.positions else {}
        return self.place, -distance, False, False, told


def drifting(positions):
    return GymnasiumFamily(
        lambda: Drift(positions),
        sample_tasks=lambda generator, count, _: generator.uniform(-1, 1, (count, 2)),
        name="drift",
        horizon=3,
        tasks_per_set=4,
    )


class StandIn:
    """Stands in for a run that needs no training."""

    def __init__(self, path, family):
        self.folder, self.family = RunFolder(path), family
        self.task_sets = family.sample_task_sets(0)
        self.adapted = []

    def adapt(self, task, *, seed=0, console=None):
        warnings.warn("no significant change", AdaptationWarning, stacklevel=2)
        self.adapted.append((tuple(np.round(task, 3)), seed))
        return Agent(self.family.action_size)


@pytest.fixture
def make(tmp_path, monkeypatch):
    def made(family):
        path = tmp_path / "run"
        path.mkdir()
        (path / "config.json").write_text("{}")
        stand_in = StandIn(path, family)
        stand_in.loaded = []

        def load_run(folder, checkpoint="best", **_):
            stand_in.loaded.append((str(folder), checkpoint))
            return stand_in

        monkeypatch.setattr(runs, "load_run", load_run)
        return stand_in

    return made


@pytest.fixture
def point(make):
    return make(PointFamily(horizon=3, tasks_per_set=4))


@pytest.fixture(autouse=True)
def _short_films(monkeypatch):
    monkeypatch.setattr("tesp.report.films.filming.HOLD", 0.1)


def written(folder):
    return sorted(os.listdir(folder))


class TestRuns:
    def test_the_first_task_outside_the_distribution_by_default(self, point):
        done = tesp("render", point.folder.path)
        assert (done.code, done.err) == (0, "")
        assert "the first of D″ is filmed" in done.out
        assert "no significant change\n" in done.out
        first = tuple(point.task_sets["out_of_distribution"].tasks[0].round(3))
        assert point.adapted == [(first, 0)]
        assert point.loaded == [(str(point.folder.path), "best")]
        assert written(point.folder.figures) == ["film-out_of_distribution-0.mp4", "still.png"]
        for name in written(point.folder.figures):
            assert str(point.folder.figures / name) in done.out
        # No terminal, so no bar that draws over itself.
        assert "\r" not in done.out
        assert "\x1b" not in done.out

    def test_chosen_tasks_of_a_set(self, point, tmp_path):
        options = ("--task-set", "train", "--index", "2", "0", "2", "--format", "gif", "--seed", "5")
        done = tesp("render", point.folder.path, *options, "--output", tmp_path / "films", "--checkpoint", "7")
        assert (done.code, done.err) == (0, "")
        tasks = point.task_sets["train"].tasks.round(3)
        assert point.adapted == [(tuple(tasks[2]), 5), (tuple(tasks[0]), 5)]
        assert point.loaded == [(str(point.folder.path), "7")]
        assert written(tmp_path / "films") == ["film-train-0.gif", "film-train-2.gif", "still.png"]
        assert not point.folder.figures.exists()
        assert "no task was chosen" not in done.out

    def test_tasks_of_ones_own(self, point):
        done = tesp("render", point.folder.path, "--task", "0.9", "1.1", "-0.5", "0")
        assert (done.code, done.err) == (0, "")
        assert point.adapted == [((0.9, 1.1), 0), ((-0.5, 0.0), 0)]
        assert written(point.folder.figures) == ["film-task--0.5_0.mp4", "film-task-0.9_1.1.mp4", "still.png"]

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            (("--index", "4"), "--index 4 is not possible; D″ has the tasks 0 … 3"),
            (("--task-set", "train", "--index", "-1"), "D has the tasks 0 … 3"),
            (("--task", "1", "2", "3"), "--task 1 2 3 is not possible; every task has 2 finite numbers"),
            (("--task", "nan", "2"), "2 finite numbers"),
            (("--task", "1", "1", "--index", "0"), "choose tasks by one of them"),
        ],
    )
    def test_refusals_leave_nothing(self, point, options, sentence):
        assert sentence in tesp("render", point.folder.path, *options).sentence()
        assert point.adapted == []
        assert not point.folder.figures.exists()

    def test_without_opengl_the_plane_is_drawn_and_the_user_is_told(self, make, monkeypatch):
        def fail(*_):
            raise mujoco.FatalError("no OpenGL context")

        monkeypatch.setattr(mujoco, "Renderer", fail)
        stand_in = make(wheeled(horizon=2, tasks_per_set=4))
        done = tesp("render", stand_in.folder.path)
        assert (done.code, done.err) == (0, "")
        told = [line for line in done.out.splitlines() if "libegl1" in line]
        assert len(told) == 1
        assert "The plane is drawn instead of the body" in told[0]
        assert written(stand_in.folder.figures) == ["film-out_of_distribution-0.mp4", "still.png"]

    def test_the_view_of_the_plane_needs_no_opengl(self, make, monkeypatch):
        monkeypatch.setattr(mujoco, "Renderer", lambda *_: pytest.fail("rendered"))
        stand_in = make(wheeled(horizon=2, tasks_per_set=4))
        done = tesp("render", stand_in.folder.path, "--view", "plane")
        assert (done.code, done.err) == (0, "")
        assert "OpenGL" not in done.out


class TestFamiliesOfOthers:
    """Environments that say where they are, and no more, or that render and say nothing."""

    def test_the_view_of_the_plane_needs_no_render_mode(self, make):
        stand_in = make(drifting(positions=True))
        done = tesp("render", stand_in.folder.path, "--index", "0", "1", "--view", "plane")
        assert (done.code, done.err) == (0, "")
        assert done.out.count("There is no still.") == 1
        assert "drawn:" not in done.out
        films = [f"film-out_of_distribution-{place}.mp4" for place in (0, 1)]
        assert written(stand_in.folder.figures) == films

    def test_what_cannot_be_rendered_is_drawn_in_the_plane(self, make):
        stand_in = make(drifting(positions=True))
        done = tesp("render", stand_in.folder.path, "--index", "0", "1")
        assert (done.code, done.err) == (0, "")
        assert done.out.count("make_env takes no render_mode") == 1
        assert done.out.count("The films show the plane instead.") == 1
        assert len(written(stand_in.folder.figures)) == 2

    def test_not_a_single_film(self, make):
        stand_in = make(drifting(positions=False))
        done = tesp("render", stand_in.folder.path, "--index", "0", "1")
        assert "make_env takes no render_mode" in done.out
        assert "hold no position" in done.sentence()
        assert len(stand_in.adapted) == 2
        assert not stand_in.folder.figures.exists()

    def test_some_films(self, make, monkeypatch):
        stand_in = make(drifting(positions=True))
        adapt = stand_in.adapt

        def adapted(task, **options):
            agent = adapt(task, **options)
            if len(stand_in.adapted) == 1:
                agent.predict = broken
            return agent

        def broken(*_, **__):
            raise NonFiniteError("observation")

        monkeypatch.setattr(stand_in, "adapt", adapted)
        done = tesp("render", stand_in.folder.path, "--index", "0", "1", "--view", "plane")
        assert (done.code, done.err) == (0, "")
        assert "There is no film-out_of_distribution-0.mp4. observation became NaN" in done.out
        assert written(stand_in.folder.figures) == ["film-out_of_distribution-1.mp4"]

    def test_film_task_says_why_there_is_no_film(self, tmp_path):
        family, lines = drifting(positions=False), io.StringIO()
        made = film_task(family, (0.5, 0.5), Agent(2), tmp_path / "film.gif", Console(file=lines, width=1000))
        assert made is None
        told = [line for line in lines.getvalue().splitlines() if "There is no film." in line]
        assert len(told) == 1
        assert "make_env takes no render_mode" in told[0]
        assert "no position" in told[0]
        assert written(tmp_path) == []


def test_goals_out_of_reach_are_refused_before_the_first_film(make):
    stand_in = make(reacher2(engine="closed-form", horizon=2, tasks_per_set=4))
    said = tesp("render", stand_in.folder.path, "--task", "0.5", "0.5", "1e6", "0").sentence()
    assert "'reacher2' reaches 1.7 m" in said
    assert stand_in.adapted == []


def test_a_trained_run(run):
    done = tesp("render", run, "--index", "1")
    assert (done.code, done.err) == (0, "")
    assert written(run / "figures")[:1] == ["fast_updates.png"]
    assert "film-out_of_distribution-1.mp4" in written(run / "figures")


class TestFamilies:
    def test_one_figure_of_several(self, tmp_path):
        path = tmp_path / "figures" / "families.png"
        done = tesp("render", "point", "reacher2", "--output", path)
        assert (done.code, done.err) == (0, "")
        assert str(path) in done.out
        with Image.open(path) as figure:
            assert figure.width > 2 * 480
        assert written(path.parent) == ["families.png"]

    def test_refusals(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert "'runs/none' is neither a run folder nor a family" in tesp("render", "runs/none").sentence()
        assert "needs a run folder" in tesp("render").sentence()
        assert "--task and --index" in tesp("render", "ant", "--index", "0").sentence()
        assert ".png" in tesp("render", "point", "--output", "families.svg").sentence()
        assert written(tmp_path) == []

        assert "not a run folder" in tesp("render", tmp_path).sentence()

    def test_one_run_at_a_time(self, point):
        assert "one run folder at a time" in tesp("render", point.folder.path, point.folder.path).sentence()
