"""What the benchmarks share: timing, memory, processes of their own, tables and files."""

import argparse
import contextlib
import ctypes
import dataclasses
import gc
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any


class MeasurementError(Exception):
    """A measurement broke off; the message is one sentence."""


def run(main: Callable[[], None], work: Callable[[dict], dict]) -> None:
    """Run a benchmark from the command line: ``main``, or ``work`` in a process that `in_own_process` started.

    What the user can mend is told in one sentence, with exit code 2; a measurement that broke off ends with 1.
    """
    try:
        if sys.argv[1:2] == ["--worker"]:
            print(json.dumps(work(json.loads(sys.argv[2]))))
        else:
            main()
    except MeasurementError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        from tesp.errors import TespError

        if not isinstance(error, TespError):
            raise
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)


def in_own_process(script: str, task: dict) -> Any:
    """Let a script do a task in a fresh process, with JAX started anew and memory of its own.

    Raises:
        MeasurementError: The process failed; it has said why.
    """
    command = [sys.executable, script, "--worker", json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode == 2:
        sys.exit(2)
    if done.returncode:
        cause = f"by signal {-done.returncode}" if done.returncode < 0 else f"with exit code {done.returncode}"
        raise MeasurementError(f"A process that was measuring ended {cause}; what it said stands above.")
    return json.loads(done.stdout.splitlines()[-1])


def seconds_of(function: Callable[[], Any]) -> float:
    """Seconds that a call takes; the function returns when its result is there."""
    began = perf_counter()
    function()
    return perf_counter() - began


def alternately(functions: Mapping[str, Callable[[], Any]], repetitions: int) -> dict[str, list[float]]:
    """Seconds of functions that take turns, so that a slow minute of the machine meets all of them.

    Each is called once beforehand, which compiles it.
    """
    for function in functions.values():
        function()
    turns = [{name: seconds_of(function) for name, function in functions.items()} for _ in range(repetitions)]
    return {name: [turn[name] for turn in turns] for name in functions}


def median(values: Iterable[float]) -> float:
    """Median, as a float."""
    return float(statistics.median(values))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def peak_memory() -> int:
    """Largest resident memory that this process has had, in bytes."""
    # Linux hands the peak of the parent on in ``ru_maxrss``; the high-water mark is the process's own.
    status = Path("/proc/self/status")
    if status.is_file():
        marks = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        if marks:
            return int(marks[0].split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def restart_peak() -> int | None:
    """Let `peak_memory` count from now on, and return the bytes that are resident now; None where that cannot be done.

    Freed memory is handed back to the system first, or what is allocated next would not show.
    """
    resettable = Path("/proc/self/clear_refs")
    if not resettable.is_file():
        return None
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        resettable.write_text("5")
    except OSError:
        return None
    return peak_memory()


def machine() -> dict[str, Any]:
    """Processor, cores, memory and operating system."""
    from tesp.machine import memory_bytes, processor_name

    return {
        "processor": processor_name(),
        "cores": cores(),
        "memory_gb": round((memory_bytes() or 0) / 2**30, 1),
        "system": platform.system(),
    }


class Report:
    """Results of a benchmark in a JSON file that is whole after every result; without a path they are kept only."""

    def __init__(self, path: str | None, benchmark: str):
        from tesp.errors import ConfigurationError
        from tesp.storage.run_folder import versions

        self._path = None if path is None else Path(path)
        if self._path is not None and (self._path.is_dir() or not self._path.resolve().parent.is_dir()):
            raise ConfigurationError(f"{path} cannot be written; give the path of a file in a folder that exists.")
        date = datetime.now(UTC).isoformat(timespec="seconds")
        self.content: dict[str, Any] = {"benchmark": benchmark, "date": date, "machine": machine()}
        self.content |= {"versions": versions(), "results": []}
        place = self.content["machine"]
        print(f"{place['processor']}, {place['cores']} cores, {place['memory_gb']} GB, {date}", flush=True)

    def add(self, result: dict) -> None:
        """Add a result and write the file."""
        self.content["results"].append(result)
        self.write()

    def write(self) -> None:
        """Write everything known so far."""
        from tesp.storage.files import write_whole

        if self._path is not None:
            write_whole(self._path, json.dumps(self.content, indent=2) + "\n")


def print_head(title: str, columns: Iterable[str]) -> None:
    """Begin a Markdown table; its rows follow as they are measured."""
    columns = list(columns)
    print(f"\n### {title}\n\n| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)


def print_row(*cells: str) -> None:
    """Print a row of the table."""
    print(f"| {' | '.join(cells)} |", flush=True)


def add_common_options(parser: argparse.ArgumentParser, repetitions: int | None = None) -> None:
    """Add the options that several benchmarks have; ``repetitions`` of those that take medians."""
    parser.add_argument("--preset", default="paper")
    if repetitions is not None:
        said = "of everything that a median is taken of"
        parser.add_argument("--repetitions", type=int, default=repetitions, help=said)
    parser.add_argument("--json", metavar="FILE", help="write the results to this file too")
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="values of the configuration other than the preset's, like horizon=20",
    )


def check_count(name: str, *values: int) -> None:
    """Refuse numbers below 1."""
    from tesp.errors import ConfigurationError

    for value in values:
        if value < 1:
            raise ConfigurationError(f"{name} = {value} is not possible; give 1 or more.")


def overrides_of(settings: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE; a value is JSON, or text where it is none."""
    from tesp.errors import ConfigurationError

    values = {}
    for setting in settings:
        name, found, text = setting.partition("=")
        if not (name and found):
            raise ConfigurationError(f"{setting!r} is not possible with --set; give NAME=VALUE, like horizon=20.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


def configuration(family: str, preset: str, overrides: Mapping[str, Any]):
    """Return the configuration of a family's preset with values replaced.

    Raises:
        ConfigurationError: The family, the preset, a name or a value is not possible.
    """
    import tesp
    from tesp.config import check_storable

    given = {name: tuple(value) if isinstance(value, list) else value for name, value in overrides.items()}
    config = tesp.preset_config(family, preset, **given)
    check_storable(config)
    return config


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes that the work of a meta-update follows from."""

    tasks: int
    episodes: int
    buffer: int
    horizon: int
    observation: int
    action: int
    embedding: int
    policy_units: tuple[int, ...]
    encoder_units: int
    fast_updates: int
    epochs: int
    early_rounds: bool

    @classmethod
    def of(cls, config, family) -> "Sizes":
        """Sizes of a configuration and its family."""
        return cls(
            tasks=config.sampling.tasks_per_update,
            episodes=config.sampling.episodes_per_round,
            buffer=config.method.experience.buffer_size,
            horizon=family.horizon,
            observation=family.observation_size,
            action=family.action_size,
            embedding=config.method.network.embedding_size,
            policy_units=tuple(config.method.network.policy_units),
            encoder_units=config.method.network.encoder_units,
            fast_updates=config.method.fast.fast_updates,
            epochs=config.method.meta.epochs,
            early_rounds=config.method.meta.early_loss_weight > 0,
        )

    @property
    def encoder_inputs(self) -> int:
        """Entries of the encoder's input: observation, action and reward."""
        return self.observation + self.action + 1

    @property
    def steps_of_a_round(self) -> int:
        """Control steps of one round of all tasks, none of whose episodes ends early."""
        return self.tasks * self.episodes * self.horizon

    @property
    def steps_sampled(self) -> int:
        """Control steps of one meta-update of TESP: the warm-up round and rounds 1…K+1."""
        return self.steps_of_a_round * (self.fast_updates + 2)


def built(task: dict) -> tuple[Any, Any, Sizes]:
    """Make the configuration, the family and the sizes of a task."""
    from tesp.building import build_family

    config = configuration(task["family"], task["preset"], task["overrides"])
    family = build_family(config)
    return config, family, Sizes.of(config, family)


def meta_updates(config, wrap: Callable = lambda simulation: simulation) -> Iterator[dict]:
    """Train from the start on all cores without evaluations; yield the record of every meta-update, with CPU-seconds.

    Args:
        config: The configuration.
        wrap: Maps the simulation to the one that is stepped.
    """
    import tesp

    tesp.use_all_cores()
    from tesp.building import build_family, build_learner
    from tesp.episodes.executor import LocalExecutor
    from tesp.evaluation.protocol import Evaluator
    from tesp.storage.checkpoint import initial_state
    from tesp.training.loop import Training, one_meta_update

    family = build_family(config)
    learner, task_sets = build_learner(config, family), family.sample_task_sets(0)
    evaluator = Evaluator(learner, family, task_sets, 0)
    training = Training(learner, family, task_sets["train"], evaluator, config.schedule, 0, {})
    executor = LocalExecutor(learner, family.horizon, lambda count: wrap(family.simulate(count)))
    state = initial_state(learner.method, 0)
    while True:
        began = process_time()
        state, record = one_meta_update(training, state, executor)
        yield record | {"cpu_seconds": process_time() - began}
