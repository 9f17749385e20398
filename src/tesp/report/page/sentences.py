"""The sentences of a report."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tesp.report.page.tables import estimate
from tesp.report.records import RunRecords
from tesp.report.results import Result, can_succeed, in_metres
from tesp.report.seeds import RESAMPLES
from tesp.report.words import ORACLE, STANDING_STILL, TASK_SETS, method, number, percent

OVER_TASKS = (
    "Brackets hold the 95 % interval of the mean over tasks by the normal approximation, mean ± 1.96·s/√n with n tasks "
    "and their standard deviation s. It says how far the mean would move with other tasks of the same distribution. It "
    "is of one seed, and says nothing about how far the result would move with another."
)
OVER_SEEDS = (
    f"Means are over seeds. Brackets hold the 95 % percentile bootstrap interval of that mean, from {RESAMPLES:,} "
    "resamples of whole seeds. Of two or three seeds it is their range. A method of a single seed has no interval."
)
#: What a return is, where distances are measured and where not.
UNITS = {
    True: "The return of an episode is the sum of its distance reward, in metre·steps; greater is better.",
    False: "The return of an episode is the sum of its reward; greater is better.",
}


@dataclass(frozen=True)
class Headline:
    """The result on one task set, to be seen at first sight: what it is of, the return and lines below it."""

    title: str
    value: str
    lines: tuple[str, ...]


def methods_of(runs: Sequence[RunRecords]) -> str:
    """Return the names of the runs' methods, as the literature writes them."""
    names = dict.fromkeys(str(run.config["algorithm"]) for run in runs)
    return ", ".join(method(name) for name in names)


def training_of(run: RunRecords) -> str:
    """Return how long a run was trained, in a sentence."""
    trained = run.records.get("train", [])
    family, name = run.config["family"], methods_of([run])
    if not trained:
        return f"{name} on the family {family} as it was initialised: it has not been trained."
    last = trained[-1]
    updates, steps, minutes = last["meta_update"], last["environment_steps"], last["wall_seconds"] / 60
    planned = run.config.get("schedule", {}).get("meta_updates", updates)
    ending = "" if updates >= planned else f" It has not reached the end of its schedule, {planned} meta-updates."
    return (
        f"{name} was meta-trained on the family {family} with seed {run.config['seed']} for {updates} meta-update"
        f"{'' if updates == 1 else 's'}, which took {steps:,} environment steps and {minutes:,.1f} minutes.{ending}"
    )


def headlines(results: Sequence[Result]) -> list[Headline]:
    """Return what a single method comes to on each task set, beside what frames it; nothing for several methods."""
    if len({result.method for result in results if result.last}) != 1:
        return []
    found = []
    for task_set, title in TASK_SETS.items():
        here = [result for result in results if result.task_set == task_set]
        lasts = [result for result in here if result.last]
        if not lasts:
            continue
        last = lasts[0]
        lines = [_interval(last)]
        first = [result for result in here if result.method == last.method and result.fast_update == 0]
        if first and not first[0].last:
            lines.append(f"{_mean(first[0])} before any fast-update")
        lines += [f"{_mean(result)} standing still" for result in here if result.method == STANDING_STILL]
        lines += [f"{_mean(result)} oracle" for result in here if result.method == ORACLE != last.method]
        if can_succeed(results) and not math.isnan(arrived := last.estimates["success_rate"].mean):
            lines.append(f"{percent(arrived)} of the episodes arrive")
        found.append(Headline(title, _mean(last), tuple(line for line in lines if line)))
    return found


def findings(results: Sequence[Result]) -> str:
    """Return what the methods come to on the tasks outside the distribution, best first; nothing for one method."""
    lasts = [result for result in results if result.last and result.task_set == "out_of_distribution"]
    if len(lasts) < 2:
        return ""
    lasts.sort(key=lambda result: -result.average_return.mean)
    unit = " m·steps" if in_metres(lasts) else ""
    said = [f"{method(r.method)} {estimate(r.average_return)}" for r in lasts]
    return f"Outside the distribution, after all fast-updates, from the best mean down: {'; '.join(said)}{unit}."


def _mean(result: Result) -> str:
    return number(result.average_return.mean, 1)


def _interval(result: Result) -> str:
    _, low, high = result.average_return
    if math.isnan(low):
        return ""
    return f"95 % interval {number(low, 1)} to {number(high, 1)}"
