"""What finds the step size, and whether it matters where it begins: the full set of additions under other rules.

`found` is the preset's rule. `constant-ceiling` leaves out its falling ceiling. `two-sided` is the rule of RSL-RL and
Isaac Lab, after every meta-update instead of every minibatch: the step size is divided by 1.5 if the KL divergence of
the last step is above twice its bound, and multiplied by 1.5 if it is below half of it. `first-…` are the preset's
rule with another first step. Runs go on where they were interrupted; the table is of the records of all runs so far.

    python experiments/ablation/step_sizes.py --workers 2
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from analysis import SETS, late, markdown, mean_and_range
from stored import load_all
from sweep import Method, Planned, Processes, train
from variants import LETTERS, options_of

from tesp.cli import main as command_line
from tesp.methods.gradient import method as gradient_method

#: Rules and first steps, by the options that they change.
RULES: dict[str, dict[str, Any]] = {
    "found": {},
    "constant-ceiling": {"learning_rate_ceiling": "constant"},
    "two-sided": {},
    "first-2e-4": {"learning_rate": 2e-4},
    "first-2e-2": {"learning_rate": 2e-2},
}
#: The factor of the two-sided rule.
FACTOR = 1.5


@dataclass(frozen=True)
class Arguments:
    """Train what is not trained yet and print the table."""

    families: tuple[str, ...] = ("reacher2",)
    """The families."""
    methods: tuple[Method, ...] = ("tesp", "meta-sgd")
    """The methods."""
    seeds: tuple[int, ...] = (10, 11, 12)
    """The seeds."""
    meta_updates: int = 40
    """Length of a run."""
    evaluate_every: int = 8
    """Meta-updates between evaluations."""
    output: Path = Path("runs/step-sizes")
    """Where the runs go; their records go to `records` in it."""
    workers: int = 1
    """Runs at the same time, each a process of one thread."""
    train: bool = True
    """Train; otherwise only print the table."""


def plan(arguments: Arguments) -> list[Planned]:
    """Return all runs, seed after seed."""
    schedule = {
        "meta_updates": arguments.meta_updates,
        "evaluate_every": arguments.evaluate_every,
        "evaluation_tasks": 20,
        "threads": 1,
        "tensorboard": False,
    }
    return [
        Planned(family, method, rule, seed, {**options_of(method, LETTERS[method]), **changed, **schedule})
        for seed in arguments.seeds
        for rule, changed in RULES.items()
        for method in arguments.methods
        for family in arguments.families
    ]


def two_sided(settings, _found: float, used: float, kl: np.ndarray) -> float:
    """Return the next step size by the rule of RSL-RL; the same arguments as `tesp.adaptation.step_size.following`."""
    low, high = settings.learning_rate_range
    if not kl[-1] <= 2 * settings.kl_bound:  # Also where it is not a number.
        return max(used / FACTOR, low)
    return min(used * FACTOR, high) if kl[-1] < settings.kl_bound / 2 else used


class WithRules(Processes):
    """Children of which those of the two-sided rule are started by this file."""

    def command(self, words: list[str], log: Path) -> list[str]:
        """Return the whole command."""
        if "-two-sided-" in log.name:
            return [sys.executable, __file__, "two-sided", shlex.join(words)]
        return super().command(words, log)


def table(records: Path) -> str:
    """Return the table of what is stored."""
    runs = load_all(records)
    rows = [["family, method, rule", "n", *SETS.values(), *(f"{name}, last quarter" for name in SETS.values())]]
    for key in dict.fromkeys((run.family, run.method, rule) for run in runs for rule in RULES):
        members = [run for run in runs if run.finished and run.name.startswith("-".join(key) + "-seed")]
        if members:
            end = [{cell: run.returns[run.length][cell, run.fast_updates] for cell in SETS} for run in members]
            last = [late(run, run.length) for run in members]
            cells = [mean_and_range([reading[cell] for reading in end]) for cell in SETS]
            cells += [
                mean_and_range([reading[cell, run.fast_updates] for reading, run in zip(last, members, strict=True)])
                for cell in SETS
            ]
            rows.append([", ".join(key), str(len(members)), *cells])
    return markdown(rows)


def main(arguments: Arguments) -> int:
    """Train and print; return the exit code of the training."""
    records = arguments.output / "records"
    code = train(plan(arguments), arguments.output, records, arguments.workers, WithRules()) if arguments.train else 0
    print(table(records))
    return code


if __name__ == "__main__":
    if sys.argv[1:2] == ["two-sided"]:
        gradient_method.following = two_sided
        sys.exit(command_line(shlex.split(sys.argv[2])))
    sys.exit(main(tyro.cli(Arguments)))
