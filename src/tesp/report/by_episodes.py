"""Methods at equal experience as tables: return by the episodes used, and how often one method does better."""

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from tesp.report import words
from tesp.report.scores import Scores, along, as_trained, improvement_of

#: Columns of the comma-separated values.
COLUMNS = (
    *("task_set", "method", "episodes_per_round", "as_trained", "fast_update", "episodes_used", "seeds", "tasks"),
    *("environment_steps", "iqm_return", "iqm_return_low", "iqm_return_high", "mean_return", "success_rate"),
)


def by_episodes_markdown(scores: Sequence[Scores]) -> str:
    """Return two Markdown tables: the points of `tesp.report.scores.along`, and the probabilities of improvement."""
    signs = list(words.SIGNS.values())
    text = _table(
        ("method", "N", "k", "episodes used", *signs, f"success {', '.join(signs)}", "seeds", "training steps"),
        _points(scores),
    )
    pairs = list(_pairs(scores))
    if pairs:
        text += "\n" + _table(("better", "than", *signs, "seeds"), pairs)
    return text


def _points(scores: Sequence[Scores]) -> Iterable[tuple[str, ...]]:
    for name in dict.fromkeys(s.method for s in scores):
        own = [s for s in scores if s.method == name]
        lines = {task_set: along(own, task_set, name) for task_set in words.SIGNS}
        for point in next(iter(lines.values())):
            key = (point.episodes, point.fast_update)
            found = [next((s for s in line if (s.episodes, s.fast_update) == key), None) for line in lines.values()]
            still = point.episodes is None
            yield (
                words.method(name),
                "" if still else f"**{point.episodes}**" if point.as_trained else str(point.episodes),
                "" if still else str(point.fast_update),
                "" if still else words.number(point.used, 0),
                *(_with_interval(s) for s in found),
                "" if still else ", ".join(words.percent(None if s is None else s.success) for s in found),
                str(len(point.seeds)),
                "" if still else f"{point.environment_steps:,.0f}",
            )


def _with_interval(scores: Scores | None) -> str:
    if scores is None:
        return "–"
    mean, low, high = (words.number(x, 1) for x in (scores.interquartile_mean, *scores.interval))
    return f"{mean} [{low}, {high}]"


def _pairs(scores: Sequence[Scores]) -> Iterable[tuple[str, ...]]:
    final = {task_set: as_trained(scores, task_set) for task_set in words.SIGNS}
    names = [n for n in dict.fromkeys(s.method for s in scores) if n not in (words.ORACLE, words.STANDING_STILL)]
    for one, other in combinations(names, 2):
        cells, count = [], 0
        for of_set in final.values():
            both = one in of_set and other in of_set
            found = improvement_of(of_set[one], of_set[other]) if both else None
            if found is None:
                cells.append("–")
                continue
            cells.append("{} [{}, {}]".format(*map(words.percent, found[:3])))
            count = found.seeds
        yield words.method(one), words.method(other), *cells, str(count)


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ("---",) * len(headers), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def by_episodes_csv(scores: Sequence[Scores]) -> str:
    """Return all scores, every N with every k, as comma-separated values in full precision, with a line of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for s in scores:
        known = (s.task_set, s.method, s.episodes, s.as_trained, s.fast_update, s.used, *s.returns.shape)
        measured = (s.interquartile_mean, *s.interval, float(np.mean(s.returns)), s.success)
        writer.writerow([*known, s.environment_steps, *measured])
    return text.getvalue()
