"""Films of stages, their files, and what is shown where nothing can be rendered."""

import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace

import gymnasium
import imageio_ffmpeg
import mujoco
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps, ImageSequence

from helpers.pictures import FAMILY, Walker, shades_of_red
from tesp.errors import ConfigurationError, TespError
from tesp.report.films import playing
from tesp.report.films.filming import film, stages_of
from tesp.report.films.panels import Page, write_centred
from tesp.report.films.playing import Episode, Player, Stage, extent
from tesp.tasks.drawing import GOAL_COLOUR
from tesp.tasks.wheeled import wheeled

GOAL = (0.6, 0.3)
STAND, SEEK = (
    Stage("before adaptation", lambda _: np.zeros(2)),
    Stage("after 1 fast-update", lambda o: 10 * (GOAL - o)),
)


def environment(mode, family=FAMILY):
    return family.environment(GOAL, mode)


def pages(path):
    with Image.open(path) as gif:
        return [np.array(page.convert("RGB")) for page in ImageSequence.Iterator(gif)]


def decode(path):
    """What ffmpeg says about a film, and its frames. imageio-ffmpeg's reader would fork beside JAX's threads."""
    source = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)]
    target = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run([*source, *target], capture_output=True, check=True)
    said = done.stderr.decode()
    size = re.search(r"Video: .*?, (\d+)x(\d+)", said)
    assert size is not None, said
    return said, np.frombuffer(done.stdout, np.uint8).reshape(-1, int(size[2]), int(size[1]), 3)


@dataclass
class Notebook(gymnasium.Env):
    """An environment of three steps that says where it is only if told to, and notes how it is reset and closed."""

    positions: bool = True
    first_position: int = 0
    failing_from: int | None = None
    seeds: list = field(default_factory=list)
    looks: int = 0
    closed: int = 0
    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def reset(self, *, seed=None, options=None):
        self.seeds.append(seed)
        self.steps = 0
        return np.zeros(1), self.info()

    def step(self, action):
        self.steps += 1
        return np.zeros(1), float(action), self.steps == 3, False, self.info()

    def info(self):
        told = self.positions and self.steps >= self.first_position
        return {"position": np.array([self.steps / 10, 0.0])} if told else {}

    def render(self):
        self.looks += 1
        if self.failing_from is not None and self.looks > self.failing_from:
            raise RuntimeError("no display")
        return np.full((30, 41, 3), 60 * self.steps, np.uint8)

    def close(self):
        self.closed += 1


ADD = [Stage("one", lambda _: 1.0), Stage("two", lambda _: -2.0)]


class TestWhatIsShown:
    def test_a_frame_for_every_step_and_a_second_at_the_end(self, tmp_path):
        made = film(environment, [STAND, SEEK], tmp_path / "film.gif")
        shown = pages(made.path)
        assert made.frames == 1 + 8 + 20
        # Pillow joins equal pictures into one that is shown for longer.
        with Image.open(made.path) as gif:
            durations = [page.info["duration"] for page in ImageSequence.Iterator(gif)]
        assert sum(durations) == 50 * made.frames
        assert shown[0].shape == shown[-1].shape

    def test_episodes_that_are_over_show_how_they_ended(self):
        player = Player(environment("rgb_array"), "body", 0, 320)
        episodes = [player.play(STAND), player.play(SEEK)]
        assert [episode.length for episode in episodes] == [8, 6]
        page = Page(episodes)
        last, later = page.frame(8), page.frame(11)
        np.testing.assert_array_equal(last, later)
        assert episodes[1].success
        right = slice(page.size[0] // 2, None)
        np.testing.assert_array_equal(page.frame(6)[:, right], last[:, right])
        assert (page.frame(5)[:, right] != last[:, right]).any()

    def test_each_panel_shows_its_own_stage(self):
        player = Player(environment(None), "plane", 0, 400)
        episodes = [player.play(STAND), player.play(SEEK)]
        page = Page(episodes, boundary_radius=1.1)
        first, last = page.frame(0), page.frame(8)
        changed = (first != last).any(axis=-1).any(axis=0)
        panels = first.shape[1] // 2
        # On the left only the caption changes, on the right the agent moves.
        assert changed[panels:].sum() > changed[:panels].sum() > 0
        assert shades_of_red(first)[:, :panels].sum() > 50
        assert shades_of_red(first)[:, panels:].sum() > 50

    def test_all_stages_start_from_the_same_seed_in_one_environment_that_is_closed(self, tmp_path):
        notebook = Notebook()
        made = film(lambda _: notebook, ADD, tmp_path / "film.gif", seed=7)
        assert notebook.seeds == [7, 7]
        assert notebook.closed == 1
        assert made.returns == (3.0, -6.0)
        assert made.frames == 4 + 10

    def test_returns_are_of_the_distance_reward_where_there_is_one(self, tmp_path):
        made = film(environment, [STAND, Stage("away", lambda _: -np.ones(2))], tmp_path / "film.gif", view="plane")
        assert made.returns[0] == pytest.approx(-8 * np.hypot(*GOAL))
        away = [np.hypot(0.6 + 0.1 * t, 0.3 + 0.1 * t) for t in range(1, 9)]
        assert made.returns[1] == pytest.approx(-sum(away))

    def test_an_endless_episode_is_cut_off(self, tmp_path, monkeypatch):
        monkeypatch.setattr(playing, "MOST_STEPS", 2)
        made = film(lambda _: Notebook(), ADD, tmp_path / "film.gif")
        assert made.returns == (2.0, -4.0)

    def test_the_picture_of_the_plane_holds_paths_up_to_a_bound(self):
        def episode(end):
            return Episode("", positions=[np.zeros(2), np.array([0.0, end])], goal=np.array([1.0, 0.0]))

        assert extent([episode(1.0)], 2.0, 3.0) == 2.0
        assert 2.5 < extent([episode(-2.5)], 2.0, 3.0) < 3.0
        assert extent([episode(40.0)], 2.0, 3.0) == 3.0

    @pytest.mark.parametrize("text", ["short", "a name of a family " * 9, "W" * 300])
    def test_a_line_stays_within_its_width(self, text):
        image = Image.new("L", (400, 40), 255)
        write_centred(ImageDraw.Draw(image), text, (200.0, 20.0), 240, size=18, fill=0)
        left, _, right, _ = ImageOps.invert(image).getbbox()
        assert 80 <= left < right <= 320

    def test_stages_of_an_agent(self):
        def agent(value):
            def predict(observation, deterministic=False):
                assert deterministic
                return observation + value, None

            return SimpleNamespace(predict=predict, agent=SimpleNamespace(remembers=False))

        history = [SimpleNamespace(fast_update=k) for k in (-1, 0, 1, 2)]
        stages = stages_of(SimpleNamespace(stages=[agent(v) for v in range(4)], history=history))
        assert [stage.title for stage in stages] == [
            "before adaptation",
            "after the warm-up round",
            "after 1 fast-update",
            "after 2 fast-updates",
        ]
        assert [stage.act(np.array([10])) for stage in stages] == [10, 11, 12, 13]
        more = stages_of(SimpleNamespace(stages=[agent(5)], history=history))
        assert [stage.title for stage in more] == ["after 2 fast-updates"]
        assert stages_of(SimpleNamespace(stages=[], history=history)) == []
        cold = stages_of(SimpleNamespace(stages=[agent(0), agent(1)], history=history[1:3]))
        assert [stage.title for stage in cold] == ["before adaptation", "after 1 fast-update"]

    def test_an_agent_with_memory_is_told_what_it_returned_and_what_that_brought(self):
        told = []

        def predict(_, state, *, deterministic, reward):
            assert deterministic
            told.append((state, reward))
            return np.zeros(2), len(told)

        agent = SimpleNamespace(predict=predict, agent=SimpleNamespace(remembers=True))
        (stage,) = stages_of(SimpleNamespace(stages=[agent], history=[SimpleNamespace(fast_update=0)]))
        environment = gymnasium.make("tesp/Point-v0", goal=(0.6, 0.8), max_episode_steps=3)
        for _ in range(2):
            told.clear()
            Player(environment, "plane", 0, 64).play(stage)
            assert told == [(None, None), (1, pytest.approx(-1.0)), (2, pytest.approx(-1.0))]


class TestFiles:
    def test_mp4_is_what_browsers_play(self, tmp_path):
        made = film(environment, [STAND, SEEK, SEEK], tmp_path / "new" / "film.mp4", heading="point")
        said, shown = decode(made.path)
        assert len(shown) == made.frames
        assert re.search(r"Video: h264.* yuv420p\(.* 20 fps", said)
        assert all(side % 2 == 0 for side in shown.shape[1:3])
        content = made.path.read_bytes()
        assert content.index(b"moov") < content.index(b"mdat")
        assert os.listdir(made.path.parent) == ["film.mp4"]

    def test_frames_arrive_as_they_were_drawn(self, tmp_path):
        made = film(lambda _: Notebook(), ADD, tmp_path / "film.mp4")
        _, shown = decode(made.path)
        middle = shown[:4, shown.shape[1] // 2, shown.shape[2] // 4].mean(axis=-1)
        np.testing.assert_allclose(middle, [0, 60, 120, 180], atol=6)

    @pytest.mark.parametrize("name", ["film.avi", "film", "film.mp4.zip"])
    def test_other_suffixes_are_refused_before_anything_is_made(self, tmp_path, name):
        with pytest.raises(ConfigurationError, match=r"\.mp4 or \.gif"):
            film(lambda _: pytest.fail("made"), ADD, tmp_path / name)

    def test_nothing_to_film_and_unknown_views_are_refused(self, tmp_path):
        with pytest.raises(ConfigurationError, match="one stage or more"):
            film(lambda _: pytest.fail("made"), [], tmp_path / "film.gif")
        with pytest.raises(ConfigurationError, match="'top'"):
            film(lambda _: pytest.fail("made"), ADD, tmp_path / "film.gif", view="top")

    @pytest.mark.parametrize(("suffix", "error"), [("gif", RuntimeError), ("mp4", KeyboardInterrupt)])
    def test_an_interrupted_film_leaves_the_old_one(self, tmp_path, monkeypatch, suffix, error):
        path = tmp_path / f"film.{suffix}"
        path.write_bytes(b"old")
        drawn = Page.frame

        def frame(self, step):
            if step == 3:
                raise error
            return drawn(self, step)

        monkeypatch.setattr(Page, "frame", frame)
        with pytest.raises(error):
            film(environment, [STAND], path)
        assert os.listdir(tmp_path) == [path.name]
        assert path.read_bytes() == b"old"

    def test_the_environment_is_closed_after_an_error(self, tmp_path):
        notebook = Notebook()
        with pytest.raises(ZeroDivisionError):
            film(lambda _: notebook, [Stage("wrong", lambda _: 1 / 0)], tmp_path / "film.gif")
        assert notebook.closed == 1
        assert os.listdir(tmp_path) == []

    def test_a_failure_of_ffmpeg_is_told(self, tmp_path, monkeypatch):
        program = tmp_path / "ffmpeg"
        program.write_text("#!/bin/sh\necho 'No space left on device' >&2\nexit 3\n")
        program.chmod(0o755)
        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: str(program))
        with pytest.raises(TespError, match="No space left on device"):
            film(environment, [STAND], tmp_path / "films" / "film.mp4")
        assert os.listdir(tmp_path / "films") == []

    def test_without_ffmpeg_gif_is_proposed(self, tmp_path, monkeypatch):
        def missing():
            raise RuntimeError("no ffmpeg exe could be found")

        monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", missing)
        with pytest.raises(TespError, match="GIF"):
            film(environment, [STAND], tmp_path / "film.mp4")


class TestWithoutOpenGL:
    def test_the_plane_is_drawn_and_the_hint_says_what_to_install(self, tmp_path, monkeypatch):
        def fail(*_):
            raise mujoco.FatalError("no OpenGL context")

        monkeypatch.setattr(mujoco, "Renderer", fail)
        family = wheeled(horizon=2)
        made = film(lambda mode: environment(mode, family), [STAND], tmp_path / "film.gif", boundary_radius=1.1)
        assert made.view == "plane"
        assert made.hint is not None
        assert "libegl1" in made.hint
        assert "\n" not in made.hint
        drawn = pages(made.path)[0]
        assert np.any(np.all(np.abs(drawn.astype(int) - GOAL_COLOUR) < 12, axis=-1))

    def test_any_renderer_may_fail(self, tmp_path):
        made = film(lambda _: Notebook(failing_from=0), ADD, tmp_path / "film.gif")
        assert made.view == "plane"
        assert made.hint is not None
        assert re.search(r"RuntimeError: no display.*libegl1", made.hint)

    def test_a_renderer_that_worked_before_is_broken(self, tmp_path):
        with pytest.raises(TespError, match="no display"):
            film(lambda _: Notebook(failing_from=2), ADD, tmp_path / "film.gif")

    def test_without_positions_there_is_nothing_to_draw(self, tmp_path):
        with pytest.raises(TespError, match=r"could not be rendered.*no display"):
            film(lambda _: Notebook(positions=False, failing_from=0), ADD, tmp_path / "film.gif")
        with pytest.raises(ConfigurationError, match="no position"):
            film(lambda _: Notebook(positions=False), ADD, tmp_path / "film.gif", view="plane")
        assert os.listdir(tmp_path) == []

    def test_an_environment_that_cannot_be_made_to_be_rendered(self, tmp_path):
        notebook, modes = Notebook(first_position=1), []

        def make(mode):
            modes.append(mode)
            if mode is not None:
                raise ConfigurationError("make_env takes no render_mode.")
            return notebook

        made = film(make, ADD, tmp_path / "film.gif")
        assert modes == ["rgb_array", None]
        assert (made.view, notebook.looks, notebook.closed) == ("plane", 0, 1)
        assert made.hint == "The plane is drawn instead of the body. make_env takes no render_mode."
        notebook.positions = False
        with pytest.raises(TespError, match=r"make_env takes no render_mode.*no position"):
            film(make, ADD, tmp_path / "none.gif")

    def test_what_fails_without_rendering_too_passes_through(self, tmp_path):
        with pytest.raises(ZeroDivisionError):
            film(lambda _: 1 // 0, ADD, tmp_path / "film.gif")

    def test_for_real(self, tmp_path):
        program = f"""
import numpy as np
from tesp.report.films.playing import Stage
from tesp.report.films.filming import film
from tesp.report.films.stills import draw_stills
from tesp.report.films.playing import Stage
from tesp.report.films.filming import film
from tesp.report.films.stills import draw_stills
from tesp.tasks.registry import make_family
family = make_family("reacher2", horizon=2)
stage = Stage("still", lambda _: np.zeros(2))
made = film(lambda mode: family.environment((0.5, 0.5), mode), [stage], {str(tmp_path / "film.mp4")!r})
print(made.view, made.hint)
print(draw_stills([family], {str(tmp_path / "still.png")!r}))
"""
        variables = {**os.environ, "MUJOCO_GL": "off", "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("plane The plane is drawn")
        assert done.stdout.count("libegl1") == 2
        assert sorted(os.listdir(tmp_path)) == ["film.mp4", "still.png"]


class TestGoalsOfOtherFamilies:
    def test_the_task_is_marked_if_it_is_a_goal(self, tmp_path):
        def marked(**options):
            path = tmp_path / "film.gif"
            film(lambda mode: environment(mode, Walker()), [SEEK], path, view="plane", **options)
            return sum(shades_of_red(page)[40:].sum() for page in pages(path))

        assert marked(task=GOAL) > 50
        assert marked() == 0

    @pytest.mark.parametrize("task", [(0.6, 0.305), (0.6, 0.3, 1.0)])
    def test_a_task_that_the_distances_do_not_belong_to_is_no_goal(self, task):
        player = Player(environment(None, Walker()), "plane", 0, 400, np.array(task))
        assert player.play(SEEK).goal is None

    def test_neither_without_distances_nor_over_a_goal_that_was_told(self):
        silent = Episode("")
        silent.note({"position": np.array(GOAL)})
        silent.mark(np.array(GOAL))
        assert silent.goal is None
        told = Episode("")
        told.note({"position": np.array(GOAL), "distance": 0.0, "goal": np.zeros(2)})
        told.mark(np.array(GOAL))
        np.testing.assert_array_equal(told.goal, np.zeros(2))

    def test_moments_that_tell_no_position_have_the_next_one(self):
        episode = Episode("")
        for step, told in enumerate([None, (1.0, 2.0), None, (3.0, 4.0), (math.nan, 0.0)]):
            if step:
                episode.returns.append(0.0)
            episode.note({} if told is None else {"position": np.array(told)})
        assert [tuple(place) for place in episode.positions] == [(1, 2), (1, 2), (3, 4), (3, 4)]
