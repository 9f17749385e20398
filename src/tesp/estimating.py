"""What runs will cost, judging by meta-updates that were measured."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console

from tesp.building import build_family, build_learner
from tesp.config import Config
from tesp.devices import usable_cores
from tesp.episodes.executor import LocalExecutor
from tesp.evaluation.protocol import Evaluator
from tesp.progress import ProgressBar
from tesp.storage.checkpoint import initial_state
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS
from tesp.training.loop import Training, one_meta_update

#: Records of the last meta-updates of a run of which the median is taken.
_LATEST = 5


@dataclass(frozen=True)
class Cost:
    """What a run costs, in core-seconds: a core that computes for a second.

    Attributes:
        meta_update: One meta-update.
        evaluation: One evaluation, as far as its rounds are like those of a meta-update.
    """

    meta_update: float
    evaluation: float

    def of(self, config: Config, done: int = 0) -> float:
        """Return core-seconds from so many meta-updates on to the end, without what is compiled."""
        end, every = config.schedule.meta_updates, config.schedule.evaluate_every
        evaluations = end // every - done // every + (end % every > 0) + (done == 0)
        return (end - done) * self.meta_update + evaluations * self.evaluation


def measured(config: Config) -> Cost:
    """Train for two meta-updates without storing anything; return what the second one cost, in which nothing compiles.

    Raises:
        NonFiniteError: A number became NaN or infinite.
    """
    family = build_family(config)
    learner = build_learner(config, family)
    task_sets = family.sample_task_sets(config.seed)
    evaluator = Evaluator(learner, family, task_sets, config.seed, config.schedule.threads)
    training = Training(learner, family, task_sets["train"], evaluator, config.schedule, config.seed, {})
    executor = LocalExecutor(learner, family.horizon, lambda count: family.simulate(count, config.schedule.threads))
    state, _ = one_meta_update(training, initial_state(learner.method, config.seed), executor)
    _, record = one_meta_update(training, state, executor)
    return _cost(config, record, len(task_sets["train"].tasks))


def _cost(config: Config, record: Mapping[str, Any], there: int) -> Cost:
    rounds = 1 - record["seconds_meta_update"] / record["seconds"]
    tasks = len(TASK_SETS) * min(config.schedule.evaluation_tasks or there, there)
    one = record["seconds_cpu"]
    return Cost(one, one * rounds * tasks / config.sampling.tasks_per_update)


def show_plan(folders: Mapping[Path, Config], output: Path, console: Console) -> None:
    """Show every run, how far it is, and what is left of it in core-hours.

    Runs that differ in the seed alone are taken for equally long. Where one of them has records of meta-updates, these
    are what was measured; elsewhere two are trained, and thrown away.
    """
    done = {folder: _done(folder) for folder in folders}
    costs: dict[Config, Cost] = {}
    kinds = {folder: replace(config, seed=0) for folder, config in folders.items()}
    for folder in folders:
        if (cost := _recorded(folder, folders[folder])) is not None:
            costs.setdefault(kinds[folder], cost)
    missing = [kind for kind in dict.fromkeys(kinds.values()) if kind not in costs]
    with ProgressBar(console, "measuring", len(missing), "kinds of runs") as bar:
        for kind in missing:
            costs[kind] = measured(kind)
            bar.advance()
    total = 0.0
    for folder, config in folders.items():
        cost, end = costs[kinds[folder]], config.schedule.meta_updates
        seconds = cost.of(config, done[folder]) if done[folder] < end else 0.0
        total += seconds
        state = f"{done[folder]} of {end} meta-updates are done" if folder.exists() else f"{end} meta-updates"
        told = f"{folder.relative_to(output)}: {state}, {_hours(seconds)} left ({cost.meta_update:.3g} core-s each)"
        console.print(told, markup=False)
    cores = usable_cores()
    console.print(
        f"{len(folders)} runs, {_hours(total)} in all, without compilation; on this machine's {cores} cores at least "
        f"{_hours(total / cores, 'hours')}",
        markup=False,
    )


def _hours(seconds: float, unit: str = "core-hours") -> str:
    return f"{seconds / 3600:.2g} {unit}"


def _done(folder: Path) -> int:
    return max((record["meta_update"] for record in _trained(folder)), default=0)


def _recorded(folder: Path, config: Config) -> Cost | None:
    """Return what the last meta-updates of a run cost, if it has any beside the first, which contains compilation."""
    latest = [record for record in _trained(folder)[1:] if "seconds_cpu" in record][-_LATEST:]
    if not latest:
        return None
    names = ("seconds", "seconds_cpu", "seconds_meta_update")
    there = len(RunFolder(folder).read_task_sets()["train"].tasks)
    return _cost(config, {name: median(record[name] for record in latest) for name in names}, there)


def _trained(folder: Path) -> list[dict[str, Any]]:
    if not folder.exists():
        return []
    return [record for record in RunFolder.open(folder).read_records() if record["kind"] == "train"]
