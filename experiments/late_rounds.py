"""What rounds of N·H steps change late in training: a trained run goes on twice, with either `round_budget`.

    tesp train reacher2 --preset quick --seed 10 --meta-updates 60 --output runs/late
    python experiments/late_rounds.py runs/late

The run that is given stays as it is. Continuations that exist already are gone on with.
"""

import os
import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console

import tesp
from tesp import runs
from tesp.config import as_dict, from_json, override
from tesp.report.records import read_run
from tesp.runs.stored import stored_config
from tesp.storage.files import write_whole
from tesp.storage.identity import FIELD
from tesp.storage.run_folder import RunFolder
from tesp.storage.strict_json import dumps

BUDGETS = ("episodes", "steps")
SETS = ("train", "in_distribution", "out_of_distribution")


def continued(run: Path, folder: Path, budget: str, meta_updates: int, evaluate_every: int) -> None:
    """Train a copy of a run on with a round budget."""
    wanted = override(
        from_json((run / "config.json").read_text(encoding="utf-8")), round_budget=budget, evaluate_every=evaluate_every
    )
    wanted = override(wanted, meta_updates=wanted.schedule.meta_updates + meta_updates)
    if folder.exists():
        if wanted != from_json((folder / "config.json").read_text(encoding="utf-8")):
            raise tesp.RunFolderError(f"{folder} continues another run, or this one otherwise; give another --output.")
    else:
        beside = folder.with_name(f".{folder.name}")
        shutil.rmtree(beside, ignore_errors=True)
        shutil.copytree(run, beside)
        own = {FIELD: RunFolder(run).identity} if RunFolder(run).identity else {}
        write_whole(beside / "config.json", dumps({**own, **as_dict(wanted)}, 2) + "\n")
        os.replace(beside, folder)
    runs.resume(folder, Console())


def row(folder: Path, done: int) -> str:
    """Return a row of the table: what a meta-update takes, and the returns before and during the continuation."""
    run = read_run(folder)
    trained = [record for record in run.records["train"] if record["meta_update"] > done]
    steps, seconds = (np.mean([record[name] for record in trained]) for name in ("steps_sampled", "seconds_cpu"))
    found, last = run.evaluations(), run.fast_updates
    updates = sorted({update for update, _, _ in found if update >= done})
    cells = [" / ".join(f"{found[update, name, last]['average_return']:.1f}" for name in SETS) for update in updates]
    return f"| {folder.name} | {steps:,.0f} | {seconds:.1f} | {' | '.join(cells)} |"


def main(
    run: Annotated[Path, tyro.conf.Positional],
    meta_updates: int = 20,
    evaluate_every: int = 5,
    output: Path = Path("runs/late-rounds"),
) -> None:
    """Continue a finished run with either budget of a round and print a table.

    Args:
        run: The run's folder.
        meta_updates: How many more.
        evaluate_every: Meta-updates between evaluations.
        output: Where the two continuations go.
    """
    done = stored_config(RunFolder.open(run)).schedule.meta_updates
    output.mkdir(parents=True, exist_ok=True)
    for budget in BUDGETS:
        continued(run, output / budget, budget, meta_updates, evaluate_every)
    print(
        "| round_budget | steps a meta-update | CPU seconds a meta-update | D / D′ / D″ after 0, … more meta-updates |"
    )
    for budget in BUDGETS:
        print(row(output / budget, done))


if __name__ == "__main__":
    tesp.use_all_cores()
    tyro.cli(main)
