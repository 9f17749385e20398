"""Seconds that a shared policy takes to act, by how it takes the embedding.

    python benchmarks/acting.py [--tasks 20] [--episodes 20] [--units 64-64 256-256] [--steps 100] [--json FILE]

Policies that concatenate the embedding to every observation and policies that it modulates act in turns, on all rows
of a round at once, as `tesp.acting.Actor` is called while a round is sampled step by step. What depends on the
embedding alone is computed before, once per round, and is not part of the time. Nothing else should run on the machine.
"""

import argparse
import json
from pathlib import Path

from measuring import alternately, median, run

#: What the observations, actions and embeddings of the policies have for entries: those of the larger reacher.
OBSERVATION, ACTION = 14, 4
KINDS = ("concatenate", "modulate")


def main() -> None:
    """Measure all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, what in (
        ("tasks", 20, "tasks of a round"),
        ("episodes", 20, "episodes of every task"),
        ("embedding", 8, "entries of the embedding"),
        ("steps", 100, "calls that are timed together"),
        ("repetitions", 7, "turns"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} (default {default})")
    parser.add_argument("--units", nargs="+", default=["64-64", "256-256"], help="units of the hidden layers")
    parser.add_argument("--json", help="write the measurements to this file too")
    arguments = parser.parse_args()
    for name in ("tasks", "episodes", "embedding", "steps", "repetitions"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} is {getattr(arguments, name)}; it must be 1 or more.")
    results = [measure(units_of(word, parser), arguments) for word in arguments.units]
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    _print(results)


def units_of(word: str, parser: argparse.ArgumentParser) -> tuple[int, ...]:
    """Read the units of the hidden layers, written like 64-64."""
    sizes = word.split("-")
    if not all(size.isdecimal() and int(size) for size in sizes):
        parser.error(f"--units has {word!r}; it must be numbers of 1 or more, like 64-64.")
    return tuple(map(int, sizes))


def measure(units: tuple[int, ...], arguments: argparse.Namespace) -> dict:
    """Return seconds per call of both kinds of policy, all turns and their medians."""
    acting = {kind: acting_round(kind, units, arguments) for kind in KINDS}
    turns = alternately(acting, arguments.repetitions)
    seconds = {kind: [spent / arguments.steps for spent in turns[kind]] for kind in KINDS}
    pairs = zip(seconds["modulate"], seconds["concatenate"], strict=True)
    return {
        "units": units,
        "rows": arguments.tasks * arguments.episodes,
        "seconds": seconds,
        "medians": {kind: median(seconds[kind]) for kind in KINDS},
        "ratio": median(modulated / concatenated for modulated, concatenated in pairs),
    }


def acting_round(kind: str, units: tuple[int, ...], arguments: argparse.Namespace):
    """Return a function that acts for a number of steps on all rows of a round."""
    import jax
    import numpy as np

    from tesp.episodes.actor import Actor
    from tesp.networks.policy import CONDITIONINGS

    generator, rows = np.random.default_rng(0), np.arange(arguments.tasks * arguments.episodes)
    policy = CONDITIONINGS[kind].create(jax.random.key(0), OBSERVATION, arguments.embedding, ACTION, units)
    embedding = generator.normal(size=(arguments.tasks, arguments.embedding)).astype(np.float32)
    act = Actor(False, policy, jax.numpy.asarray(embedding), arguments.episodes)
    observation, noise = (generator.normal(size=(len(rows), n)).astype(np.float32) for n in (OBSERVATION, ACTION))

    def many_steps() -> None:
        for _ in range(arguments.steps):
            act(rows, observation, noise)

    return many_steps


def _print(results: list[dict]) -> None:
    print("| units | rows | concatenate, ms | modulate, ms | modulate / concatenate |")
    print("|---|---|---|---|---|")
    for result in results:
        units = " ".join(map(str, result["units"]))
        ours = " | ".join(f"{1000 * result['medians'][kind]:.3f}" for kind in KINDS)
        print(f"| {units} | {result['rows']} | {ours} | {result['ratio']:.2f} |")


if __name__ == "__main__":
    run(main, lambda task: task)
