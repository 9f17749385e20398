import numpy as np
import pytest
from matplotlib.collections import LineCollection

from helpers.looking import legend, of_kind
from helpers.stored import adaptation, reference
from tesp.errors import ConfigurationError
from tesp.report.figures.trajectories import plot_trajectories

pytestmark = pytest.mark.usefixtures("unsaved")


def test_a_panel_for_every_round_of_the_last_adaptation():
    earlier = adaptation(0, adaptation_id="earlier")
    figure = plot_trajectories([earlier, *(adaptation(k) for k in (-1, 0, 1, 2))], "a.png")
    *panels, _bar = figure.axes
    names, outcomes = zip(*(axes.get_title().split("\n") for axes in panels), strict=True)
    assert names == ("Warm-up", "After 0 fast-updates", "After 1 fast-update", "After 2 fast-updates")
    assert set(outcomes) == {"return −12.3, success 50 %"}
    assert {"end of an episode", "start", "goal"} < set(legend(figure))
    for axes in panels:
        assert (axes.get_xlim(), axes.get_ylim()) == (panels[0].get_xlim(), panels[0].get_ylim())
        (paths,) = of_kind(axes, LineCollection)
        np.testing.assert_allclose(paths.get_segments()[1], [[0, 0], [0, 0.2], [0.3, 0.4]])
        np.testing.assert_array_equal(paths.get_array(), [-20.0, -10.0])
        assert (paths.norm.vmin, paths.norm.vmax) == (-20.0, -10.0)
        np.testing.assert_allclose(np.hypot(*axes.lines[0].get_data()), 1.1)


def test_the_view_is_square_and_holds_everything():
    far = [{"average_return": -1.0, "success": False, "position": [[-4.0, 0.0], [0.0, 3.0]]}]
    axes = plot_trajectories([adaptation(0), adaptation(1) | {"episodes": far}], "a.png").axes[0]
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    assert left < -4.0 < 1.1 < right
    assert low < -1.1 < 3.0 < high
    assert right - left == pytest.approx(high - low)


def test_many_rounds_wrap():
    panels = plot_trajectories([adaptation(k) for k in range(8)], "a.png").axes[:-1]
    rows = [axes.get_subplotspec().rowspan.start for axes in panels if axes.axison]
    assert [rows.count(row) for row in (0, 1)] == [6, 2]


def test_what_a_family_does_not_have_is_not_drawn():
    assert "goal" not in legend(plot_trajectories([adaptation(0, goal=(0.1, 0.2, 0.3))], "a.png"))
    entries = legend(plot_trajectories([adaptation(0, boundary_radius=None)], "a.png"))
    assert "goal" in entries
    assert not any("boundary" in text for text in entries)
    panel, bar = plot_trajectories([adaptation(0, final_distance=np.nan, success_rate=0.0)], "a.png").axes
    assert bar.get_ylabel() == "return of the episode"
    assert "success" not in panel.get_title()
    assert "goal" not in [text.get_text() for text in panel.figure.legends[0].get_texts()]
    panel, bar = plot_trajectories([adaptation(0)], "a.png").axes
    assert bar.get_ylabel() == "return of the episode (m·steps)"
    assert "success" in panel.get_title()


def test_trajectories_that_do_not_exist_are_refused():
    with pytest.raises(ConfigurationError, match="no adaptation to draw"):
        plot_trajectories([reference()], "a.png")
    with pytest.raises(ConfigurationError, match="holds no episode"):
        plot_trajectories([adaptation(0, episodes=0)], "a.png")
