import numpy as np
import pytest
from matplotlib.collections import LineCollection

from helpers.looking import caption, lines, of_kind
from helpers.stored import REFERENCES, evaluations, read
from tesp.report.figures.fast_updates import plot_fast_updates
from tesp.report.words import TOLD

pytestmark = pytest.mark.usefixtures("unsaved")


def test_a_bar_for_every_k_at_the_last_evaluation():
    figure = plot_fast_updates(read([*REFERENCES, *evaluations(0, 25, last=3)]), "a.png")
    for axes in figure.axes:
        assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx([0, 1, 2, 3])
        assert [bar.get_height() for bar in axes.patches] == [-75.0, -65.0, -55.0, -45.0]
        (whiskers,) = of_kind(axes, LineCollection)
        np.testing.assert_array_equal(whiskers.get_segments()[0], [[0, -79.0], [0, -71.0]])
        assert [text.get_text() for text in axes.texts] == ["−75.0", "−65.0", "−55.0", "−45.0"]
    assert "TESP on wheeled, seed 0, after 25 meta-updates" in caption(figure)


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
