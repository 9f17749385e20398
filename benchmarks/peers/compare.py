"""Time to result against peers: steps per second end to end, seconds to a stated return, lines that a user writes.

Every peer is run by the interpreter of its own virtual environment, one after the other, each on one core:

    python benchmarks/peers/compare.py --environments FOLDER --json results.json
    python benchmarks/peers/compare.py --table results.json

`docs/peers.md` says how the environments are made.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

from listing import FOLDER, PEERS, Peer
from table import print_tables
from timing import MARK

#: Seconds of training on each problem, and the returns whose seconds are told; the last one ends a run.
LIMITS = {"navigation": 75.0, "half-cheetah-velocity": 45.0}
TARGETS = {"navigation": (-20.0, -15.0), "half-cheetah-velocity": (-140.0, -110.0)}

#: How much longer a process may take than its training, for evaluations on the clock's outside, in seconds.
GRACE = 300.0


def main():
    """Run the comparison, or print what one has found."""
    given = _arguments()
    if given.table:
        print_tables(json.loads(Path(given.table).read_text(encoding="utf-8")), PEERS)
        return
    content = {"benchmark": "peers", "date": datetime.now(UTC).isoformat(timespec="seconds"), "clock": given.clock}
    content |= {"machine": _machine(), "core": given.core, "targets": TARGETS, "results": []}
    for seed in given.seeds:
        for problem in given.problems:
            for name in given.peers:
                content["results"].append(_result(name, problem, seed, given))
                # Whole after every run, for a run that is broken off later costs nothing then.
                beside = Path(f"{given.json}.part")
                beside.write_text(json.dumps(content) + "\n", encoding="utf-8")
                beside.replace(given.json)
    print_tables(content, PEERS)


def _result(name: str, problem: str, seed: int, given: argparse.Namespace) -> dict:
    """Run one peer on one problem, and once more up to its first update if it keeps what it compiles."""
    peer, limit = PEERS[name], given.limit or LIMITS[problem]
    result = {"peer": name, "problem": problem, "seed": seed, "limit": limit, "lines": peer.lines(problem)}
    with tempfile.TemporaryDirectory() as cache:
        result |= run(peer, problem, seed, limit, given, cache)
        if peer.compiles and "error" not in result:
            again = run(peer, problem, seed, 0.0, given, cache)["events"]
            result["start_again"] = next((e["seconds"] for e in again if e["kind"] == "update"), None)
    told = result.get("error") or f"{len(result['events'])} events"
    print(f"{peer.name}, {problem}, seed {seed}: {told}", file=sys.stderr, flush=True)
    return result


def run(peer: Peer, problem: str, seed: int, limit: float, given: argparse.Namespace, cache: str) -> dict:
    """Run a peer's script to its end; return its events, or the last line of what it said if it failed."""
    python = interpreter(peer, given.environments)
    if not python.exists():
        return {"events": [], "error": f"There is no interpreter {peer.environment}/bin/python."}
    words = [str(python), str(FOLDER / peer.script), problem, "--seed", str(seed), "--limit", str(limit)]
    words += ["--target", str(TARGETS[problem][-1]), "--clock", given.clock]
    words += ["--method", peer.method] if peer.method else []
    began = time.time()
    process = subprocess.Popen(
        words, env=surroundings(peer, cache), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(process.pid, {given.core})
    ending = threading.Timer(4.0 * limit + GRACE, process.kill)
    ending.start()
    lines = list(process.stdout or ())
    code = process.wait()
    ending.cancel()
    events = [json.loads(line[len(MARK) :]) for line in lines if line.startswith(MARK)]
    found = {"events": events, "seconds_of_process": round(time.time() - began, 1)}
    if code or not events:
        found["error"] = reason(lines, code)
    return found


def reason(lines: list[str], code: int) -> str:
    """Return the last line that names an error, or else the last one that a process said."""
    said = [line.strip() for line in lines if line.strip() and not line.startswith(MARK)]
    errors = [line for line in said if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    return [f"exit code {code}", *said[-1:], *errors[-1:]][-1][:200]


def interpreter(peer: Peer, environments: Path) -> Path:
    """Return the interpreter that runs a peer."""
    if peer.environment is None:
        return Path(sys.executable)
    return environments / peer.environment / "bin" / "python"


def surroundings(peer: Peer, cache: str) -> dict[str, str]:
    """Return the variables of a peer's process: one thread for all, and nothing compiled before."""
    values = {**os.environ, "PEER_STARTED": repr(time.time())}
    values |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TESP_CPU_DEVICES"), "1")
    values["TESP_COMPILATION_CACHE"] = cache
    if peer.environment is not None:
        values.pop("PYTHONPATH", None)
    return values


def _machine() -> dict:
    from tesp.machine import memory_bytes, processor_name

    return {"processor": processor_name(), "memory_gb": round((memory_bytes() or 0) / 2**30, 1)}


def _arguments() -> argparse.Namespace:
    """Read the command line; what is not possible is said in one sentence, with exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    parser.add_argument("--environments", type=Path, help="folder of the peers' virtual environments")
    parser.add_argument("--json", type=Path, help="file of the results, whole after every run")
    parser.add_argument("--table", help="print the tables of such a file, and run nothing")
    parser.add_argument("--peers", nargs="+", choices=list(PEERS), default=list(PEERS))
    parser.add_argument("--problems", nargs="+", choices=list(LIMITS), default=list(LIMITS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--limit", type=float, help=f"seconds of training; by default {LIMITS}")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall", help="which seconds are meant")
    parser.add_argument("--core", type=int, choices=cores, default=cores[-1], help="the core that all run on")
    given = parser.parse_args()
    if not given.table and not (given.environments and given.json):
        parser.error("give --environments FOLDER and --json FILE, or --table FILE.")
    if given.table and not Path(given.table).is_file():
        parser.error(f"--table {given.table} is no file; give one that --json has written.")
    if given.json and not given.json.resolve().parent.is_dir():
        parser.error(f"--json {given.json} cannot be written; give a file in a folder that exists.")
    if given.limit is not None and not 0 < given.limit < float("inf"):
        parser.error(f"--limit {given.limit} is not possible; give more than 0 seconds.")
    return given


if __name__ == "__main__":
    main()
