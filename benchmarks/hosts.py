"""A meta-update over hosts: strong scaling as measured, and 1 to 20 hosts as simulated from measured blocks.

    python benchmarks/hosts.py wheeled reacher2 ant [--parts blocks scaling] [--json FILE] [--figure FILE]
    python benchmarks/hosts.py --from FILE [--figure FILE]

Part ``blocks`` measures, in a process with one core, what a host does with blocks of several sizes (their rounds, one
epoch's gradients, the last forward pass, adding to the sum), and what the driver does in an epoch; and between two
nodes of a Ray cluster on this machine what a call and a sum that is handed on take beyond that. Fitted lines in the
size of the block, the sizes of what travels, and a network of a stated speed make the simulation: a picture of the
clock, not of any machine.

Part ``scaling`` measures whole meta-updates after the first, in turns: this process with one core, one host with one
core, and two hosts with one core each, all on nodes of a cluster on this machine.

Part ``loss`` kills one of two nodes in the middle of a meta-update, with Ray's own health checks, and measures the time
from there to the end of this meta-update and of the next, beside those of an undisturbed one on two hosts.

Times of blocks are processor time, which on a machine that does nothing else is that of the clock. ``--from`` draws and
prints again what was measured before.
"""

import argparse
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from measuring import (
    Report,
    add_common_options,
    check_count,
    configuration,
    in_own_process,
    median,
    overrides_of,
    run,
)
from simulated_hosts import Line, draw, print_results

PARTS = ("blocks", "scaling", "loss")
#: Sizes of blocks that are measured; those between lie on a line.
BLOCKS = (1, 2, 5)


def main() -> None:
    """Measure what is asked for, print the tables and draw the figure."""
    from tesp.errors import ConfigurationError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--blocks", nargs="+", type=int, default=list(BLOCKS), help="sizes of blocks to measure")
    parser.add_argument("--from", dest="given", metavar="FILE", help="show what was measured before")
    parser.add_argument("--figure", metavar="FILE", help="draw the results into this picture")
    add_common_options(parser, repetitions=2)
    arguments = parser.parse_args()
    if bool(arguments.families) == bool(arguments.given):
        raise ConfigurationError("Give families to measure, like wheeled, or --from FILE; not both, and not neither.")
    content = json.loads(Path(arguments.given).read_text()) if arguments.given else _measured(arguments)
    print_results(content["results"])
    if arguments.figure:
        draw([r for r in content["results"] if r["part"] == "blocks"], Path(arguments.figure))


def _measured(arguments: argparse.Namespace) -> dict:
    check_count("repetitions", arguments.repetitions)
    check_count("blocks", *arguments.blocks)
    common = {"preset": arguments.preset, "overrides": overrides_of(arguments.set)}
    for family in arguments.families:
        configuration(family, **common)
    report = Report(arguments.json, "hosts")
    for family in arguments.families:
        task = {"family": family, **common, "repetitions": arguments.repetitions}
        if "blocks" in arguments.parts:
            measured = in_own_process(__file__, {**task, "part": "blocks", "blocks": arguments.blocks})
            travel = in_own_process(__file__, {"part": "travel", "bytes": measured["parameters"]})
            report.add({**task, "part": "blocks", "costs": {**measured, **travel}})
        if "scaling" in arguments.parts:
            places = [("this process", 0), ("one host", 1), ("two hosts", 2)]
            results = {name: in_own_process(__file__, {**task, "part": "scaling", "hosts": n}) for name, n in places}
            report.add({**task, "part": "scaling", "meta_updates": results})
        if "loss" in arguments.parts:
            report.add({**task, "part": "loss", **in_own_process(__file__, {**task, "part": "loss"})})
    return report.content


def _work(task: dict) -> dict:
    return {"blocks": _blocks, "travel": _travel, "scaling": _scaling, "loss": _loss}[task["part"]](task)


def _blocks(task: dict) -> dict:
    """Measure what one core does with blocks of several sizes, and the driver with their answers."""
    from tesp.devices import use_cores

    use_cores(1)
    import jax
    import numpy as np

    from tesp.building import build_family, build_learner
    from tesp.cluster.block_work import BlockWork
    from tesp.cluster.blocks import Block, Job

    config = configuration(task["family"], task["preset"], task["overrides"])
    family = build_family(config)
    learner = build_learner(config, family)
    method, meta = learner.method, config.method.meta
    work = BlockWork(family, method, learner.sampling, 1)
    parameters = jax.tree.map(np.asarray, method.parameters(method.init(jax.random.key(0))))
    tasks = family.sample_task_sets(0)["train"].tasks
    words = np.asarray(jax.random.key_data(jax.random.key(1)))
    given = parameters, np.float32(config.sampling.tasks_per_update)
    total = np.concatenate([np.ravel(x) for x in jax.tree.leaves(parameters)])
    numbers, seconds = iter(range(10**6)), {name: {} for name in ("sample", "gradient", "terms", "add")}
    for size in task["blocks"]:
        for _ in range(2):  # The first compiles.
            block = Block(0, size)
            job = Job(next(numbers), tasks, np.arange(len(tasks)), words, None, True)
            sampled = work.sample(job, parameters, block)
            answered = {}
            for question in ("gradient", "terms"):
                asked = [
                    work.ask(job, parameters, block, question, given, 0, 100) for _ in range(1 + task["repetitions"])
                ]
                answered[question] = asked[0].result
                seconds[question][size] = median(done.cpu_seconds for done in asked[1:])
                if question == "gradient":
                    seconds["add"][size] = _cpu_seconds(lambda block=block: work.add(block, total)) / size
            seconds["sample"][size] = sampled.cpu_seconds
    fitted = {name: asdict(_line(seconds[name])) for name in ("sample", "gradient", "terms")}
    return {
        "tasks": config.sampling.tasks_per_update,
        "epochs": meta.steps,
        **fitted,
        "add": median(seconds["add"].values()),
        "step": _step_seconds(method, task["repetitions"]),
        "parameters": int(total.nbytes),
        "outcomes": _bytes_of(sampled.result.outcomes) // size,
        "own": _bytes_of(answered["gradient"].own) // size,
        "measured": {name: {str(n): x for n, x in found.items()} for name, found in seconds.items()},
    }


def _bytes_of(tree) -> int:
    import jax

    return int(sum(x.nbytes for x in jax.tree.leaves(tree)))


def _cpu_seconds(function) -> float:
    from time import process_time

    began = process_time()
    function()
    return process_time() - began


def _line(seconds: dict[int, float]) -> Line:
    """Return the straight line of least squares through the times of blocks, from no negative start."""
    import numpy as np

    sizes, times = np.array(list(seconds), float), np.array(list(seconds.values()))
    if len(sizes) > 1:
        each, start = np.polyfit(sizes, times, 1)
        if start > 0:
            return Line(float(start), float(each))
    return Line(0.0, float((sizes * times).sum() / (sizes**2).sum()))


def _step_seconds(method, repetitions: int) -> float:
    """Seconds of the driver between the gradients of an epoch and the parameters of the next."""
    import jax
    import numpy as np

    from tesp.adaptation.contributions import Answer, Contributions

    state = method.init(jax.random.key(0))
    entries = sum(x.size for x in jax.tree.leaves(state.parameters))

    class Nothing(Contributions):
        count = 20

        def ask(self, question, given):
            zeros = np.zeros(self.count, np.float32)
            return Answer(np.zeros(entries, np.float32), (zeros,) * 5)

    def epochs():
        method._optimised(state.parameters, state.optimiser_state, Nothing(), 1e-4, 0.0)

    epochs()
    return median(_cpu_seconds(epochs) for _ in range(repetitions)) / method.meta.steps


@contextlib.contextmanager
def _cluster(nodes: int) -> Iterator[tuple[str, Callable[[str], None]]]:
    """Give the address of a Ray cluster of so many nodes of one core each on this machine, and what kills one."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.urandom(32).hex(), "RAY_USAGE_STATS_ENABLED": "0"}
    from ray.cluster_utils import Cluster

    common = {"object_store_memory": 2**28}
    head = {"num_cpus": 0, "node_ip_address": "127.0.0.2", "include_dashboard": False, **common}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        made = {}
        for number in range(nodes):
            place = f"127.0.0.{3 + number}"
            made[place] = cluster.add_node(num_cpus=1, node_ip_address=place, **common)
        yield cluster.address, lambda place: cluster.remove_node(made[place], allow_graceful=False)
    finally:
        cluster.shutdown()


def _travel(task: dict) -> dict:
    """Measure what a call between machines takes, and a sum that is handed from one to the next."""
    from time import perf_counter

    import numpy as np

    from tesp.cluster.ray import connect

    class Adder:
        def answer(self):
            return None

        def add(self, total):
            return total + np.float32(1.0)

    with _cluster(2) as (address, _), connect(address) as cluster:
        ray = cluster.ray
        hosts = [ray.remote(Adder).options(num_cpus=1, scheduling_strategy="SPREAD").remote() for _ in range(2)]
        total = ray.put(np.zeros(task["bytes"] // 4, np.float32))
        ray.get([host.add.remote(total) for host in hosts])
        calls, handed = [], []
        for _ in range(20):
            began = perf_counter()
            ray.get(hosts[0].answer.remote())
            calls.append(perf_counter() - began)
            began, passed = perf_counter(), total
            for index in range(10):
                passed = hosts[index % 2].add.remote(passed)
            ray.get(passed)
            handed.append((perf_counter() - began) / 10)
    return {"call": median(calls), "hand_on": median(handed)}


def _scaling(task: dict) -> dict:
    """Seconds of meta-updates after the first, on so many hosts of one core each; 0 for this process."""
    from tesp.devices import use_cores

    use_cores(1)
    from tesp.episodes.executor import LocalExecutor
    from tesp.storage.checkpoint import initial_state
    from tesp.training.loop import one_meta_update

    training = _training(task)
    learner, family = training.learner, training.family
    with contextlib.ExitStack() as stack:
        if task["hosts"]:
            from tesp.cluster.hosts import on_hosts

            address, _ = stack.enter_context(_cluster(task["hosts"]))
            executor = stack.enter_context(on_hosts(address, task["hosts"])(learner, family))
        else:
            executor = LocalExecutor(learner, family.horizon, lambda count: family.simulate(count, threads=1))
        state, records = initial_state(learner.method, 0), []
        for _ in range(1 + task["repetitions"]):
            state, record = one_meta_update(training, state, executor)
            records.append(record)
    names = ("seconds", "seconds_meta_update", "seconds_communication", "megabytes_communicated")
    return {name: median(r[name] for r in records[1:]) for name in names if name in records[0]} | {
        "average_returns": [r["average_return"] for r in records]
    }


def _training(task: dict):
    """Make all that meta-updates need, in a process that keeps what it compiles."""
    from tesp.building import build_family, build_learner
    from tesp.compilation_cache import use_compilation_cache
    from tesp.evaluation.protocol import Evaluator
    from tesp.training.loop import Training

    use_compilation_cache()
    config = configuration(task["family"], task["preset"], task["overrides"])
    family = build_family(config)
    learner, sets = build_learner(config, family), family.sample_task_sets(0)
    return Training(learner, family, sets["train"], Evaluator(learner, family, sets, 0), config.schedule, 0, {})


def _loss(task: dict) -> dict:
    """Seconds from a killed node to the end of the meta-update and of the next, beside an undisturbed one."""
    from time import perf_counter

    from tesp.devices import use_cores

    use_cores(1)
    from tesp.cluster.hosts import on_hosts
    from tesp.cluster.pool import RayPool
    from tesp.storage.checkpoint import initial_state
    from tesp.training.loop import one_meta_update

    training = _training(task)
    killed, call = [], RayPool.call
    with _cluster(2) as (address, kill), on_hosts(address, 2)(training.learner, training.family) as executor:

        def calling(pool, member, what, *given):
            answer = call(pool, member, what, *given)
            # In the second epoch of the third meta-update.
            if len(seconds) == 2 and not killed and what == "ask" and calls.append(0) is None and len(calls) == 3:
                kill(member.name)
                killed.append(perf_counter())
            return answer

        state, seconds, ends, calls = initial_state(training.learner.method, 0), [], [], []
        RayPool.call = calling
        for _ in range(4):
            began = perf_counter()
            state, _ = one_meta_update(training, state, executor)
            ends.append(perf_counter())
            seconds.append(ends[-1] - began)
    return {
        "undisturbed": seconds[1],
        "to_its_end": ends[2] - killed[0],
        "to_the_end_of_the_next": ends[3] - killed[0],
        "one_host": seconds[3],
    }


if __name__ == "__main__":
    run(main, _work)
