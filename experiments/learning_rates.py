"""The search over learning rates that every method gets alike, on a seed that no result is reported of.

Every method of a family is trained with each pair of Adam's step size and initial rate α₀ (for MAML: its fixed rate),
and judged by the return on D′ after K fast-updates at the end. Finished runs are skipped, interrupted ones continued.

    python experiments/learning_rates.py point --meta-updates 30
"""

import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

import tesp
from tesp.report.records import read_run
from tesp.task_sets import TASK_SETS

#: A seed apart from those that results are reported of.
SEED = 10


@dataclass(frozen=True)
class Arguments:
    """What to search over."""

    family: Annotated[str, tyro.conf.Positional]
    """Name of the family."""
    meta_updates: int
    """Length of a run; a decaying step size decays over this length."""
    algorithms: tuple[str, ...] = ("tesp", "maml", "meta-sgd", "adapt-sv")
    """The methods."""
    learning_rate_schedule: Literal["constant", "linear", "last_third", "adaptive"] = "constant"
    """What becomes of the step size over a run."""
    learning_rates: tuple[float, ...] = (1e-3, 2e-3)
    """Step sizes of Adam."""
    initial_rates: tuple[float, ...] = (0.001, 0.05)
    """Initial values of α, and fixed rates of MAML."""
    evaluation_tasks: int = 40
    """Tasks of each set that a run is judged by."""
    threads: int = 0
    """Threads of the physics."""
    output: Path = Path("runs/search")
    """Where the runs go."""


def main(arguments: Arguments) -> None:
    """Train what is not trained yet, then print every return, best first."""
    tesp.use_all_cores()
    scores = []
    grid = itertools.product(arguments.algorithms, arguments.learning_rates, arguments.initial_rates)
    for algorithm, learning_rate, initial_rate in grid:
        config = tesp.preset_config(
            arguments.family,
            "quick",
            algorithm,
            seed=SEED,
            learning_rate=learning_rate,
            learning_rate_schedule=arguments.learning_rate_schedule,
            initial_rate=initial_rate,
            meta_updates=arguments.meta_updates,
            evaluate_every=arguments.meta_updates,
            evaluation_tasks=arguments.evaluation_tasks,
            threads=arguments.threads,
        )
        # The length stands in the name, for a run of another length is another one.
        length = arguments.meta_updates
        folder = arguments.output / f"{arguments.family}{length}-{algorithm}-{learning_rate:g}-{initial_rate:g}"
        try:
            tesp.resume(folder) if folder.exists() else tesp.train(config, folder)
        except tesp.NonFiniteError as error:
            print(f"{folder}: {error}", flush=True)
            continue
        _, sets = read_run(folder).last_evaluation()
        returns = {name: rows[max(rows)]["average_return"] for name, rows in sets.items()}
        row = {"algorithm": algorithm, "learning_rate": learning_rate, "initial_rate": initial_rate, **returns}
        print(json.dumps(row), flush=True)
        scores.append(row)
    print("\n| method | Adam | α₀ | D | D′ | D″ |\n|---|---|---|---|---|---|")
    for row in sorted(scores, key=lambda row: (row["algorithm"], -row["in_distribution"])):
        returns = " | ".join(f"{row[name]:.1f}" for name in TASK_SETS)
        print(f"| {row['algorithm']} | {row['learning_rate']:g} | {row['initial_rate']:g} | {returns} |")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
