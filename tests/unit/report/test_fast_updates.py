import pytest

from helpers.looking import caption, lines
from helpers.stored import REFERENCES, evaluation, evaluations, read
from tesp.report.figures.fast_updates import plot_fast_updates
from tesp.report.words import TOLD

pytestmark = pytest.mark.usefixtures("unsaved")


def test_a_bar_for_every_k_at_the_last_evaluation():
    figure = plot_fast_updates(read([*REFERENCES, *evaluations(0, 25, last=3)]), "a.png")
    for axes in figure.axes:
        assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx([0, 1, 2, 3])
        assert [bar.get_height() for bar in axes.patches] == [-75.0, -65.0, -55.0, -45.0]
        assert [text.get_text() for text in axes.texts] == ["−75.0", "−65.0", "−55.0", "−45.0"]
    assert "TESP on wheeled, seed 0, after 25 meta-updates" in caption(figure)


def whiskers(axes):
    return [tuple(line.get_ydata()) for line in axes.lines if line.get_marker() == "_"]


def test_whiskers_end_at_returns_that_there_were():
    """Of a return near its greatest value, 0, a standard deviation to either side would lie beyond."""
    quantiles = {"0": -9.0, "5": -4.0, "25": -0.5, "50": -0.2, "75": -0.1, "95": 0.0, "100": 0.0}
    near = [evaluation(0, k, -1.0, average_return_std=3.0, average_return_quantiles=quantiles) for k in (0, 1)]
    figure = plot_fast_updates(read(near), "a.png")
    assert whiskers(figure.axes[0]) == [(-4.0, 0.0)] * 2
    assert "; whiskers: 5 to 95 % of the tasks." in caption(figure)


@pytest.mark.parametrize("quantiles", [None, {}, {"5": -4.0}, {"5": float("nan"), "95": 0.0}])
def test_an_evaluation_that_tells_no_quantiles_has_no_whiskers(quantiles):
    told = {} if quantiles is None else {"average_return_quantiles": quantiles}
    figure = plot_fast_updates(read([evaluation(0, 0, -1.0, **told)]), "a.png")
    assert whiskers(figure.axes[0]) == []
    assert "whiskers" not in caption(figure)


@pytest.mark.parametrize(
    ("returns", "numbers"),
    [
        ((-75.0, -45.0), ["−75.0", "−45.0"]),
        ((-4.0,) * 6, ["−4.0"] * 6),
        ((-123456.7, -98765.4) * 2, ["−123.5k", "−98.8k"] * 2),
    ],
)
def test_numbers_become_shorter_where_they_would_lie_on_each_other(returns, numbers):
    figure = plot_fast_updates(read([evaluation(0, k, value) for k, value in enumerate(returns)]), "a.png")
    assert [text.get_text() for text in figure.axes[0].texts] == numbers


def test_many_bars_have_no_room_for_numbers():
    figure = plot_fast_updates(read(evaluations(0, last=8)), "a.png")
    assert [(len(axes.patches), len(axes.texts)) for axes in figure.axes] == [(9, 0)] * 3


def test_both_references_are_drawn_and_named():
    told = read(evaluations(25, algorithm="oracle", shift=40.0))
    figure = plot_fast_updates(read([REFERENCES[0], *evaluations(0)]), "a.png", oracle=told)
    heights = [
        {name: line.get_ydata()[0] for name, line in lines(axes).items() if line.get_linestyle() == "--"}
        for axes in figure.axes
    ]
    assert heights == [{"standing still": -150.0, TOLD: -25.0}, {TOLD: -25.0}, {TOLD: -25.0}]
    assert "dashed: standing still (grey) and oracle (black)." in caption(figure)
    assert "dashed" not in caption(plot_fast_updates(read(evaluations(0)), "a.png"))
