"""Whatever a run is called and however far its numbers range, no text of a figure lies on another or leaves it."""

import itertools

import pytest

from helpers.stored import REFERENCES, TASK_SETS, adaptation, evaluation, evaluations, rates, read, tasks, trained
from tesp.report.figures import fitting, style
from tesp.report.figures.dynamics_noise import plot_dynamics_noise
from tesp.report.figures.embeddings import plot_embeddings
from tesp.report.figures.fast_updates import plot_fast_updates
from tesp.report.figures.learning_curves import plot_learning_curves
from tesp.report.figures.rates import plot_rates
from tesp.report.figures.task_paths import plot_task_paths
from tesp.report.figures.trajectories import plot_trajectories

LONG = "a-name-of-a-family_that/nobody would type $twice$ "
STEPS = "environment_steps"
NAMES = {"family": 3 * LONG, "algorithm": "a-method-of-my-own-with-every-option-in-its-name"}


@pytest.fixture(autouse=True)
def _laid_out(monkeypatch):
    """Figures are laid out as for writing, which takes longer."""
    monkeypatch.setattr(style, "save", lambda figure, _: fitting.settle(figure))


def curves(methods=1, seeds=1, factor=1.0, updates=50, x="meta_updates", names=NAMES, last=3):
    made = []
    for method, seed in itertools.product(range(methods), range(seeds)):
        own = names | {"algorithm": f"{names['algorithm']}{method}", "seed": seed}
        rows = [
            evaluation(m, last, factor * (m / updates - 1.0 - seed - method), task_set=name, **own)
            for m in (0, updates // 2, updates)
            for name in TASK_SETS
        ]
        rounds = [trained(m, [factor * (k - 9.0 + m / updates) for k in range(last + 2)]) for m in (1, updates)]
        made.append(read([*rows, *rounds, *[row | {"seed": seed} for row in REFERENCES]]))
    return plot_learning_curves(made, "a.png", x)


def gains(last=3, factor=1.0):
    own = {"average_return_quantiles": {"5": -99.0 * factor, "95": -1.0 * factor}}
    records = [
        evaluation(25, k, factor * (k - 30.123), task_set=name, **NAMES, **own)
        for name in TASK_SETS
        for k in range(last + 1)
    ]
    return plot_fast_updates(read([*REFERENCES, *records]), "a.png")


def noise(methods=1, factor=1.0, updates=50, sigmas=3):
    runs, stored = [], []
    for method in range(methods):
        own = NAMES | {"algorithm": f"{NAMES['algorithm']}{method}"}
        runs.append(read([*REFERENCES, *evaluations(0, **own)]))
        levels = [record for i in range(sigmas) for record in evaluations(0, updates, dynamics_noise=i / 7, **own)]
        stored.append([record | {"average_return": factor * record["average_return"]} for record in levels])
    return plot_dynamics_noise(runs, stored, "a.png")


def rounds(count=4, factor=1.0):
    def scaled(record):
        episodes = [
            episode | {"position": [[factor * x for x in place] for place in episode["position"]]}
            for episode in record["episodes"]
        ]
        goal = [factor * x for x in record["goal"]]
        measured = {"average_return": factor * record["average_return"], "boundary_radius": factor}
        return record | {"episodes": episodes, "goal": goal} | measured

    return plot_trajectories([scaled(adaptation(k - 1)) for k in range(count)], "a.png")


def places(plot, factor=1.0, is_goal=True):
    found = tasks(6, **NAMES, is_goal=is_goal)
    for record in found:
        record["task"] = [factor * x for x in record["task"]]
        record["path"] = [[factor * x for x in place] for place in record["path"]]
        record["average_return"] = [factor * x for x in record["average_return"]]
        record["embedding"] = {when: [factor * x for x in found] for when, found in record["embedding"].items()}
        record["boundary_radius"] = factor
    return plot(found, "a.png")


def layers(count=4, factor=1.0):
    def scaled(number):
        record = rates(f"{LONG}layer {number}", **NAMES, initial_rate=factor * 1e-3, bound=factor * 0.1)
        return record | {"quantiles": {name: factor * x for name, x in record["quantiles"].items()}}

    return plot_rates([scaled(number) for number in range(count)], "a.png")


FIGURES = {
    "curves of many methods, long": lambda: curves(methods=5, factor=1e9, updates=4_000_000),
    "curves of many seeds, small": lambda: curves(methods=2, seeds=20, factor=1e-9, updates=7_654_321, x=STEPS),
    "curves of many fast-updates": lambda: curves(last=40, updates=7_654_321, x="wall_seconds"),
    "large gains": lambda: gains(factor=1e4),
    "many small gains": lambda: gains(last=40, factor=1e-9),
    "noise on many methods": lambda: noise(methods=2, sigmas=11, factor=1e7, updates=4_000_000),
    "many rounds far away": lambda: rounds(count=8, factor=-12345.6),
    "rounds close by": lambda: rounds(count=2, factor=1e-7),
    "paths far away": lambda: places(plot_task_paths, 123456.7),
    "small embeddings": lambda: places(plot_embeddings, 1e-7),
    "large embeddings of other tasks": lambda: places(plot_embeddings, 123456.7, is_goal=False),
    "large rates": lambda: layers(factor=123456.7),
    "small rates of many layers": lambda: layers(20, factor=1e-9),
}


def texts(figure):
    """Everything that is written on a figure, with where it stands."""
    found = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    panels = [axes for axes in figure.axes if axes.axison]
    panels += [child for axes in panels for child in axes.child_axes]
    ticks = []
    for axes in panels:
        found += [axes.title, *axes.texts]
        for axis in (axes.xaxis, axes.yaxis):
            found += [axis.label, axis.get_offset_text()]
            ticks += [("a tick", box) for box in fitting.shown_labels(axis)]
    written = [text for text in found if text.get_text().strip() and text.get_visible()]
    return [(text.get_text(), text.get_window_extent()) for text in written] + ticks


@pytest.mark.parametrize("name", FIGURES)
def test_no_text_lies_on_another_or_leaves_the_figure(name):
    figure = FIGURES[name]()
    figure.draw_without_rendering()
    found = texts(figure)
    assert len(found) > 5
    pairs = itertools.combinations(found, 2)
    assert [(one, other) for (one, first), (other, second) in pairs if first.overlaps(second)] == []
    assert [words for words, box in found if box.x0 < -1 or box.y0 < -1] == []
    assert [words for words, box in found if box.x1 > figure.bbox.x1 + 1 or box.y1 > figure.bbox.y1 + 1] == []
    for axes in figure.axes:
        assert min(axes.bbox.width, axes.bbox.height) > 8, "nothing of a panel is left"


@pytest.mark.parametrize(("text", "lines"), [("", 1), ("short", 1), ("one two-three_four/five six", 4), (80 * "W", 12)])
def test_a_wrapped_text_is_whole_and_as_narrow_as_asked(text, lines):
    wrapped = fitting.wrapped(text, 0.9, 9.0)
    assert wrapped.count("\n") + 1 == pytest.approx(lines, abs=1)
    assert "".join(wrapped.split()) == "".join(text.split())
    assert all(fitting.width_of(line, 9.0) <= 0.9 for line in wrapped.split("\n"))
