"""Processor time of storing a run's state: a checkpoint, and the file of the newest state, by turns.

python benchmarks/checkpoints.py point reacher2 [--preset quick] [--repetitions 20] [--json FILE]
"""

import argparse
import tempfile
from pathlib import Path
from time import process_time

from measuring import (
    Report,
    add_common_options,
    built,
    check_count,
    in_own_process,
    median,
    overrides_of,
    print_head,
    print_row,
    run,
)


def main() -> None:
    """Measure the families given and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="+")
    add_common_options(parser, repetitions=20)
    arguments = parser.parse_args()
    check_count("repetitions", arguments.repetitions)
    report = Report(arguments.json, "checkpoints")
    print_head("Storing a state", ("family", "numbers", "checkpoint, CPU-ms", "newest state, CPU-ms", "ratio"))
    for family in arguments.families:
        common = {"preset": arguments.preset, "overrides": overrides_of(arguments.set)}
        task = {"family": family, **common, "repetitions": arguments.repetitions}
        result = {**task, **in_own_process(__file__, task)}
        report.add(result)
        both = result["checkpoint"], result["newest"]
        print_row(family, f"{result['numbers']:,}", *(f"{x:.1f}" for x in both), f"{both[0] / both[1]:.0f}")


def storing(task: dict) -> dict:
    """Milliseconds of processor time of both, and the numbers that a state holds."""
    import jax
    import numpy as np

    from tesp.building import build_learner
    from tesp.storage.checkpoint import Checkpoints, initial_state

    config, family, _ = built(task)
    state = initial_state(build_learner(config, family).method, 0)
    spent: dict[str, list[float]] = {"checkpoint": [], "newest": []}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "checkpoints")
        # The first turn imports.
        for number in range(task["repetitions"] + 1):
            for name, store in (("newest", checkpoints.save_newest), ("checkpoint", checkpoints.save)):
                began = process_time()
                store(state._replace(meta_update=number))
                spent[name].append(1e3 * (process_time() - began))
        checkpoints.close()
    numbers = sum(int(np.size(leaf)) for leaf in jax.tree.leaves(state))
    return {"numbers": numbers, **{name: median(values[1:]) for name, values in spent.items()}}


if __name__ == "__main__":
    run(main, storing)
