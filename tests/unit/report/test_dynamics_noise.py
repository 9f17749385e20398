import numpy as np
import pytest

from helpers.looking import caption, lines
from helpers.stored import TASK_SETS, evaluation, evaluations, read, reference
from tesp.errors import ConfigurationError
from tesp.report.figures.dynamics_noise import plot_dynamics_noise
from tesp.report.published import published_ant

pytestmark = pytest.mark.usefixtures("unsaved")


def points(figure, sigma, panel=0):
    line = lines(figure.axes[panel])[f"σ = {sigma}"]
    return list(zip(line.get_xdata(), line.get_ydata(), strict=True))


def test_one_line_for_every_noise_after_the_last_fast_update():
    stored = [
        *evaluations(25, 0, last=2, dynamics_noise=0.05),
        *evaluations(0, 25, last=2, dynamics_noise=0.0, shift=5.0),
    ]
    figure = plot_dynamics_noise([read(stored)], [stored], "a.png")
    for panel, axes in enumerate(figure.axes):
        assert list(lines(axes)) == ["σ = 0", "σ = 0.05"]
        # −100 + meta_update + 10·2 (+ 5)
        assert points(figure, 0, panel) == [(0, -75.0), (25, -50.0)]
        assert points(figure, 0.05, panel) == [(0, -80.0), (25, -55.0)]
    assert "mean of" not in caption(figure)


def test_the_line_is_the_mean_where_all_runs_were_evaluated():
    stored = [
        evaluations(0, 25, dynamics_noise=0.1),
        evaluations(0, seed=1, shift=6.0, dynamics_noise=0.1),
        [],
    ]
    runs = [read(records) for records in (*stored[:2], evaluations(0, seed=2))]
    figure = plot_dynamics_noise(runs, stored, "a.png")
    assert points(figure, 0.1) == [(0, -87.0)]
    assert "mean of up to 2 runs" in caption(figure)


def test_every_algorithm_has_panels_of_its_own():
    stored = [evaluations(0, dynamics_noise=0.1), evaluations(0, algorithm="maml", shift=6.0, dynamics_noise=0.1)]
    figure = plot_dynamics_noise([read(records) for records in stored], stored, "a.png")
    assert [axes.get_title().partition(":")[0] for axes in figure.axes] == ["TESP"] * 3 + ["MAML"] * 3
    assert (points(figure, 0.1, 0), points(figure, 0.1, 3)) == ([(0, -90.0)], [(0, -84.0)])


def test_both_references_are_drawn():
    stored = evaluations(0, dynamics_noise=0.1)
    told = read(evaluations(0, algorithm="oracle", last=0), algorithm="oracle")
    still = read([reference(task_set, -150.0) for task_set in TASK_SETS] + stored)
    figure = plot_dynamics_noise([still], [stored], "a.png", oracles=[told])
    for axes in figure.axes:
        assert lines(axes)["standing still"].get_ydata()[0] == -150.0
        assert lines(axes)["oracle (knows the task)"].get_ydata()[0] == -100.0


def test_a_later_evaluation_replaces_an_earlier_one():
    stored = [*evaluations(0, dynamics_noise=0.1), *evaluations(0, dynamics_noise=0.1, shift=6.0)]
    figure = plot_dynamics_noise([read(stored)], [stored], "a.png")
    assert points(figure, 0.1) == [(0, -84.0)]


def test_task_sets_are_kept_apart():
    stored = [evaluation(0, 3, -10.0 * (i + 1), task_set=name) for i, name in enumerate(TASK_SETS)]
    figure = plot_dynamics_noise([read(stored)], [stored], "a.png")
    # what was evaluated before there was noise was evaluated without
    assert [points(figure, 0, panel) for panel in range(3)] == [[(0, -10.0)], [(0, -20.0)], [(0, -30.0)]]


def ant(*updates, **other):
    return evaluations(*updates, last=3, family="ant", **other)


def test_the_published_lines_are_dotted_in_the_colours_of_the_noises():
    stored = [record for sigma in (0.0, 0.03, 0.1) for record in ant(0, 25, dynamics_noise=sigma)]
    figure = plot_dynamics_noise([read(stored, family="ant")], [stored], "a.png", published=True)
    for axes, task_set in zip(figure.axes, TASK_SETS, strict=True):
        drawn = lines(axes)
        assert [name for name in drawn if "published" in name] == ["σ = 0, published", "σ = 0.1, published"]
        for name, sigma in (("σ = 0", 0.0), ("σ = 0.1", 0.1)):
            theirs = drawn[f"{name}, published"]
            assert theirs.get_linestyle() == ":"
            assert theirs.get_color() == drawn[name].get_color()
            np.testing.assert_array_equal(theirs.get_data(), published_ant()[task_set, sigma])
    assert "dotted: TESP, as published." in caption(figure)


def test_nothing_was_published_for_other_families():
    stored = evaluations(0, dynamics_noise=0.1)
    with pytest.raises(ConfigurationError, match="family 'ant' only"):
        plot_dynamics_noise([read(stored, family="wheeled")], [stored], "a.png", published=True)
    figure = plot_dynamics_noise([read(stored, family="wheeled")], [stored], "a.png")
    assert not any("published" in name for axes in figure.axes for name in lines(axes))


def test_without_evaluations_there_is_no_figure():
    with pytest.raises(ConfigurationError, match=r"no evaluation to draw; .* --dynamics-noise 0 0\.01"):
        plot_dynamics_noise([read(evaluations(0))], [[]], "a.png")
