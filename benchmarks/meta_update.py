"""Seconds and memory of meta-updates of a preset, by what they are spent on.

    python benchmarks/meta_update.py wheeled reacher2 ant [--preset paper] [--meta-updates 2] [--json FILE]
    python benchmarks/meta_update.py wheeled reacher2 --arriving 0.9
    python benchmarks/meta_update.py reacher2 --set engine=closed-form

With ``--arriving`` that share of the episodes ends as those of a trained policy do: at a step drawn uniformly from 20
to 60, whatever the body does; the others go on to the horizon.

Every family runs in a process of its own, so that the peak memory is its own. The first meta-update contains
compilation and is shown beside the others; nothing else should run on the machine.
"""

import argparse
from dataclasses import replace
from itertools import islice

from measuring import (
    Report,
    add_common_options,
    check_count,
    configuration,
    in_own_process,
    meta_updates,
    overrides_of,
    peak_memory,
    print_head,
    print_row,
    run,
)

_PARTS = ("physics", "acting", "recording", "sampling", "fast_updates", "meta_update")


def main() -> None:
    """Measure the families given and print a table."""
    from tesp.errors import ConfigurationError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+")
    parser.add_argument("--meta-updates", type=int, default=2)
    parser.add_argument("--arriving", type=float, default=0.0, help="share of episodes that end at step 20 to 60")
    add_common_options(parser)
    arguments = parser.parse_args()
    check_count("meta_updates", arguments.meta_updates)
    if not 0 <= arguments.arriving <= 1:
        raise ConfigurationError(f"arriving = {arguments.arriving} is not possible; give a share between 0 and 1.")
    common = {"preset": arguments.preset, "overrides": overrides_of(arguments.set)}
    for family in arguments.families:
        configuration(family, **common)
    report = Report(arguments.json, "meta_update")
    names = ("seconds", *(f"seconds_{part}" for part in _PARTS), "cpu_seconds")
    print_head("Meta-updates", ("family", "update", "steps", "seconds", *_PARTS, "CPU-s", "peak GB"))
    for family in arguments.families:
        task = {"family": family, **common, "updates": arguments.meta_updates, "arriving": arguments.arriving}
        result = {**task, **in_own_process(__file__, task)}
        report.add(result)
        for number, update in enumerate(result["meta_updates"], 1):
            cells = (f"{number}{' (compiles)' if number == 1 else ''}", f"{update['steps_sampled']:,}")
            seconds = (f"{update.get(name, 0.0):.1f}" for name in names)
            print_row(family, *cells, *seconds, f"{result['peak_memory_gb']:.2f}")


def _work(task: dict) -> dict:
    """Run a number of meta-updates without evaluations and return what they took."""
    config = configuration(task["family"], task["preset"], task["overrides"])
    updates = meta_updates(config, lambda simulation: _ending_early(simulation, task["arriving"]))
    measured = [
        {name: value for name, value in record.items() if "seconds" in name or name == "steps_sampled"}
        for record in islice(updates, task["updates"])
    ]
    return {"meta_updates": measured, "peak_memory_gb": peak_memory() / 2**30}


def _ending_early(simulation, share: float):
    """Wrap a simulation so that a share of the episodes ends at a step between 20 and 60."""
    import numpy as np

    from tesp.errors import ConfigurationError
    from tesp.tasks.simulation import Simulation

    if not share:
        return simulation
    if simulation.compiled is not None:
        raise ConfigurationError("--arriving is not possible in closed form, where a round is sampled as a whole.")

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


if __name__ == "__main__":
    run(main, _work)
