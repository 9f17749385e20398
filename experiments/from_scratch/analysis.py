"""Steps and seconds that training from scratch needs, beside those of an adaptation: tables and the figure.

    python experiments/from_scratch/analysis.py                       # from the records of the project, into the page
    python experiments/from_scratch/analysis.py --records runs/from_scratch --output runs --page runs/from-scratch.md

The tables go into the page between `<!-- made by experiments/from_scratch/analysis.py: NAME -->` and `<!-- end -->`.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from jobs import CHOSEN, FINALISTS, FURTHER_GOALS, TUNING_GOALS
from picture import NAMES, plot
from reaching import (
    Quantity,
    Trial,
    adapted_after,
    deterministic,
    grouped,
    ratios,
    read,
    sampled,
    seconds,
    share,
    steps,
    trials,
)

from tesp.errors import TespError
from tesp.report import words
from tesp.report.records import read_archived
from tesp.storage.files import write_whole

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "experiments" / "records"
PART = re.compile(r"(<!-- made by experiments/from_scratch/analysis.py: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


@dataclass(frozen=True)
class Arguments:
    """Make the tables and the figure."""

    records: Path = KEPT / "from_scratch" / "reported.jsonl.gz"
    """Archive of the records, or the folder that run.py wrote to."""
    tuning: Path = KEPT / "from_scratch" / "tuning.jsonl.gz"
    """The same of the trainings that the settings were chosen by."""
    output: Path = ROOT / "docs" / "images"
    """Folder of the figure."""
    page: Path = ROOT / "docs" / "from-scratch.md"
    """The page whose tables are made anew; one that does not exist is not made."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    """Return a table in Markdown, whose first columns are texts."""
    ruler = ["---"] * texts + ["---:"] * (len(head) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ruler, *rows))


def main_table(found: Sequence[Trial]) -> str:
    """Return for every family, set and algorithm what was needed, and the ratio to the adaptation."""
    head = ("family", "set", "algorithm", "goals", "reached", "steps (median)", "TESP's", "ratio", "CPU-s", "TESP's")
    rows = []
    for (family, task_set, algorithm), members in grouped(found).items():
        rows.append(
            (
                *(family, words.SIGNS[task_set], algorithm.upper(), str(len(members)), words.percent(share(members))),
                *(_bound(steps(members)), f"{np.median([t.adapted for t in members]):,.0f}"),
                f"**{_bound(ratios(members), 2)}** {_interval(ratios(members), 2)}",
                *(_bound(seconds(members)), f"{np.median([t.adaptation_seconds for t in members]):.1f}"),
            )
        )
    return table(head, rows, 3)


def _bound(quantity: Quantity, digits: int = 0) -> str:
    return quantity.told(digits).partition(" [")[0]


def _interval(quantity: Quantity, digits: int) -> str:
    return "[" + quantity.told(digits).partition(" [")[2]


def after_each(found: Sequence[Trial]) -> str:
    """Return the ratios to what TESP has sampled, and samples, after each number of fast-updates."""
    last = {t.job["family"]: len(t.target["rounds"][0]) for t in found}
    head = ("family", "set", "k", "TESP's steps", "TESP's return", *(f"{name}, ratio" for name in NAMES.values()))
    rows = []
    groups = grouped(found)
    for family, task_set in dict.fromkeys(key[:2] for key in groups):
        own = {algorithm: groups.get((family, task_set, algorithm), []) for algorithm in NAMES}
        goals = {t.job["index"]: t.target for members in own.values() for t in members}.values()
        for k in range(last[family]):
            cells = [_ratio_after(members, k) for members in own.values()]
            used = np.median([adapted_after(target, k) for target in goals])
            got = np.mean([sampled(target, k) for target in goals])
            rows.append((family, words.SIGNS[task_set], str(k), f"{used:,.0f}", words.number(float(got), 1), *cells))
    return table(head, rows, 2)


def _ratio_after(members: Sequence[Trial], k: int) -> str:
    return (
        ratios(members, partial(sampled, fast_updates=k), partial(adapted_after, fast_updates=k)).told(2)
        if members
        else "–"
    )


def fewer_episodes(found: Sequence[Trial]) -> str:
    """Return the ratios to adaptations with fewer episodes in every round."""
    head = ("family", "set", "N", "TESP's steps", "TESP's return", *(f"{name}, ratio" for name in NAMES.values()))
    rows, groups = [], grouped(found)
    for family, task_set in dict.fromkeys(key[:2] for key in groups):
        own = {algorithm: groups.get((family, task_set, algorithm), []) for algorithm in NAMES}
        goals = [t.target for t in {t.job["index"]: t for members in own.values() for t in members}.values()]
        for count in (str(goals[0]["episodes"]), *goals[0]["fewer"]):
            of = partial(_with_episodes, count=count)
            cells = [
                ratios(members, lambda x, of=of: deterministic(of(x)), lambda x, of=of: adapted_after(of(x))).told(2)
                if members
                else "–"
                for members in own.values()
            ]
            used = np.median([adapted_after(of(target)) for target in goals])
            got = words.number(float(np.mean([deterministic(of(target)) for target in goals])), 1)
            rows.append((family, words.SIGNS[task_set], count, f"{used:,.0f}", got, *cells))
    return table(head, rows, 2)


def _with_episodes(target: dict, count: str) -> dict:
    return target["fewer"].get(count, target)


def paid(found: Sequence[Trial]) -> str:
    """Return what meta-training cost, and at how many tasks that has paid for itself."""
    head = ("family", "meta-training", "spent", *(f"paid after so many tasks, {name}" for name in NAMES.values()))
    rows = []
    for family in dict.fromkeys(trial.job["family"] for trial in found):
        run = read_archived(KEPT / "campaign" / f"{family}-tesp-small-seed100.jsonl.gz").records["train"]
        own = {name: [t for t in found if (t.job["family"], t.job["algorithm"]) == (family, name)] for name in NAMES}
        whole = (
            ("environment steps", float(run[-1]["environment_steps"]), steps, lambda t: t.adapted),
            ("CPU-s", sum(row["seconds_cpu"] for row in run), seconds, lambda t: t.adaptation_seconds),
        )
        for name, spent, of, adapted in whole:
            cells = [
                _tasks(spent, of(m), float(np.median([adapted(t) for t in m]))) if m else "–" for m in own.values()
            ]
            rows.append((family, name, f"{spent:,.0f}", *cells))
    return table(head, rows, 2)


def _tasks(spent: float, needed: Quantity, adapted: float) -> str:
    """Return after how many tasks what was spent is less than what it saves on each; a bound if that is one."""
    saved = needed.value - adapted
    if saved <= 0:
        return "unknown" if needed.open[0] else "never"
    return f"{'< ' * needed.open[0]}{np.ceil(spent / saved):,.0f}"


def tried(found: Sequence[Trial]) -> str:
    """Return what tuning saw: steps to the target on every goal, and their geometric means."""
    goals = sorted({_tuned_on(trial) for trial in found})
    names = (f"{words.SIGNS[task_set]}, seed {seed}" for seed, task_set in goals)
    rows, groups = [], by_setting(found)
    for (family, algorithm, setting), members in groups.items():
        own = {_tuned_on(trial): _bound(steps([trial])) for trial in members}
        setting_told = f"**`{setting}`**" if CHOSEN[family, algorithm] == setting else f"`{setting}`"
        scores = [f"{score(m):,.0f}" if m else "–" for m in stages(family, algorithm, setting, members)]
        rows.append((family, algorithm.upper(), setting_told, *(own.get(goal, "–") for goal in goals), *scores))
    return table(("family", "algorithm", "setting", *names, "first", "all"), rows, 3)


def _tuned_on(trial: Trial) -> tuple[int, str]:
    return trial.job["tasks_seed"], trial.job["task_set"]


def stages(family: str, algorithm: str, setting: str, members: Sequence[Trial]) -> tuple[list[Trial], list[Trial]]:
    """Return what a setting is judged by: the goals that all settings had; all goals of the best two, once whole."""
    goals = (*TUNING_GOALS[family], *FURTHER_GOALS[family])
    first = [t for t in members if _tuned_on(t)[::-1] in TUNING_GOALS[family]]
    further = [t for t in members if _tuned_on(t)[::-1] in goals]
    whole = setting in FINALISTS[family, algorithm] and len(further) == len(goals)
    return first, further if whole else []


def by_setting(found: Sequence[Trial]) -> dict[tuple[str, str, str], list[Trial]]:
    """Return trainings by family, algorithm and setting."""
    groups: dict[tuple[str, str, str], list[Trial]] = {}
    for trial in found:
        groups.setdefault((trial.job["family"], trial.job["algorithm"], trial.job["setting"]), []).append(trial)
    return groups


def score(members: Sequence[Trial]) -> float:
    """Return the geometric mean of the steps to the targets; twice the budget where one was not reached."""
    reached = [trial.steps_to(deterministic(trial.target)) for trial in members]
    counted = [x if np.isfinite(x) else 2.0 * t.job["budget"] for x, t in zip(reached, members, strict=True)]
    return float(np.exp(np.mean(np.log(counted))))


def parts(found: Sequence[Trial], tuned: Sequence[Trial]) -> dict[str, Callable[[], str]]:
    """Return what makes each part of the page."""
    return {
        "ratios": partial(main_table, found),
        "after each fast-update": partial(after_each, found),
        "fewer episodes": partial(fewer_episodes, found),
        "paid": partial(paid, found),
        "tuning": partial(tried, tuned),
    }


def filled(text: str, made: dict[str, Callable[[], str]]) -> str:
    """Return a page with its parts made anew."""
    return PART.sub(lambda part: f"{part[1]}\n{made[part[2]]()}\n\n{part[3]}", text)


def main(arguments: Arguments) -> None:
    """Print the tables, draw the figure and write the page."""
    made = parts(trials(read(arguments.records)), trials(read(arguments.tuning)))
    for name, make in made.items():
        print(f"## {name}\n\n{make()}\n")
    path = arguments.output / "from-scratch.png"
    plot(trials(read(arguments.records)), path)
    print(path)
    if arguments.page.exists():
        text = arguments.page.read_text(encoding="utf-8")
        write_whole(arguments.page, filled(text, made))
        print(arguments.page)


if __name__ == "__main__":
    try:
        main(tyro.cli(Arguments, description=__doc__))
    except TespError as error:
        sys.exit(f"analysis: {error}")
