"""The runs that show what three additions to the preset `quick` are worth, as data, and what trains them.

Finished runs are skipped, interrupted ones continued, and one that fails is listed at the end while the others go on.
The plan begins with what matters most, on every family, so any beginning of it can be analysed already.

    python experiments/ablation/sweep.py --workers 2
    python experiments/ablation/analysis.py runs/ablation/records
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import stored
import tyro
from variants import LETTERS, NAMES, VARIANTS, options_of, rank

import tesp
from tesp import runs
from tesp.commands.reproducing import option
from tesp.config import Config, override
from tesp.runs.stored import stored_config
from tesp.storage.run_folder import RunFolder
from tesp.training.settings import LogSettings

FAMILIES = ("point", "reacher2", "wheeled")
#: Apart from those of the results in the documentation.
SEEDS = (10, 11, 12)
PRESET = "quick"

#: What no result depends on.
QUIETLY = {"threads": 1, "tensorboard": False}

Method = Literal[*LETTERS]
Variant = Literal[*NAMES]
State = Literal["new", "begun", "finished"]


@dataclass(frozen=True)
class Arguments:
    """Train the runs of the ablation that are not trained yet."""

    families: tuple[str, ...] = FAMILIES
    """The families."""
    methods: tuple[Method, ...] = tuple(LETTERS)
    """The methods."""
    variants: tuple[Variant, ...] = NAMES
    """The sets of additions; a method is run with those that it has."""
    seeds: tuple[int, ...] = SEEDS
    """The seeds."""
    meta_updates: int | None = None
    """Length of a run; by default the preset's."""
    evaluation_tasks: int = 20
    """Tasks of each set that are evaluated during training."""
    evaluate_every: int | None = None
    """Meta-updates between evaluations; by default the preset's."""
    output: Path = Path("runs/ablation")
    """Where the runs go."""
    records: Path | None = None
    """Where the small files go that the analysis reads; by default `records` in the output folder."""
    workers: int = 1
    """Runs at the same time, each a process of one thread."""
    dry_run: bool = False
    """Print the plan and train nothing."""


@dataclass(frozen=True)
class Planned:
    """One run of the plan.

    Attributes:
        family: Its family.
        method: Its algorithm.
        variant: Its set of additions.
        seed: Its seed.
        options: What is changed of the preset, by the configuration's field names.
    """

    family: str
    method: str
    variant: str
    seed: int
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.family}-{self.method}-{self.variant}-seed{self.seed}"

    @property
    def config(self) -> Config:
        """The whole configuration.

        Raises:
            ConfigurationError: It is not possible.
        """
        return tesp.preset_config(self.family, PRESET, self.method, seed=self.seed, **self.options)

    def training(self, folder: Path) -> list[str]:
        """Return the words after ``tesp`` that start it."""
        words = ["train", self.family, "--preset", PRESET, "--algorithm", self.method, "--seed", str(self.seed)]
        for name, value in self.options.items():
            words += option(name, value)
        return [*words, "--output", str(folder)]


def plan(arguments: Arguments) -> list[Planned]:
    """Return all runs: seed after seed; within a seed by rank, then method, then variant, each on every family."""
    schedule = {
        "meta_updates": arguments.meta_updates,
        "evaluation_tasks": arguments.evaluation_tasks,
        "evaluate_every": arguments.evaluate_every,
    }
    given = {name: value for name, value in schedule.items() if value is not None}
    methods = tuple(dict.fromkeys(arguments.methods))
    chosen = [(m, v) for m in methods for v in VARIANTS[m] if v in arguments.variants]
    chosen.sort(key=lambda pair: (rank(*pair), methods.index(pair[0]), _within(*pair)))
    return [
        Planned(family, method, variant, seed, {**options_of(method, variant), **given, **QUIETLY})
        for seed in dict.fromkeys(arguments.seeds)
        for method, variant in chosen
        for family in dict.fromkeys(arguments.families)
    ]


def _within(method: str, variant: str) -> int:
    """Return the place of a variant among those of its rank: all additions before none, the rest by the alphabet."""
    place = VARIANTS[method].index(variant)
    return -place if rank(method, variant) == 0 else place


def state_of(run: Planned, folder: Path) -> State:
    """Say how far a run has come.

    Raises:
        TespError: The folder holds a run with other options, or is damaged.
    """
    if not folder.exists():
        return "new"
    if _of_results(stored_config(RunFolder.open(folder))) != _of_results(run.config):
        raise tesp.RunFolderError(f"{folder} was made with other options than these; give another --output.")
    return "finished" if runs.is_finished(folder) else "begun"


def _of_results(config: Config) -> Config:
    return replace(override(config, threads=0), log=LogSettings())


#: Runs ``tesp`` with some words, in an environment, writing to a log; returns the exit code.
Execute = Callable[[list[str], dict[str, str], Path], int]


def work(planned: Sequence[Planned], output: Path, records: Path, workers: int, execute: Execute) -> dict[str, str]:
    """Bring every run of the plan to its end; return what went wrong, by the names of the runs."""
    environment = {
        **os.environ,
        "TESP_CPU_DEVICES": "1",
        "OMP_NUM_THREADS": "1",
        "JAX_COMPILATION_CACHE_DIR": str((output / "compiled").resolve()),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    wrong: dict[str, str] = {}

    def one(number: int, run: Planned) -> None:
        folder, log = output / run.name, output / "logs" / f"{run.name}.log"
        try:
            state = state_of(run, folder)
            if state != "finished":
                words = run.training(folder) if state == "new" else ["resume", str(folder)]
                print(f"{number} of {len(planned)}: tesp {shlex.join(words)}", flush=True)
                if code := execute(words, environment, log):
                    wrong[run.name] = f"ended with code {code}, see {log}"
            stored.store(folder, records)
        except (tesp.TespError, OSError) as error:
            wrong.setdefault(run.name, str(error))

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(one, number, run) for number, run in enumerate(planned, 1)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return wrong


class Processes:
    """Children that each run one command, and that end when the sweep is ended."""

    def __init__(self):
        self._running: set[subprocess.Popen] = set()
        self._ended = False

    def __call__(self, words: list[str], environment: dict[str, str], log: Path) -> int:
        """Run ``tesp`` with the words; return its exit code."""
        if self._ended:
            return -signal.SIGTERM
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            process = subprocess.Popen(self.command(words, log), env=environment, stdout=file, stderr=subprocess.STDOUT)
            self._running.add(process)
            code = process.wait()
        self._running.discard(process)
        return code

    def command(self, words: list[str], log: Path) -> list[str]:
        """Return the whole command that runs ``tesp`` with the words."""
        return [sys.executable, "-m", "tesp.cli", *words]

    def end(self, *_: object) -> None:
        """End all children, which go on from their last checkpoints another time, and then the sweep."""
        self._ended = True
        for process in tuple(self._running):
            process.terminate()
        raise KeyboardInterrupt


def main(arguments: Arguments) -> int:
    """Train what is not trained yet; return 1 if a run failed."""
    planned = plan(arguments)
    for run in planned:
        _ = run.config  # Refuses what is not possible before anything is trained.
    if arguments.dry_run:
        for number, run in enumerate(planned, 1):
            folder = arguments.output / run.name
            print(f"{number} {state_of(run, folder)}: tesp {shlex.join(run.training(folder))}")
        return 0
    records = arguments.records or arguments.output / "records"
    return train(planned, arguments.output, records, arguments.workers, Processes())


def train(planned: Sequence[Planned], output: Path, records: Path, workers: int, processes: Processes) -> int:
    """Bring a plan to its end in processes that end with this one; say how it went and return the exit code."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, processes.end)
    try:
        wrong = work(planned, output, records, workers, processes)
    except KeyboardInterrupt:
        print("ended; the same command goes on from the last checkpoints")
        return 130
    for name, reason in wrong.items():
        print(f"failed: {name}: {reason}")
    print(f"{len(planned) - len(wrong)} of {len(planned)} runs are finished; records for the analysis: {records}")
    return 1 if wrong else 0


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Arguments)))
    except tesp.TespError as error:
        sys.exit(f"sweep: {error}")
