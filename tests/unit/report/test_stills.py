"""Stills of bodies, and drawings of the plane."""

import mujoco
import numpy as np
import pytest
from PIL import Image

from helpers.pictures import FAMILY, Walker, shades_of_red
from tesp.errors import ConfigurationError, TespError
from tesp.report.films.stills import draw_stills
from tesp.tasks.drawing import draw_plane
from tesp.tasks.registry import make_family


class TestDrawing:
    def test_the_path_is_drawn_where_it_was(self):
        position, goal = np.array([1.0, 0.0]), np.array([0.0, -1.5])
        path = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
        plain = draw_plane(position, goal, None)
        drawn = draw_plane(position, goal, None, path=path)
        changed = np.argwhere((plain != drawn).any(axis=-1))
        x, y = changed[:, 1] / 120 - 2, 2 - changed[:, 0] / 120
        near = (np.abs(x) < 0.03) | (np.abs(x - 1) < 0.03) | (np.abs(y - 1) < 0.03)
        assert near.all()
        assert {(240, 180), (300, 120)} <= {(column, row) for row, column in changed.tolist()}
        assert len(changed) > 3 * 120

    def test_who_leaves_the_picture_does_no_harm(self):
        far = np.array([[0.0, 0.0], [5.0, 5.0], [-9.0, 7.0]])
        image = draw_plane(far[-1], np.zeros(2), 1.1, path=far, size=120)
        assert image.shape == (120, 120, 3)
        assert tuple(image[30, 90]) != tuple(draw_plane(far[-1], np.zeros(2), 1.1, size=120)[30, 90])

    def test_a_wider_view_shows_more(self):
        place = np.array([2.5, 0.0])
        for half_width, seen in ((2.0, False), (3.0, True)):
            image = draw_plane(np.zeros(2), place, None, half_width=half_width, size=240)
            assert shades_of_red(image).any() == seen


class TestStills:
    @pytest.mark.parametrize("name", ["wheeled", "ant", "reacher2", "reacher4"])
    def test_the_goal_is_whole_and_the_body_too(self, tmp_path, name):
        path = tmp_path / "still.png"
        assert draw_stills([make_family(name)], path) is None
        with Image.open(path) as still:
            tile = np.array(still.convert("RGB")).astype(int)[12:372, 12:492]
        goal = np.argwhere(shades_of_red(tile))
        assert len(goal) > 150
        assert goal.min() > 5
        assert (goal.max(axis=0) < (354, 474)).all()
        body = np.argwhere((tile[..., 2] > 90) & (tile[..., 2] > 1.45 * tile[..., 0]))
        assert len(body) > 1500
        assert body.min() > 5
        assert (body.max(axis=0) < (354, 474)).all()

    def test_a_row_of_families(self, tmp_path):
        families = [make_family("point"), make_family("point", horizon=5)]
        draw_stills(families, tmp_path / "two.png", "plane")
        with Image.open(tmp_path / "two.png") as still:
            image = np.array(still.convert("RGB"))
        assert image.shape[:2] == (12 + 400, 12 + 2 * 492)
        rows, columns = np.nonzero(shades_of_red(image[:, :504]))
        # The square picture of the plane lies in the middle of its tile.
        assert columns.mean() == pytest.approx(12 + 240 + 54, abs=2)
        assert rows.mean() == pytest.approx(12 + 180 - 45, abs=2)

    def test_rendering_is_tried_once_only(self, tmp_path, monkeypatch):
        tried = []

        def fail(*_):
            tried.append(1)
            raise mujoco.FatalError("no OpenGL context")

        monkeypatch.setattr(mujoco, "Renderer", fail)
        hint = draw_stills([make_family("wheeled"), make_family("ant")], tmp_path / "two.png")
        assert hint is not None
        assert "libegl1" in hint
        assert len(tried) == 1

    def test_what_has_no_goals_is_rendered_or_refused(self, tmp_path, monkeypatch):
        path = tmp_path / "still.png"
        assert draw_stills([Walker()], path) is None
        path.unlink()
        with pytest.raises(ConfigurationError, match="'walker': its tasks are no goals"):
            draw_stills([Walker()], path, "plane")

        def fail(*_):
            raise mujoco.FatalError("gladLoadGL error")

        simulation = type(FAMILY.simulate(1))
        monkeypatch.setattr(simulation, "render", fail)
        with pytest.raises(TespError, match=r"'walker' could not be rendered. FatalError: gladLoadGL error\..*libegl1"):
            draw_stills([Walker()], path)
        assert draw_stills([FAMILY], path) is not None
        monkeypatch.setattr(simulation, "render", lambda *_: np.zeros((9, 9)))
        with pytest.raises(TespError, match="render_mode='rgb_array'"):
            draw_stills([Walker()], path)

    def test_only_png(self, tmp_path):
        with pytest.raises(ConfigurationError, match=r"\.png"):
            draw_stills([FAMILY], tmp_path / "still.jpg")
