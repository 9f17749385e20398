"""Seconds and memory of meta-updates of a preset, by what they are spent on.

    python benchmarks/meta_update.py wheeled reacher2 ant [--preset paper] [--meta-updates 2] [--json FILE]
    python benchmarks/meta_update.py wheeled reacher2 --arriving 0.9

With ``--arriving`` that share of the episodes ends as those of a trained policy do: at a step drawn uniformly from 20
to 60, whatever the body does; the others go on to the horizon.

Every family runs in a process of its own, so that the peak memory is its own. The first meta-update contains
compilation and is shown beside the others; nothing else should run on the machine.
"""

import argparse
import json
import sys
import time
from dataclasses import replace

from measuring import machine, output_of, peak_memory, run

_PARTS = ("physics", "acting", "recording", "sampling", "fast_updates", "meta_update")


def main() -> None:
    """Measure the families given and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--meta-updates", type=int, default=2)
    parser.add_argument("--arriving", type=float, default=0.0, help="share of episodes that end at step 20 to 60")
    parser.add_argument("--engine", help="what simulates the reachers: mujoco or closed-form")
    parser.add_argument("--json", help="write the measurements to this file too")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.families[0], arguments)))
        return
    if not 0 <= arguments.arriving <= 1:
        parser.error(f"--arriving is {arguments.arriving}; it must be a share between 0 and 1.")
    if arguments.meta_updates < 1:
        parser.error(f"--meta-updates is {arguments.meta_updates}; it must be 1 or more.")
    results = [_in_own_process(family, arguments) for family in arguments.families]
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)
    _print(results)


def measure(family_name: str, arguments: argparse.Namespace) -> dict:
    """Run a number of meta-updates without evaluations and return what they took."""
    import tesp

    tesp.use_all_cores()
    from tesp.building import build_family, build_learner
    from tesp.errors import ConfigurationError
    from tesp.evaluation.protocol import Evaluator
    from tesp.training.checkpoint import initial_state
    from tesp.training.loop import Training, one_meta_update
    from tesp.training.run_folder import versions

    engine = {"engine": arguments.engine} if arguments.engine else {}
    config = tesp.preset_config(family_name, arguments.preset, **engine)
    family, sampling = build_family(config), config.sampling
    learner, task_sets = build_learner(config, family), family.sample_task_sets(0)
    evaluator = Evaluator(learner, family, task_sets, 0)
    training = Training(learner, family, task_sets["train"], evaluator, config.schedule, 0, {})
    simulation = family.simulate(sampling.tasks_per_update * sampling.episodes_per_round)
    if arguments.arriving:
        if simulation.compiled is not None:
            raise ConfigurationError("--arriving is not possible in closed form, where a round is sampled as a whole.")
        simulation = _ending_early(simulation, arguments.arriving)
    state, records, cpu = initial_state(learner.algorithm, learner.meta, 0), [], []
    for _ in range(arguments.meta_updates):
        began = time.process_time()
        state, record = one_meta_update(training, state, simulation)
        records.append(record)
        cpu.append(time.process_time() - began)
    return {
        "family": family_name,
        "preset": arguments.preset,
        "arriving": arguments.arriving,
        "machine": machine(),
        "versions": versions(),
        "peak_memory_gb": peak_memory() / 2**30,
        "meta_updates": [
            {"seconds": r["seconds"], "cpu_seconds": c, "steps_sampled": r["steps_sampled"]}
            | {part: r.get(f"seconds_{part}", 0.0) for part in _PARTS}
            for r, c in zip(records, cpu, strict=True)
        ],
    }


def _ending_early(simulation, share: float):
    """Wrap a simulation so that a share of the episodes ends at a step between 20 and 60."""
    import numpy as np

    from tesp.tasks.simulation import Simulation

    class EndingEarly(Simulation):
        def __init__(self):
            self._generator = np.random.default_rng(0)

        @property
        def positions(self):
            return simulation.positions

        def reset(self, tasks):
            self._left = self._generator.integers(20, 61, len(tasks))
            self._left[self._generator.uniform(size=len(tasks)) >= share] = np.iinfo(int).max
            return simulation.reset(tasks)

        def step(self, ids, actions):
            done = simulation.step(ids, actions)
            self._left[ids] -= 1
            return replace(done, terminated=done.terminated | (self._left[ids] == 0))

    return EndingEarly()


def _in_own_process(family: str, arguments: argparse.Namespace) -> dict:
    options = ["--preset", arguments.preset, "--meta-updates", str(arguments.meta_updates), "--one"]
    options += ["--arriving", str(arguments.arriving)]
    options += ["--engine", arguments.engine] if arguments.engine else []
    return output_of([sys.executable, __file__, family, *options])


def _print(results: list[dict]) -> None:
    titles = ("family", "update", "steps", "seconds", *(p.replace("_", " ") for p in _PARTS), "CPU-s", "peak GB")
    rows = [
        (
            result["family"],
            f"{number}{' (compiles)' if number == 1 else ''}",
            f"{update['steps_sampled']:,}",
            *(f"{update[part]:.1f}" for part in ("seconds", *_PARTS, "cpu_seconds")),
            f"{result['peak_memory_gb']:.2f}",
        )
        for result in results
        for number, update in enumerate(result["meta_updates"], 1)
    ]
    print("| " + " | ".join(titles) + " |")
    print("|" + " --- |" * len(titles))
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    run(main, lambda task: task)
