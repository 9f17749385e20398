import numpy as np
import pytest

from helpers.looking import caption, legend, lines
from helpers.stored import REFERENCES, TASK_SETS, evaluation, evaluations, read, reference, trained
from tesp.errors import ConfigurationError, RunFolderError
from tesp.report.figures.learning_curves import plot_learning_curves
from tesp.report.figures.training_rounds import moving_mean, window_of
from tesp.report.published import published_ant
from tesp.report.seeds import curve
from tesp.report.words import TOLD

pytestmark = pytest.mark.usefixtures("unsaved")


def run(seed=0, shift=0.0, algorithm="tesp", **other):
    return read([*REFERENCES, *evaluations(0, 25, algorithm=algorithm, seed=seed, shift=shift, **other)])


@pytest.mark.parametrize(
    ("x", "label", "last"),
    [
        ("meta_updates", "meta-updates", 25),
        ("environment_steps", "environment steps", 25_000),
        ("wall_seconds", "wall-clock time (s)", 250),
    ],
)
def test_a_line_is_the_mean_over_seeds_and_a_band_surrounds_it(x, label, last):
    figure = plot_learning_curves([run(), run(1, 4.0), run(algorithm="unheard_of")], "a.png", x)
    assert legend(figure) == ["TESP (2 seeds)", "unheard_of (1 seed)", "standing still"]
    assert "after 1 fast-update; line: mean over seeds, band: least to greatest seed." in caption(figure)
    for i, axes in enumerate(figure.axes):
        drawn = lines(axes)
        assert axes.get_xlabel() == label
        np.testing.assert_array_equal(drawn["TESP (2 seeds)"].get_xdata(), [0, last])
        np.testing.assert_array_equal(drawn["TESP (2 seeds)"].get_ydata(), [-88.0, -63.0])
        assert drawn["standing still"].get_ydata()[0] == -150.0 - i
        assert len(axes.collections) == 1, "only the algorithm with two seeds has a band"


def test_the_band_can_be_the_bootstrap_interval():
    runs = [run(seed, shift) for seed, shift in enumerate((0.0, 1.0, 3.0, 7.0, 20.0))]
    figure = plot_learning_curves(runs, "a.png", band="bootstrap")
    edges = figure.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    expected = curve(runs, "train", "meta_updates", "bootstrap")
    assert (edges.min(), edges.max()) == (expected.low[0], expected.high[1])
    assert "band: 95 % bootstrap interval of the mean" in caption(figure)


def test_long_runs_are_drawn_in_hours():
    long = read([evaluation(0, 0, -9.0, wall_seconds=0.0), evaluation(25, 0, -5.0, wall_seconds=10_800.0)])
    axes = plot_learning_curves([long], "a.png", "wall_seconds").axes[0]
    assert axes.get_xlabel() == "wall-clock time (h)"
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), [0.0, 3.0])


def test_a_task_set_that_was_not_evaluated_says_so():
    figure = plot_learning_curves([read([evaluation(0, 0, -9.0)])], "a.png")
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [[], *[["not evaluated"]] * 2]


def test_among_others_the_oracle_is_a_dashed_line_at_its_last_evaluation():
    runs = [run(algorithm="oracle", shift=40.0), run(), run(1, algorithm="oracle", shift=44.0)]
    for figure in (plot_learning_curves(runs, "a.png"), plot_learning_curves([runs[1]], "a.png", oracles=runs[::2])):
        for axes in figure.axes:
            drawn = lines(axes)
            assert set(drawn) == {"TESP (1 seed)", "standing still", TOLD}
            assert drawn[TOLD].get_linestyle() == "--"
            assert list(drawn[TOLD].get_ydata()) == [-23.0, -23.0]


def test_alone_the_oracle_has_a_curve():
    for axes in plot_learning_curves([run(algorithm="oracle", shift=40.0)], "a.png").axes:
        assert set(lines(axes)) == {"Oracle (1 seed)", "standing still"}
        np.testing.assert_array_equal(lines(axes)["Oracle (1 seed)"].get_ydata(), [-50.0, -25.0])


STAGES = ["warm-up round", "before any fast-update", "after 1 fast-update"]


class TestTheTrainingBelow:
    """A panel for each method with a line for every round, where the parameters that sampled it are evaluated."""

    def trained(self, *updates, algorithm="tesp", seed=0, rounds=(-90.0, -80.0, -70.0)):
        below = [trained(m, [r + m + 4.0 * seed for r in rounds]) for m in updates]
        return read([*REFERENCES, *evaluations(0, 2, algorithm=algorithm, seed=seed), *below])

    @pytest.mark.parametrize(
        ("x", "places"), [("meta_updates", [0, 1]), ("environment_steps", [0, 1000]), ("wall_seconds", [0.0, 10.0])]
    )
    def test_a_line_for_every_round(self, x, places):
        figure = plot_learning_curves([self.trained(1, 2)], "a.png", x)
        *_, below = figure.axes
        assert len(figure.axes) == 4
        assert legend(figure) == ["TESP (1 seed)", "standing still", "while training:", *STAGES]
        for label, first in zip(STAGES, (-89.0, -79.0, -69.0), strict=True):
            np.testing.assert_array_equal(lines(below)[label].get_xdata(), places)
            np.testing.assert_array_equal(lines(below)[label].get_ydata(), [first, first + 1.0])
        assert lines(below)["standing still"].get_ydata()[0] == -150.0
        assert "Below: average return of each round" in caption(figure)

    def test_the_mean_over_the_seeds_at_the_meta_updates_that_all_have(self):
        runs = [self.trained(1, 2, 2, 3), self.trained(1, 2, seed=1)]
        below = plot_learning_curves(runs, "a.png").axes[3]
        np.testing.assert_array_equal(lines(below)[STAGES[2]].get_ydata(), [-67.0, -66.0])

    def test_every_method_has_a_panel_of_its_own_and_its_own_rounds(self):
        runs = [self.trained(1, 2), self.trained(1, 2, algorithm="maml", rounds=(-80.0, -70.0))]
        runs += [self.trained(1, algorithm="oracle", rounds=(-5.0,))]
        *_, tesp, maml = plot_learning_curves(runs, "a.png").axes
        assert [axes.get_title() for axes in (tesp, maml)] == ["TESP while training", "MAML while training"]
        assert set(STAGES) <= set(lines(tesp))
        assert STAGES[0] not in lines(maml)
        assert {*STAGES[1:], TOLD} <= set(lines(maml))

    @pytest.mark.parametrize(
        "record", [{}, {"round_returns": None}, {"round_returns": []}, {"environment_steps": None}]
    )
    def test_what_was_not_recorded_is_left_out(self, record):
        lacking = {name: x for name, x in (trained(2) | record).items() if record or name != "round_returns"}
        run = read([*evaluations(0), lacking])
        assert len(plot_learning_curves([run], "a.png", "environment_steps").axes) == 3
        more = read([*evaluations(0), lacking, trained(1), trained(3)])
        below = plot_learning_curves([more], "a.png", "environment_steps").axes[3]
        np.testing.assert_array_equal(lines(below)[STAGES[0]].get_xdata(), [0, 2000])

    def test_many_meta_updates_are_means_over_neighbours_and_the_single_ones_pale(self):
        below = plot_learning_curves([self.trained(*range(1, 301))], "a.png").axes[3]
        pale = [line for line in below.lines if line.get_alpha()]
        assert len(pale) == 3
        # A straight line is its own mean over neighbours, up to its ends.
        np.testing.assert_allclose(lines(below)[STAGES[0]].get_ydata(), pale[0].get_ydata())


def test_a_moving_mean():
    found = moving_mean(np.array([0.0, 3.0, 6.0, 0.0, 0.0]), 3)
    np.testing.assert_array_equal(found, [0.0, 3.0, 3.0, 2.0, 0.0])
    assert [window_of(count) for count in (1, 60, 119, 120, 300, 1000)] == [1, 1, 1, 3, 5, 17]


def test_the_published_curve_is_a_dotted_line_over_ours_on_request():
    ant = read(evaluations(0, 25, family="ant", last=3), family="ant")
    figure = plot_learning_curves([ant], "a.png", published=True)
    for axes, task_set in zip(figure.axes, TASK_SETS, strict=True):
        theirs = lines(axes)["TESP, as published"]
        assert theirs.get_linestyle() == ":"
        np.testing.assert_array_equal(theirs.get_data(), published_ant()[task_set, 0.0])
    assert "TESP, as published" not in legend(plot_learning_curves([ant], "a.png"))
    with pytest.raises(ConfigurationError, match="over meta-updates, not environment_steps; leave out --x"):
        plot_learning_curves([ant], "a.png", "environment_steps", published=True)


@pytest.mark.parametrize(
    ("runs", "options", "error", "message"),
    [
        ([evaluations(0), evaluations(0, family="ant")], {}, ConfigurationError, "several families"),
        ([[reference()]], {}, RunFolderError, "no evaluation"),
        ([evaluations(0)], {"x": "days"}, ConfigurationError, "x = 'days'"),
        ([evaluations(0)], {"band": "wide"}, ConfigurationError, "band = 'wide'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(runs, options, error, message):
    with pytest.raises(error, match=message):
        plot_learning_curves([read(records) for records in runs], "a.png", **options)
