"""What `--ray local` adds to the plain command, and how long a killed machine holds up the run that it had.

Runs of the point, at the preset `quick` but shorter. The plain command and that by Ray train the same runs in turns,
each in a folder of its own, with what was compiled kept from a first turn that is not counted. Give it an idle machine.

    python benchmarks/cluster.py
    python benchmarks/cluster.py --parts killed --turns 5
"""

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import tyro

from tesp.cluster.ray import reread_environment

#: Found dead after three times half a second.
QUICKLY = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}


@dataclass(frozen=True)
class Arguments:
    """Measure what Ray costs."""

    parts: tuple[Literal["one", "eight", "killed"], ...] = ("one", "eight", "killed")
    """One run; eight runs; a machine that is killed."""
    turns: int = 3
    """How often each is measured."""
    meta_updates: int = 10
    """Length of every run."""
    algorithm: str = "tesp"
    """The method; the oracle joins it."""
    compiled_first: bool = True
    """Take a first turn that is not counted, and compiles."""


def main(arguments: Arguments) -> None:
    """Measure, and print some lines for each part."""
    with tempfile.TemporaryDirectory(prefix="tesp-benchmark-") as folder:
        for part in arguments.parts:
            if part == "killed":
                killed(arguments, Path(folder))
            else:
                overhead(part, arguments, Path(folder))


def overhead(part: str, arguments: Arguments, folder: Path) -> None:
    """Compare the plain command with that by Ray, with both ways in which it uses all cores."""
    # The oracle alone is one run; a method and the oracle on four seeds are eight.
    chosen = ["oracle", "--seeds", "0"] if part == "one" else [arguments.algorithm, "--seeds", "0", "1", "2", "3"]
    words = ["compare", "point", "--preset", "quick", "--meta-updates", str(arguments.meta_updates)]
    words += ["--no-tensorboard", "--algorithms", *chosen]
    own_threads = {"TESP_CPU_DEVICES": "1"}
    kinds: dict[str, Callable[[], float]] = {
        "plain, a device a core": lambda: seconds(words, folder),
        "plain, JAX's own threads": lambda: seconds(words, folder, own_threads),
        "--ray local": lambda: seconds([*words, "--ray", "local"], folder),
    }
    if arguments.compiled_first:
        for measure in kinds.values():
            measure()
    taken = {name: [] for name in kinds}
    for turn in range(arguments.turns):
        for name, measure in list(kinds.items())[:: -1 if turn % 2 else 1]:
            taken[name].append(measure())
    by_ray = median(taken["--ray local"])
    for name, found in taken.items():
        middle, shown = median(found), " ".join(f"{x:.1f}" for x in found)
        print(f"{part}: {name}: {middle:.1f} s ({shown}); --ray local / this: {by_ray / middle:.2f}", flush=True)


def seconds(words: list[str], folder: Path, environment: dict[str, str] | None = None) -> float:
    """Return how long a command takes in a folder of its own."""
    output = folder / "compared"
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-m", "tesp", *words, "--output", str(output)]
    began = time.perf_counter()
    subprocess.run(command, env=os.environ | (environment or {}), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def killed(arguments: Arguments, folder: Path) -> None:
    """Kill one of two machines in the middle of its run, with room for it on the other one."""
    names = ("noticed", "begins elsewhere", "next meta-update")
    found = [one_killed(arguments, folder / f"killed{turn}") for turn in range(arguments.turns)]
    for number, name in enumerate(names):
        shown = " ".join(f"{times[number]:.1f}" for times in found)
        print(f"killed: {name} after {median(times[number] for times in found):.1f} s ({shown})", flush=True)


def one_killed(arguments: Arguments, folder: Path) -> tuple[float, ...]:
    """Return the seconds from the end of a machine until it is noticed, its run begins, and has a meta-update more."""
    folder.mkdir()
    run, shown = folder / "compared" / f"{arguments.algorithm}-seed0", folder / "shown"
    words = ["compare", "point", "--preset", "quick", "--meta-updates", "1000", "--evaluate-every", "1000"]
    words += ["--no-tensorboard", "--algorithms", arguments.algorithm, "--seeds", "0", "--max-concurrent", "1"]
    with machines() as (address, kill), shown.open("w") as file:
        command = [sys.executable, "-m", "tesp", *words, "--ray", address, "--output", str(run.parent)]
        driver = subprocess.Popen(command, stdout=file, env=os.environ | {"PYTHONUNBUFFERED": "1"})
        try:
            wait_until(lambda: trained(run) >= 3)
            kill(re.findall(r"begins on (\S+)", shown.read_text())[0])
            began, before, marks = time.perf_counter(), trained(run), []
            for is_there in (
                lambda: "lost on" in shown.read_text(),
                lambda: "goes on after" in shown.read_text(),
                lambda: trained(run) > before,
            ):
                wait_until(is_there)
                marks.append(time.perf_counter() - began)
            return tuple(marks)
        finally:
            driver.send_signal(signal.SIGTERM)
            driver.wait()


@contextlib.contextmanager
def machines() -> Iterator[tuple[str, Callable[[str], None]]]:
    """Two machines of one core and a head, all on this one; the head's address, and what kills one of them."""
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    reread_environment()
    common = {"object_store_memory": 80 * 2**20}
    head = {"num_cpus": 0, "node_ip_address": "127.0.0.2", "include_dashboard": False, "_system_config": QUICKLY}
    cluster = Cluster(initialize_head=True, head_node_args=common | head)
    nodes = {
        address: cluster.add_node(num_cpus=1, node_ip_address=address, **common)
        for address in ("127.0.0.3", "127.0.0.4")
    }
    try:
        yield cluster.address, lambda address: cluster.remove_node(nodes[address], allow_graceful=False)
    finally:
        cluster.shutdown()


def trained(run: Path) -> int:
    """Return how many meta-updates a run has recorded."""
    path = run / "records.jsonl"
    return path.read_text().count('"kind": "train"') if path.exists() else 0


def wait_until(is_there: Callable[[], bool]) -> None:
    """Wait until something is there."""
    end = time.perf_counter() + 600
    while not is_there():
        if time.perf_counter() > end:
            sys.exit("it did not happen within ten minutes")
        time.sleep(0.02)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
