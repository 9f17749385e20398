"""What holds for every figure: it is written whole, in the format of its ending, and its text stays inside."""

import pytest
from matplotlib.figure import Figure

from helpers.stored import (
    REFERENCES,
    TASK_SETS,
    adaptation,
    evaluations,
    rates,
    read,
    scores,
    still_scores,
    tasks,
    write_run,
    write_scores,
)
from tesp.errors import ConfigurationError
from tesp.report.figures import style
from tesp.report.figures.by_episodes import plot_by_episodes
from tesp.report.figures.dynamics_noise import plot_dynamics_noise
from tesp.report.figures.embeddings import plot_embeddings
from tesp.report.figures.fast_updates import plot_fast_updates
from tesp.report.figures.learning_curves import plot_learning_curves
from tesp.report.figures.rates import plot_rates
from tesp.report.figures.score_profiles import plot_score_profiles
from tesp.report.figures.task_paths import plot_task_paths
from tesp.report.figures.trajectories import plot_trajectories
from tesp.report.records import read_run
from tesp.report.scores import read_scores


def curves(path, count):
    algorithms = ("tesp", "a-method-with-a-long-name", "maml")[:count]
    return plot_learning_curves([read([*REFERENCES, *evaluations(0, 25, algorithm=name)]) for name in algorithms], path)


def gains(path, count):
    records = [record for record in evaluations(0, last=3) if record["task_set"] in TASK_SETS[:count]]
    return plot_fast_updates(read([*REFERENCES, *records]), path)


def noise(path, count):
    stored = [record for i in range(count) for record in evaluations(0, 25, dynamics_noise=0.1 * i)]
    return plot_dynamics_noise([read([*REFERENCES, *stored])], [stored], path)


def of_scores(plot):
    def drawn(path, count):
        algorithms = ("tesp", "a-method-with-a-long-name", "maml")[:count]
        stored = [record for name in algorithms for n in (1, 25) for record in scores(name, n, as_trained=n == 25)]
        told = scores("oracle", 25, last=0, as_trained=True) if count > 1 else []
        read_back = read_scores([write_scores(path.parents[1] / "run", [*stored, *told, *still_scores()])])
        return plot(read_back, path, metres=True)

    return drawn


FIGURES = {
    "by_episodes": of_scores(plot_by_episodes),
    "score_profiles": of_scores(plot_score_profiles),
    "learning_curves": curves,
    "fast_updates": gains,
    "dynamics_noise": noise,
    "trajectories": lambda path, count: plot_trajectories([adaptation(k) for k in range(count)], path),
    "task_paths": lambda path, count: plot_task_paths(tasks(count), path),
    "embeddings": lambda path, count: plot_embeddings(tasks(count), path),
    "rates": lambda path, count: plot_rates([rates(f"layer {i}") for i in range(count)], path),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("count", [1, 3])
def test_is_written_and_its_text_stays_inside(tmp_path, name, count):
    figure = FIGURES[name](tmp_path / "new" / "a.png", count)
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    # Saving lays out for its own resolution and then takes it back.
    figure.set_dpi(style.RESOLUTION)
    figure.draw_without_rendering()
    everything = figure.get_tightbbox().extents
    width, height = figure.get_size_inches()
    assert min(everything[:2]) >= -0.01
    assert everything[2] <= width + 0.01
    assert everything[3] <= height + 0.01
    for axes in figure.axes:
        box = axes.title.get_window_extent()
        assert not any(box.overlaps(text.get_window_extent()) for text in axes.texts if axes.title.get_text())


@pytest.mark.parametrize("ending", [".doc", ""])
def test_an_unknown_ending_is_refused(tmp_path, ending):
    with pytest.raises(ConfigurationError, match="not a known format"):
        gains(tmp_path / "new" / f"figure{ending}", 1)
    assert not list(tmp_path.iterdir())


def test_a_figure_is_whole_or_not_there(tmp_path, monkeypatch):
    output = tmp_path / "a.svg"
    gains(output, 1)
    before = output.read_bytes()
    assert before.startswith(b"<?xml")

    def torn(_figure, path, **_):
        path.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", torn)
    with pytest.raises(OSError, match="no space left"):
        gains(output, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.svg"]
    assert output.read_bytes() == before


def test_twice_as_many_series_as_colours_can_still_be_told_apart():
    count = 2 * len(style.PALETTE)
    assert len({(style.colour(i), style.marker(i)) for i in range(count)}) == count
    again, first = style.line(len(style.PALETTE)), style.line(0)
    assert (again["color"], again["linestyle"]) != (first["color"], first["linestyle"])
    assert again["color"] == first["color"]


@pytest.mark.parametrize(("distance", "unit"), [(0.5, " (m·steps)"), (None, "")])
def test_returns_have_a_unit_where_distances_are_measured(distance, unit, tmp_path):
    run = read_run(write_run(tmp_path / "run", [*REFERENCES, *evaluations(0, 25, final_distance=distance)]))
    noisy = evaluations(0, 25, dynamics_noise=0.1, final_distance=distance)
    stored = read_scores([write_scores(tmp_path / "scored", [*scores("tesp", 25, as_trained=True), *still_scores()])])
    drawn = {
        "average return": [
            plot_learning_curves([run], tmp_path / "a.png"),
            plot_fast_updates(run, tmp_path / "a.png"),
            plot_dynamics_noise([run], [noisy], tmp_path / "a.png"),
        ],
        "interquartile mean of the return": [plot_by_episodes(stored, tmp_path / "a.png", metres=run.in_metres)],
    }
    for name, figures in drawn.items():
        assert {figure.axes[0].get_ylabel() for figure in figures} == {name + unit}
    profiles = plot_score_profiles(stored, tmp_path / "a.png", metres=run.in_metres)
    assert profiles.axes[0].get_xlabel() == "return τ" + unit
