"""The noise study: what is left of the return when the dynamics are disturbed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tesp.errors import ConfigurationError
from tesp.report import words
from tesp.report.figures import style
from tesp.report.figures.reference_lines import draw_references
from tesp.report.published import check_published, published_ant
from tesp.report.records import Record, RunRecords
from tesp.report.seeds import group_runs

#: (task set, σ) → meta-update → mean average return of an algorithm's runs.
Returns = dict[tuple[str, float], dict[int, float]]


def plot_dynamics_noise(
    runs: Sequence[RunRecords],
    evaluations: Sequence[Sequence[Record]],
    output: str | Path,
    published: bool = False,
    oracles: Sequence[RunRecords] = (),
) -> Figure:
    """Draw the average return after K fast-updates under noise, in the form of the supplement's figure.

    A row of panels per algorithm, one panel per task set, one line per σ over the checkpoints that all runs of the
    algorithm were evaluated at; the mean over runs. Dashed lines mark standing still and the oracle, without noise.

    Args:
        runs: Runs of one family.
        evaluations: What `tesp evaluate` stored of each run; where it evaluated a checkpoint at one σ twice, the later
            evaluation counts. Runs without any are left out.
        output: Where the figure is written; the ending chooses the format.
        published: Whether the published curves of the ant are drawn too, dotted, where the algorithm is TESP.
        oracles: Runs of the oracle that are not among ``runs``.

    Raises:
        ConfigurationError: There is no evaluation with a σ, the runs cannot be averaged, or nothing was published for
            them.
    """
    # By identity: runs from different folders may have one name.
    stored = {id(run): records for run, records in zip(runs, evaluations, strict=True) if records}
    if not stored:
        raise ConfigurationError(
            "There is no evaluation to draw; evaluate first, for instance with --dynamics-noise 0 0.01 0.05 0.1."
        )
    drawn = [run for run in runs if id(run) in stored]
    if published:
        check_published(drawn)
    groups = group_runs(drawn)
    oracles = [*oracles, *(run for run in runs if run.is_oracle)]
    label = words.returned("average return", any(run.in_metres for run in drawn))
    figure, grid = style.panels((12.5, 3.6 * len(groups) + 0.3), len(groups), 3, sharey=True)
    for row, (algorithm, members) in zip(grid, groups.items(), strict=True):
        returns = _returns([stored[id(run)] for run in members])
        sigmas = sorted({sigma for _, sigma in returns})
        name = f"{words.method(algorithm)}: " if len(groups) > 1 else ""
        for axes, (task_set, title) in zip(row, words.TASK_SETS.items(), strict=True):
            style.tidy(axes, name + title, "meta-updates", label if task_set == "train" else "")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
            for index, sigma in enumerate(sigmas):
                _draw(axes, returns.get((task_set, sigma), {}), sigma, index)
                if published and algorithm == "tesp":
                    _draw_published(axes, task_set, sigma, index)
            draw_references(axes, runs, oracles, task_set)
    style.legend(figure)
    most = max(len(members) for members in groups.values())
    text = "Average return after the last fast-update; noise N(0, σ²) on the state after every control step"
    text += f", mean of up to {most} runs" if most > 1 else ""
    text += "; dashed: without noise"
    style.caption(figure, text + ("; dotted: TESP, as published." if published else "."))
    style.save(figure, output)
    return figure


def _returns(evaluations: Sequence[Sequence[Record]]) -> Returns:
    """Return the means over runs, where every run was evaluated."""
    found: dict[tuple[str, float], dict[int, list[float]]] = {}
    for records in evaluations:
        last: dict[tuple[str, float, int], float] = {}
        for record in (record for record in records if record["kind"] == "evaluation"):
            # Records of one evaluation come in the order of k, so the last of a key is that of the greatest k.
            last[record["task_set"], record.get("dynamics_noise", 0.0), record["meta_update"]] = record[
                "average_return"
            ]
        for (task_set, sigma, update), value in last.items():
            found.setdefault((task_set, sigma), {}).setdefault(update, []).append(value)
    return {
        key: {update: float(np.mean(v)) for update, v in values.items() if len(v) == len(evaluations)}
        for key, values in found.items()
    }


def _draw(axes: Axes, points: dict[int, float], sigma: float, index: int) -> None:
    updates = sorted(points)
    means = [points[update] for update in updates]
    axes.plot(updates, means, label=f"σ = {sigma:g}", **style.line(index))


def _draw_published(axes: Axes, task_set: str, sigma: float, index: int) -> None:
    if (task_set, sigma) in published_ant():
        curve = published_ant()[task_set, sigma]
        axes.plot(*curve, ":", color=style.colour(index), linewidth=1.4, label=f"σ = {sigma:g}, published")
