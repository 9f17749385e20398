"""Sampling half cheetahs: the family of the library, stepped as one batch, beside Gymnasium's environments one by one.

``python benchmarks/classic.py`` prints control steps a second of processor time, with random actions on one thread.
"""

import argparse
import runpy
from functools import partial
from pathlib import Path
from time import process_time

import measuring

EXAMPLE = Path(__file__).parents[1] / "examples" / "half_cheetah_velocity.py"


def steps_per_second(family, count: int, steps: int) -> float:
    """Return control steps a second of processor time of ``count`` episodes at once; how they begin is not counted."""
    import numpy as np

    simulation = family.simulate(count, threads=1)
    generator = np.random.default_rng(0)
    tasks, ids = np.stack([family.draw_task(generator) for _ in range(count)]), np.arange(count)
    if hasattr(simulation, "reset"):
        simulation.reset(tasks)
        advance = partial(simulation.step, ids)
    else:
        simulation.start(ids, tasks, ids)
        simulation.start_waiting()
        advance = simulation.step
    actions = generator.uniform(-1.0, 1.0, (steps + 1, count, family.action_size))
    advance(actions[0])
    began = process_time()
    for action in actions[1:]:
        advance(action)
    seconds = process_time() - began
    simulation.close()
    return count * steps / seconds


def main() -> None:
    """Measure both in turns and print the best of each, and their ratio."""
    from tesp.tasks.registry import make_family

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60, help="episodes at once")
    parser.add_argument("--steps", type=int, default=100, help="control steps of each")
    parser.add_argument("--repeats", type=int, default=5, help="measurements, of which the best counts")
    given = parser.parse_args()
    for name in ("count", "steps", "repeats"):
        if getattr(given, name) < 1:
            raise measuring.MeasurementError(f"--{name} is {getattr(given, name)}; it must be at least 1.")
    families = {
        "half-cheetah-velocity-v1": make_family("half-cheetah-velocity-v1"),
        "HalfCheetah-v5 one by one": runpy.run_path(str(EXAMPLE))["half_cheetah_velocity"],
    }
    best = dict.fromkeys(families, 0.0)
    for _ in range(given.repeats):
        for name, family in families.items():
            best[name] = max(best[name], steps_per_second(family, given.count, given.steps))
    for name, rate in best.items():
        print(f"{name:28} {rate:10,.0f} control steps a second of processor time")
    batch, single = best.values()
    print(f"{'ratio':28} {batch / single:10.1f}")


if __name__ == "__main__":
    measuring.run(main, lambda _: {})
