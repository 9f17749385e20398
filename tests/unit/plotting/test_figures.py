import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from tesp.errors import ConfigurationError, RunFolderError
from tesp.plotting import style
from tesp.plotting.curves import plot_learning_curves
from tesp.plotting.fast_updates import plot_fast_updates
from tesp.plotting.trajectories import plot_trajectories

from .stored import TASK_SETS, adaptation, evaluation, evaluations, read, reference

TITLES = ["Training tasks D", "New tasks D′", "Outside the distribution D″"]
REFERENCES = [reference(task_set, -150.0 - i) for i, task_set in enumerate(TASK_SETS)]
PNG = b"\x89PNG\r\n\x1a\n"


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def lines(axes):
    return {str(line.get_label()): line for line in axes.lines}


def seeds_of_two_algorithms():
    return [
        read([*REFERENCES, *evaluations(0, 25)]),
        read([*REFERENCES, *evaluations(0, 25, seed=1, shift=4.0)]),
        read([*REFERENCES, *evaluations(0, 25, algorithm="unheard_of")]),
    ]


@pytest.mark.parametrize(
    ("x", "label", "last"),
    [
        ("meta_updates", "meta-updates", 25),
        ("environment_steps", "environment steps", 25_000),
        ("wall_seconds", "wall-clock time (s)", 250),
    ],
)
def test_learning_curves_have_three_labelled_panels(tmp_path, x, label, last):
    output = tmp_path / "new" / "curves.png"
    figure = plot_learning_curves(seeds_of_two_algorithms(), output, x)
    assert output.read_bytes().startswith(PNG)
    assert [axes.get_title() for axes in figure.axes] == TITLES
    assert [axes.get_xlabel() for axes in figure.axes] == [label] * 3
    assert figure.axes[0].get_ylabel() == "average return (m·steps)"
    assert legend(figure) == ["TESP (2 seeds)", "unheard_of (1 seed)", "standing still"]
    for i, axes in enumerate(figure.axes):
        drawn = lines(axes)
        np.testing.assert_array_equal(drawn["TESP (2 seeds)"].get_xdata(), [0, last])
        np.testing.assert_array_equal(drawn["TESP (2 seeds)"].get_ydata(), [-88.0, -63.0])
        assert drawn["standing still"].get_ydata()[0] == -150.0 - i
        assert len(axes.collections) == 1, "only the algorithm with two seeds has a band"


def test_the_caption_says_what_the_band_is(tmp_path):
    runs = seeds_of_two_algorithms()
    assert any(
        "after 1 fast-update; line: mean over seeds, band: least to greatest seed." in text
        for text in (texts(plot_learning_curves(runs, tmp_path / "a.png")))
    )
    assert any(
        "95 % interval" in text for text in texts(plot_learning_curves(runs, tmp_path / "a.png", band="interval"))
    )
    assert not any("band" in text for text in texts(plot_learning_curves(runs[:1], tmp_path / "a.png")))


def test_long_runs_are_drawn_in_hours(tmp_path):
    run = read([evaluation(0, 0, -9.0, wall_seconds=0.0), evaluation(25, 0, -5.0, wall_seconds=10_800.0)])
    axes = plot_learning_curves([run], tmp_path / "a.png", "wall_seconds").axes[0]
    assert axes.get_xlabel() == "wall-clock time (h)"
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0.0, 3.0])


def test_a_task_set_that_was_not_evaluated_says_so(tmp_path):
    figure = plot_learning_curves([read([evaluation(0, 0, -9.0)])], tmp_path / "a.png")
    assert [("not evaluated" in texts(axes)) for axes in figure.axes] == [False, True, True]


@pytest.mark.parametrize(
    ("runs", "options", "error", "message"),
    [
        ([evaluations(0), evaluations(0, family="ant")], {}, ConfigurationError, "several families"),
        ([[reference()]], {}, RunFolderError, "no evaluation"),
        ([evaluations(0)], {"x": "days"}, ConfigurationError, "x = 'days'"),
        ([evaluations(0)], {"band": "wide"}, ConfigurationError, "band = 'wide'"),
    ],
)
def test_learning_curves_that_cannot_be_drawn_leave_no_file(tmp_path, runs, options, error, message):
    output = tmp_path / "folder" / "curves.png"
    with pytest.raises(error, match=message):
        plot_learning_curves([read(records) for records in runs], output, **options)
    assert not output.parent.exists()


@pytest.mark.parametrize("name", ["figure", "figure.doc"])
def test_an_unknown_ending_is_refused(tmp_path, name):
    with pytest.raises(ConfigurationError, match="not a known format"):
        plot_fast_updates(read(evaluations(0)), tmp_path / name)


@pytest.mark.parametrize("ending", ["pdf", "svg"])
def test_other_formats_are_written(tmp_path, ending):
    plot_fast_updates(read(evaluations(0)), tmp_path / f"figure.{ending}")
    assert (tmp_path / f"figure.{ending}").stat().st_size > 1000


def test_fast_updates_show_the_last_evaluation(tmp_path):
    figure = plot_fast_updates(read([*REFERENCES, *evaluations(0, 25, last=3)]), tmp_path / "a.png")
    assert [axes.get_title() for axes in figure.axes] == TITLES
    assert [axes.get_xlabel() for axes in figure.axes] == ["fast-updates k"] * 3
    assert figure.axes[0].get_ylabel() == "average return (m·steps)"
    for axes in figure.axes:
        assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx([0, 1, 2, 3])
        assert [bar.get_height() for bar in axes.patches] == [-75.0, -65.0, -55.0, -45.0]
        assert len({bar.get_facecolor() for bar in axes.patches}) == 4
        (whiskers,) = [found for found in axes.collections if isinstance(found, LineCollection)]
        np.testing.assert_array_equal(whiskers.get_segments()[0], [[0, -79.0], [0, -71.0]])
        assert [text.get_text() for text in axes.texts] == ["−75.0", "−65.0", "−55.0", "−45.0"]
    assert any("TESP on wheeled, seed 0, after 25 meta-updates; whiskers" in text for text in texts(figure))
    earlier = plot_fast_updates(read(evaluations(0, 25)), tmp_path / "a.png", meta_update=0)
    assert [bar.get_height() for bar in earlier.axes[0].patches] == [-100.0, -90.0]


def test_numbers_of_bars_are_apart_from_the_title(tmp_path):
    figure = plot_fast_updates(read([*REFERENCES, *evaluations(0, 25, last=3)]), tmp_path / "a.png")
    figure.set_dpi(style.RESOLUTION)
    figure.draw_without_rendering()
    for axes in figure.axes:
        assert len(axes.texts) == 4
        assert not any(axes.title.get_window_extent().overlaps(text.get_window_extent()) for text in axes.texts)


def test_many_bars_have_no_room_for_numbers(tmp_path):
    figure = plot_fast_updates(read(evaluations(0, last=8)), tmp_path / "a.png")
    assert [(len(axes.patches), len(axes.texts)) for axes in figure.axes] == [(9, 0)] * 3


def test_a_figure_is_whole_or_not_there(tmp_path, monkeypatch):
    output = tmp_path / "a.png"
    plot_fast_updates(read(evaluations(0)), output)
    before = output.read_bytes()

    def torn(_figure, path, **_):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", torn)
    with pytest.raises(OSError, match="no space left"):
        plot_fast_updates(read(evaluations(0)), output)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert output.read_bytes() == before


def test_trajectories_have_one_panel_per_round(tmp_path):
    records = [adaptation(k) for k in (-1, 0, 1, 2)]
    figure = plot_trajectories(records, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(PNG)
    *panels, bar = figure.axes
    assert [axes.get_title().split("\n")[0] for axes in panels] == [
        "Warm-up",
        "After 0 fast-updates",
        "After 1 fast-update",
        "After 2 fast-updates",
    ]
    assert {axes.get_title().split("\n")[1] for axes in panels} == {"return −12.3, success 50 %"}
    assert [axes.get_xlabel() for axes in panels] == ["x (m)"] * 4
    assert panels[0].get_ylabel() == "y (m)"
    assert bar.get_ylabel() == "return of the episode (m·steps)"
    assert legend(figure) == ["boundary between D, D′ and D″", "end of an episode", "start", "goal"]
    for axes in panels:
        assert axes.get_aspect() == 1.0
        assert axes.get_xlim() == panels[0].get_xlim()
        assert axes.get_ylim() == panels[0].get_ylim()
        (paths,) = [found for found in axes.collections if isinstance(found, LineCollection)]
        np.testing.assert_allclose(paths.get_segments()[1], [[0, 0], [0, 0.2], [0.3, 0.4]])
        np.testing.assert_array_equal(paths.get_array(), [-20.0, -10.0])
        assert (paths.norm.vmin, paths.norm.vmax) == (-20.0, -10.0)
        np.testing.assert_allclose(np.hypot(*axes.lines[0].get_data()), 1.1)


def test_the_view_holds_everything(tmp_path):
    far = [{"average_return": -1.0, "success": False, "position": [[-4.0, 0.0], [0.0, 3.0]]}]
    records = [adaptation(0), adaptation(1, episodes=0) | {"episodes": far}]
    axes = plot_trajectories(records, tmp_path / "a.png").axes[0]
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    assert left < -4.0 < 1.1 < right
    assert low < -1.1 < 3.0 < high
    assert right - left == pytest.approx(high - low)


def test_the_last_adaptation_is_drawn_unless_another_is_named(tmp_path):
    records = [adaptation(0), adaptation(1), adaptation(0, adaptation_id="second")]
    # the colour bar is one more
    assert len(plot_trajectories(records, tmp_path / "a.png").axes) == 1 + 1
    assert len(plot_trajectories(records, tmp_path / "a.png", "first").axes) == 2 + 1
    with pytest.raises(ConfigurationError, match="'third' does not exist; give one of 'first', 'second'"):
        plot_trajectories(records, tmp_path / "a.png", "third")


def test_several_goals_have_a_row_each_and_many_rounds_wrap(tmp_path):
    records = [adaptation(k, goal=goal) for goal in ((0.5, 0.5), (-0.5, 0.0)) for k in range(8)]
    panels = plot_trajectories(records, tmp_path / "a.png").axes[:-1]
    rows = [axes.get_subplotspec().rowspan.start for axes in panels if axes.axison]
    assert [rows.count(row) for row in range(4)] == [6, 2, 6, 2]


def test_trajectories_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no adaptation to draw"):
        plot_trajectories([reference()], tmp_path / "a.png")
    with pytest.raises(ConfigurationError, match="holds no episode"):
        plot_trajectories([adaptation(0, episodes=0)], tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_a_task_that_is_not_a_point_has_no_star(tmp_path):
    figure = plot_trajectories([adaptation(0, goal=(0.1, 0.2, 0.3))], tmp_path / "a.png")
    assert "start" in legend(figure)
    assert "goal" not in legend(figure)


def test_a_family_without_boundary_has_no_circle(tmp_path):
    figure = plot_trajectories([adaptation(0, boundary_radius=None)], tmp_path / "a.png")
    assert "goal" in legend(figure)
    assert not any("boundary" in text for text in legend(figure))


def test_twice_as_many_series_as_colours_can_still_be_told_apart():
    count = 2 * len(style.PALETTE)
    assert len({(style.colour(i), style.marker(i)) for i in range(count)}) == count


@pytest.mark.parametrize("figure", ["curves", "fast_updates", "trajectories"])
@pytest.mark.parametrize("count", [1, 3])
def test_no_text_leaves_the_figure(tmp_path, figure, count):
    path = tmp_path / "a.png"
    if figure == "curves":
        drawn = plot_learning_curves(seeds_of_two_algorithms()[:count], path)
    elif figure == "fast_updates":
        records = [r for r in evaluations(0) if r["task_set"] in TASK_SETS[:count]]
        drawn = plot_fast_updates(read([*REFERENCES, *records]), path)
    else:
        drawn = plot_trajectories([adaptation(k) for k in range(count)], path)
    # saving lays out for its own resolution and then takes it back
    drawn.set_dpi(style.RESOLUTION)
    drawn.draw_without_rendering()
    everything = drawn.get_tightbbox().extents
    width, height = drawn.get_size_inches()
    assert min(everything[:2]) >= -0.01
    assert everything[2] <= width + 0.01
    assert everything[3] <= height + 0.01
