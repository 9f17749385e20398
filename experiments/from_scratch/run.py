"""Train PPO and SAC of Stable-Baselines3 from scratch on single tasks, until they are as good as a trained learner.

    python experiments/from_scratch/run.py --output runs/from_scratch --workers 2
    python experiments/from_scratch/analysis.py --records runs/from_scratch

Every training has a record of its own, which is written when it ends; those that have one are skipped. So the command
can be ended and given again at any time. The plan is balanced: after every goal there are as many trainings of either
set by either algorithm. It needs the extra `sb3`.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import tyro
from jobs import ALGORITHMS, FAMILIES, SETS, Goal, Job, described, read_record, reported_jobs, tuning_jobs, write_record

from tesp.errors import RunFolderError, TespError


@dataclass(frozen=True)
class Arguments:
    """Train what has no record yet."""

    families: tuple[Literal[*FAMILIES], ...] = FAMILIES
    """The families."""
    learners: tuple[str, ...] = tuple(f"tesp/{family}" for family in FAMILIES)
    """For each of them the trained learner: the name of one of the package, its file, or the folder of its run."""
    sets: tuple[Literal[*SETS], ...] = SETS
    """The task sets."""
    goals: tuple[int, ...] = tuple(range(10))
    """Places of the goals in their sets."""
    algorithms: tuple[Literal[*ALGORITHMS], ...] = ALGORITHMS
    """The algorithms."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the trainings."""
    tuning: bool = False
    """Train what the settings are chosen by instead, on goals of their own."""
    output: Path = Path("runs/from_scratch")
    """Folder of the records."""
    workers: int = 1
    """Processes that train at the same time, each with one thread."""
    dry_run: bool = False
    """Print what there is to do and do nothing."""


def plan(arguments: Arguments) -> list[Job]:
    """Return all trainings in their order."""
    if arguments.tuning:
        return tuning_jobs(arguments.families, arguments.algorithms)
    return reported_jobs(arguments.families, arguments.goals, arguments.sets, arguments.algorithms, arguments.seeds)


@cache
def adapting(learner: str):
    """Return a learner, loaded once in every process."""
    from targets import Adapting

    return Adapting(learner)


def target_of(goal: Goal, learner: str, folder: Path) -> dict:
    """Return what a learner reaches on a task, from its record or by adapting.

    Raises:
        RunFolderError: The record is of another learner.
    """
    name = f"{goal.name}-target"
    found, trained = read_record(name, folder), adapting(learner)
    if found is None:
        found = {"family": goal.family, "task_set": goal.task_set, "index": goal.index, "tasks_seed": goal.tasks_seed}
        found |= trained.target(goal)
        write_record(name, folder, found)
    if found["learner"] != trained.digest:
        raise RunFolderError(f"The records in {folder} are of another learner than {learner}; give another --output.")
    return found


def work(job: Job, learner: str, folder: Path) -> str:
    """Bring one training to its end and store its record; return how it went."""
    from baselines import train
    from targets import goals_of

    target = target_of(job.goal, learner, folder)
    trained = adapting(learner)
    done = train(job, trained.family, trained.task(job.goal), max(goals_of(target).values()))
    write_record(job.name, folder, {"kind": "job", "learner": trained.digest, **described(job), **done})
    return f"{'reached' if done['reached'] else 'not reached'} at {done['steps'][-1]:,} steps"


def single_threaded() -> None:
    """Give this process and its children one thread each, before PyTorch and JAX start."""
    from tesp.devices import use_cores

    use_cores(1)


def main(arguments: Arguments) -> int:
    """Train everything that has no record; return the exit code."""
    if len(arguments.learners) != len(arguments.families):
        given = f"{len(arguments.learners)} --learners for {len(arguments.families)} --families"
        raise TespError(f"There are {given}; give one learner for each family, in the same order.")
    if arguments.workers < 1:
        raise TespError(f"workers = {arguments.workers} is not possible; give 1 or more.")
    jobs = plan(arguments)
    left = [job for job in jobs if read_record(job.name, arguments.output) is None]
    print(f"{len(jobs) - len(left)} of {len(jobs)} trainings are finished")
    if arguments.dry_run:
        print("\n".join(job.name for job in left))
        return 0
    if find_spec("stable_baselines3") is None:
        raise TespError("Stable-Baselines3 is not installed; `pip install 'tesp[sb3]'` brings it.")
    single_threaded()
    train_all(left, dict(zip(arguments.families, arguments.learners, strict=True)), arguments.output, arguments.workers)
    return 0


def train_all(jobs: Sequence[Job], learners: dict[str, str], folder: Path, workers: int) -> None:
    """Bring trainings to their end, in this process or in some of its own."""
    each = [partial(work, job, learners[job.goal.family], folder) for job in jobs]
    if workers == 1:
        for job, one in zip(jobs, each, strict=True):
            print(f"{job.name}: {one()}", flush=True)
        return
    # Its end ends the processes too.
    with get_context("spawn").Pool(workers) as pool:
        for job, said in zip(jobs, pool.imap(_called, each), strict=True):
            print(f"{job.name}: {said}", flush=True)


def _called(one: Callable[[], str]) -> str:
    return one()


def _end(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    signal.signal(signal.SIGTERM, _end)
    try:
        sys.exit(main(tyro.cli(Arguments, description=__doc__)))
    except TespError as error:
        sys.exit(f"run: {error}")
    except KeyboardInterrupt:
        print("ended; the same command goes on")
        sys.exit(130)
