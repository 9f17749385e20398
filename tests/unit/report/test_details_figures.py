"""Figures of a run's details: paths on every task, embeddings, learned rates."""

import json

import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgba

from helpers.looking import caption, legend, of_kind
from helpers.stored import rates, reference, task, tasks
from tesp.errors import ConfigurationError, RunFolderError
from tesp.report import words
from tesp.report.figures import style
from tesp.report.figures.embeddings import WHEEL, plot_embeddings, principal_axes
from tesp.report.figures.rates import plot_rates
from tesp.report.figures.style import COLOURS
from tesp.report.figures.task_paths import plot_task_paths
from tesp.storage.records import read_records

pytestmark = pytest.mark.usefixtures("unsaved")
RATES = [rates(), rates("output layer weight", entries=8, negative=1.0)]


class TestPaths:
    def test_d_and_d2_share_a_panel_and_d1_has_its_own(self):
        records = tasks()
        figure = plot_task_paths(records, "a.png")
        both, new, _bar = figure.axes
        assert both.get_title() == "Training tasks D inside the circle, D″ outside"
        assert new.get_title() == "New tasks D′"
        assert legend(figure) == ["circle of 1.1 m", "start", "goal", "what is left to the goal"]
        for axes, count in ((both, 8), (new, 4)):
            assert axes.get_aspect() == 1.0
            np.testing.assert_allclose(np.hypot(*axes.lines[0].get_data()), 1.1)
            paths, missing = of_kind(axes, LineCollection)
            assert len(paths.get_segments()) == len(missing.get_segments()) == count
            np.testing.assert_allclose(paths.get_segments()[0], [[0, 0], [0.1, 0.2], [0.3, 0.4]])
            goals, start = of_kind(axes, PathCollection)
            np.testing.assert_array_equal(start.get_offsets(), [[0, 0]])
            distances = np.hypot(*np.asarray(goals.get_offsets()).T)
            assert sorted(np.unique(distances.round(6))) == ([0.7, 1.3] if count == 8 else [0.7])
            np.testing.assert_allclose([end[1] for end in missing.get_segments()], goals.get_offsets())
            assert {tuple(end[0]) for end in missing.get_segments()} == {(0.3, 0.4)}

    def test_goals_and_paths_have_the_colour_of_the_last_return(self):
        records = [task(i, goal=(0.1 * i, 0.0), average_return=(-99.0, -float(i))) for i in (3, 1, 2)]
        axes = plot_task_paths(records, "a.png").axes[0]
        goals = of_kind(axes, PathCollection)[0]
        assert [x for x, _ in np.asarray(goals.get_offsets()).tolist()] == pytest.approx([0.3, 0.2, 0.1])
        paths = of_kind(axes, LineCollection)[0]
        np.testing.assert_allclose(goals.get_facecolors()[:, :3], paths.get_colors()[:, :3])
        np.testing.assert_allclose(goals.get_facecolors()[-1], COLOURS(1.0))
        np.testing.assert_allclose(goals.get_facecolors()[0], COLOURS(0.0))

    def test_a_few_failures_do_not_take_the_colours_from_the_others(self):
        records = [task(i, average_return=(-9.0, -float(i) - 1000.0 * (i == 0))) for i in range(41)]
        bar = plot_task_paths(records, "a.png").axes[-1]
        low, high = bar.get_ylim()
        assert -41.0 < low < -38.0
        assert high == -1.0

    def test_without_a_boundary_every_set_has_a_panel(self):
        figure = plot_task_paths(tasks(boundary_radius=None), "a.png")
        assert [axes.get_title() for axes in figure.axes[:-1]] == list(words.TASK_SETS.values())
        assert not any(axes.lines and axes.lines[0].get_linestyle() == ":" for axes in figure.axes[:-1])

    def test_tasks_that_are_no_goals_have_no_dots(self):
        figure = plot_task_paths([task(is_goal=False, boundary_radius=None)], "a.png")
        assert legend(figure) == ["start", "end of an episode"]
        ends, _start = of_kind(figure.axes[0], PathCollection)
        np.testing.assert_allclose(ends.get_offsets(), [[0.3, 0.4]])

    @pytest.mark.parametrize(
        ("records", "message"),
        [([reference()], "no record of a single task"), ([task(path=None, start=None)], "No task has a path")],
    )
    def test_nothing_to_draw(self, records, message):
        with pytest.raises(ConfigurationError, match=message):
            plot_task_paths(records, "a.png")


class TestEmbeddings:
    def test_before_and_after_by_direction_and_distance(self):
        records = tasks()
        figure = plot_embeddings(records, "a.png")
        panels, bars = figure.axes[:4], figure.axes[4:]
        assert [axes.get_title() for axes in panels] == [
            "Before the fast-updates",
            "Before the fast-updates",
            "After 1 fast-update",
            "After 1 fast-update",
        ]
        assert sorted(axes.get_xlabel() for axes in bars) == ["direction of the goal (°)", "distance of the goal (m)"]
        assert legend(figure) == list(words.TASK_SETS.values())
        angles = np.array([(i + 0.25) / 4 for i in range(4)])
        for column, expected in ((0, WHEEL(angles)), (1, COLOURS(np.zeros(4)))):
            for row in (0, 1):
                train, _new, outside = panels[2 * row + column].collections
                np.testing.assert_allclose(train.get_facecolors(), expected, atol=0.01)
                if column == 1:
                    np.testing.assert_allclose(outside.get_facecolors(), COLOURS(np.ones(4)))
        text = caption(figure)
        assert text.startswith("TESP on wheeled, seed 0, after 25 meta-updates. The axes are fitted to the embeddings")
        assert "after 1 fast-update and hold 100 % of their variance. Dashed frame" in text

    def test_the_frame_below_is_the_view_above(self):
        panels = plot_embeddings(tasks(), "a.png").axes[:4]
        (left, right), (bottom, top) = panels[0].get_xlim(), panels[0].get_ylim()
        assert right - left == pytest.approx(top - bottom)
        for axes in panels[2:]:
            (frame,) = axes.lines
            assert (min(frame.get_xdata()), max(frame.get_xdata())) == (left, right)
            assert (min(frame.get_ydata()), max(frame.get_ydata())) == (bottom, top)

    def test_without_fast_updates_there_is_no_before(self):
        figure = plot_embeddings([task(i, average_return=(-5.0,)) for i in range(3)], "a.png")
        assert [axes.get_title() for axes in figure.axes[:2]] == ["Without fast-updates"] * 2
        assert "Dashed" not in figure.get_supxlabel()

    @pytest.mark.parametrize("count", [1, 3])
    def test_other_tasks_are_coloured_by_their_parameters(self, count):
        records = [task(i, goal=[float(i + j) for j in range(count)], is_goal=False) for i in range(3)]
        figure = plot_embeddings(records, "a.png")
        columns = min(count, 2)
        assert [axes.get_xlabel() for axes in figure.axes[2 * columns :]] == [
            f"parameter {i + 1} of the task" for i in range(columns)
        ]
        np.testing.assert_allclose(figure.axes[0].collections[0].get_facecolors(), COLOURS([0.0, 0.5, 1.0]))

    def test_a_method_without_embeddings(self):
        with pytest.raises(ConfigurationError, match="No task has an embedding"):
            plot_embeddings([task(embedding={"before": None, "after": None})], "a.png")


class TestPrincipalAxes:
    def test_they_hold_the_greatest_variance(self):
        generator = np.random.default_rng(0)
        points = generator.normal(size=(200, 5)) * [0.1, 3.0, 0.2, 1.0, 0.1] + 7.0
        project, share = principal_axes(points)
        values, vectors = np.linalg.eigh(np.cov(points.T))
        np.testing.assert_allclose(share, values[[-1, -2]] / values.sum(), rtol=1e-9)
        expected = (points - points.mean(axis=0)) @ vectors[:, [-1, -2]]
        np.testing.assert_allclose(np.abs(project(points)), np.abs(expected), atol=1e-9)

    def test_the_picture_is_not_mirrored_by_chance(self):
        points = np.random.default_rng(1).normal(size=(50, 3)) * [2.0, 1.0, 0.1]
        for arranged in (points, points[::-1]):
            project, _ = principal_axes(arranged)
            np.testing.assert_allclose(project(points), principal_axes(points)[0](points), atol=1e-9)
        # The entry that weighs most counts upwards.
        assert np.corrcoef(principal_axes(points)[0](points)[:, 0], points[:, 0])[0, 1] > 0.9

    def test_one_entry_or_one_point(self):
        points = np.array([[1.0], [2.0], [6.0]])
        project, share = principal_axes(points)
        np.testing.assert_allclose(project(points), [[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]])
        assert share == (1.0, 0.0)
        project, share = principal_axes(np.array([[1.0, 2.0]]))
        np.testing.assert_allclose(project(np.array([[1.0, 2.0]])), [[0.0, 0.0]])
        assert share == (0.0, 0.0)


class TestRates:
    def test_a_box_for_every_layer(self):
        figure = plot_rates([reference(), *RATES, rates("fixed", learned=False)], "a.png")
        (axes,) = figure.axes
        assert [text.get_text() for text in axes.get_yticklabels()] == ["GRU bias (1,200)", "output layer weight (8)"]
        assert axes.yaxis_inverted()
        (beside,) = axes.child_axes
        assert [text.get_text() for text in beside.get_yticklabels()] == [
            "25 % negative, 4 % at bound",
            "100 % negative, 4 % at bound",
        ]
        np.testing.assert_allclose(np.unique(axes.patches[0].get_path().vertices[:, 0]), [-0.01, 0.01])
        assert legend(figure) == ["initial rate 0.001", "bounds ±0.1"]
        vertical = {line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 2}
        assert vertical >= {0.0, 0.001, 0.1, -0.1, 0.002, -0.05, 0.06}
        assert any(list(line.get_xdata()) == [-0.2, 0.3] for line in axes.lines)

    def test_a_method_that_learns_none(self):
        with pytest.raises(ConfigurationError, match="learns no rates"):
            plot_rates([rates(learned=False)], "a.png")


def test_the_wheel_of_colours_has_no_seam():
    np.testing.assert_allclose(WHEEL(0.0), WHEEL(1.0))
    assert WHEEL(0.0) == to_rgba(style.PALETTE[0])


@pytest.mark.parametrize(("record", "lacks"), [(task(), "embedding"), (rates(), "quantiles")])
def test_a_record_that_lacks_what_is_drawn_is_refused(tmp_path, record, lacks):
    path = tmp_path / "details.jsonl"
    path.write_text(json.dumps(record) + "\n")
    assert read_records(path) == [record]
    del record[lacks]
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(RunFolderError, match=f"lacks {lacks}"):
        read_records(path)
