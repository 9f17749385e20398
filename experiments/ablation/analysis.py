"""Tables and a figure of the ablation, from the stored records alone; incomplete sweeps give what there is.

python experiments/ablation/analysis.py runs/ablation/records --output figures/ablation
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from figure import plot
from stored import AblationRun, load_all
from variants import ADDITIONS, LETTERS, NO_PENALTY, NONE, VARIANTS

from tesp.errors import TespError
from tesp.report import words
from tesp.storage.files import write_whole

#: A meta-update that took more than this many times the median of its run was compiled in, and counts as the median.
COMPILED = 2.0
#: Times that differ by no more than this part are equal: processors do not repeat themselves more exactly.
TOLERANCE = 0.02
#: The part of a run that its last evaluations are averaged over.
LATE = 0.25

SETS = {"train": "D", "in_distribution": "D′", "out_of_distribution": "D″"}


@dataclass(frozen=True)
class Arguments:
    """Write tables and figure of an ablation."""

    records: Annotated[Path, tyro.conf.Positional]
    """The folder of records that the sweep wrote."""
    output: Path = Path("figures/ablation")
    """Where `ablation.md` and `ablation.png` go."""


#: What is read of a run: a number by task set and k.
Reading = dict[tuple[str, int], float]


def clock(run: AblationRun) -> dict[int, float]:
    """Return the CPU seconds that a run had spent on meta-updates after each of them, without compilation."""
    updates = sorted(run.seconds)
    seconds = np.array([run.seconds[update] for update in updates])
    if len(seconds):
        median = np.median(seconds)
        seconds = np.where(seconds > COMPILED * median, median, seconds)
    return {0: 0.0, **dict(zip(updates, np.cumsum(seconds).tolist(), strict=True))}


def total(run: AblationRun) -> float:
    """Return the CPU seconds of all meta-updates up to the last evaluation."""
    return clock(run)[max(run.returns)]


def compared(runs: Sequence[AblationRun]) -> list[AblationRun]:
    """Return the runs of one family and method that can be compared: the finished ones, or all if there is none."""
    return [run for run in runs if run.finished] or list(runs)


def last_shared(runs: Sequence[AblationRun]) -> int:
    """Return the last meta-update at which all runs were evaluated."""
    return max(set.intersection(*(set(run.returns) for run in runs)))


def late(run: AblationRun, end: int) -> Reading:
    """Return the mean of the evaluations in the last quarter of the meta-updates up to ``end``."""
    rows = [run.returns[update] for update in run.returns if (1 - LATE) * end < update <= end] or [run.returns[end]]
    return {cell: float(np.mean([row[cell] for row in rows])) for cell in rows[0]}


def common_time(variants: dict[str, list[AblationRun]]) -> float:
    """Return T: the time of the cheapest variant's run, of its seeds the one that took longest.

    So the cheapest variant is read at its end, in all seeds.
    """
    return min(max(total(run) for run in members) for members in variants.values())


def last_within(run: AblationRun, seconds: float) -> int:
    """Return the meta-update of a run's last evaluation within a time."""
    spent = clock(run)
    return max(update for update in run.returns if spent[update] <= seconds * (1 + TOLERANCE))


def mean_and_range(values: Sequence[float], digits: int = 1) -> str:
    """Return the mean, and the range if there are several values."""
    if not len(values):
        return "–"
    mean, low, high = (words.number(float(x), digits) for x in (np.mean(values), np.min(values), np.max(values)))
    return f"{mean} [{low}, {high}]" if len(values) > 1 else mean


def by_variant(runs: Sequence[AblationRun]) -> dict[str, list[AblationRun]]:
    """Return the runs of one method by variant, in the order of the rows."""
    order = VARIANTS[runs[0].method]
    grouped = {variant: [run for run in runs if run.variant == variant] for variant in order}
    return {variant: members for variant, members in grouped.items() if members}


def markdown(rows: Iterable[Sequence[str]]) -> str:
    """Return rows, the first of them the names of the columns, as a Markdown table."""
    head, *body = rows
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _three(members: Sequence[AblationRun], read: Callable[[AblationRun], Reading]) -> list[str]:
    """Return the cells D, D′ and D″ after K fast-updates."""
    readings = [(run.fast_updates, read(run)) for run in members]
    return [mean_and_range([reading[task_set, last] for last, reading in readings]) for task_set in SETS]


def at_equal_updates(variants: dict[str, list[AblationRun]]) -> str:
    """Return the table at equal meta-updates: the last shared evaluation, and the last quarter before it."""
    end = last_shared([run for members in variants.values() for run in members])
    late_names = [f"{name}, last quarter" for name in SETS.values()]
    rows = [["variant", "n", *SETS.values(), "D, k = 0", *late_names]]
    for variant, members in variants.items():
        before = mean_and_range([run.returns[end]["train", 0] for run in members])
        at_end = _three(members, lambda run: run.returns[end])
        rows.append([variant, str(len(members)), *at_end, before, *_three(members, lambda run: late(run, end))])
    return f"At {end} meta-updates:\n\n{markdown(rows)}"


def at_equal_seconds(variants: dict[str, list[AblationRun]]) -> str:
    """Return the table at equal CPU seconds, with what a meta-update of each variant costs."""
    seconds = common_time(variants)
    rows = [["variant", "n", *SETS.values(), "D, k = 0", "read at meta-update", "CPU seconds a meta-update"]]
    for variant, members in variants.items():
        # A run that stopped earlier is not what the variant reaches in this time.
        members = [run for run in members if run.finished or total(run) >= seconds]
        reached = [last_within(run, seconds) for run in members]
        cells = _three(members, lambda run: run.returns[last_within(run, seconds)])
        before = mean_and_range([run.returns[m]["train", 0] for run, m in zip(members, reached, strict=True)])
        cost = mean_and_range([clock(run)[max(run.seconds)] / len(run.seconds) for run in members if run.seconds], 2)
        rows.append([variant, str(len(members)), *cells, before, mean_and_range(reached, 0), cost])
    return f"At {seconds:.0f} CPU seconds of meta-updates:\n\n{markdown(rows)}"


def pairs(method: str) -> dict[str, tuple[str, str]]:
    """Return what can be gained, in words, with the variants that have it and lack it."""
    letters = LETTERS[method]
    found = {f"{letter} alone ({letter} − {NONE})": (letter, NONE) for letter in letters}
    for letter in letters:
        rest = letters.replace(letter, "")
        found[f"{letter} as the last ({letters} − {rest})"] = (letters, rest)
    return found | {f"all together ({letters} − {NONE})": (letters, NONE)}


def gained(variants: dict[str, list[AblationRun]], more: str, less: str) -> list[dict[str, float]]:
    """Return what one variant returns more than another at equal meta-updates, seed by seed, for every task set.

    Each seed is compared with itself, where both runs agree in the options that no variant changes.
    """
    end = last_shared([run for members in variants.values() for run in members])
    with_it, without = ({run.seed: run for run in variants.get(name, ())} for name in (more, less))
    # The penalty is one of the other options, unless it is what is looked at.
    varied = {"embedding_penalty"} if NO_PENALTY in (more, less) else set()

    def others(run: AblationRun) -> dict[str, Any]:
        return {name: value for name, value in run.others.items() if name not in varied}

    seeds = sorted(s for s in with_it.keys() & without.keys() if others(with_it[s]) == others(without[s]))
    return [{name: _last(with_it[s], end, name) - _last(without[s], end, name) for name in SETS} for s in seeds]


def worth(variants: dict[str, list[AblationRun]]) -> str:
    """Return what each addition gains alone and as the last one, at equal meta-updates."""
    members = [run for runs in variants.values() for run in runs]
    rows = [["gain", "n", *SETS.values()]]
    for gain, (more, less) in pairs(members[0].method).items():
        if found := gained(variants, more, less):
            rows.append([gain, str(len(found)), *(mean_and_range([each[name] for each in found]) for name in SETS)])
    return (
        f"What an addition gains at {last_shared(members)} meta-updates:\n\n{markdown(rows)}" if len(rows) > 1 else ""
    )


def _last(run: AblationRun, update: int, task_set: str) -> float:
    return run.returns[update][task_set, run.fast_updates]


def differences(runs: Sequence[AblationRun]) -> str:
    """Return the options that differ between runs though no variant changes them, with their values."""
    names = sorted({name for run in runs for name in run.others})
    values = {name: list(dict.fromkeys(str(run.others[name]) for run in runs if name in run.others)) for name in names}
    return ", ".join(f"`{name}` {' or '.join(found)}" for name, found in values.items() if len(found) > 1)


def section(family: str, method: str, runs: Sequence[AblationRun]) -> str:
    """Return the tables of one family and method, and what they leave out."""
    chosen = compared(runs)
    variants = by_variant(chosen)
    notes = []
    if not chosen[0].finished:
        notes.append("No run is finished yet.")
    elif left_out := sorted(run.name for run in runs if not run.finished):
        notes.append(f"Left out, for they are not finished: {', '.join(left_out)}.")
    if len({tuple(sorted(run.seed for run in members)) for members in variants.values()}) > 1:
        notes.append("**Not all rows have the same seeds**, and so not the same tasks.")
    if different := differences(chosen):
        notes.append(f"**Not all runs have the same other options**: {different}.")
    if not all(run.cpu for run in chosen):
        notes.append("Some records lack CPU seconds; wall-clock seconds stand in for them.")
    tables = (at_equal_updates(variants), at_equal_seconds(variants), worth(variants))
    title = f"## {family}, {words.method(method)}\n"
    return "\n".join(filter(None, (title, "\n".join(notes) + "\n" if notes else "", *tables)))


def grouped(runs: Sequence[AblationRun]) -> dict[tuple[str, str], list[AblationRun]]:
    """Return the runs by family and method."""
    keys = [(family, method) for family in dict.fromkeys(run.family for run in runs) for method in LETTERS]
    groups = {key: [run for run in runs if (run.family, run.method) == key] for key in keys}
    return {key: members for key, members in groups.items() if members}


def report(runs: Sequence[AblationRun]) -> str:
    """Return all tables as Markdown."""
    return "\n".join([introduction(runs), *(section(*key, members) for key, members in grouped(runs).items())])


def introduction(runs: Sequence[AblationRun]) -> str:
    """Return what the tables show and how they are to be read."""
    said = "; ".join(f"{letter}: {a.words} (`{a.option}` {a.on} instead of {a.off})" for letter, a in ADDITIONS.items())
    tasks = " or ".join(map(str, sorted({run.tasks for run in runs if run.tasks is not None})))
    judged = f", on {tasks} tasks of each set" if tasks else ""
    return f"""# What three additions are worth

{said}. ABC-no-penalty is ABC with `embedding_penalty` 0.

Average returns (m·steps) after K fast-updates{judged}: mean over n seeds
[least, greatest]. "D, k = 0" is the return on D before any fast-update. "Last quarter" is the mean of the evaluations
in the last quarter of the meta-updates.

At equal seconds every run is read at its last evaluation within the time that the cheapest variant of the method
needed for its run, of its seeds the one that took longest, give or take {TOLERANCE:.0%}. The time is that of
meta-updates, evaluations not counted and compilation left out: a meta-update that took more than {COMPILED:g} times the
median of its run counts as the median.

Gains are differences between runs of the same seed and the same other options; positive is better.
"""


def main(arguments: Arguments) -> None:
    """Write the tables and the figure."""
    runs = load_all(arguments.records)
    paths = [arguments.output / name for name in ("ablation.md", "ablation.png")]
    write_whole(paths[0], report(runs))
    plot([run for members in grouped(runs).values() for run in compared(members)], clock, paths[1])
    for path in paths:
        print(path)


if __name__ == "__main__":
    try:
        main(tyro.cli(Arguments))
    except TespError as error:
        sys.exit(f"analysis: {error}")
