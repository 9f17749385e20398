"""``tesp evaluate``."""

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from rich.console import Console

from tesp.commands.elsewhere import HostArguments, elsewhere_of
from tesp.commands.parsing import Folder, Oracles, Trust, parse, with_value
from tesp.commands.showing import print_table
from tesp.errors import ConfigurationError, LocatedError, TespError
from tesp.progress import ProgressBar
from tesp.task_sets import TASK_SETS


@dataclass(frozen=True)
class EvaluateArguments:
    """Evaluate a run on D, D′ and D″ after k = 0…K fast-updates."""

    run: Folder
    """The run folder."""
    checkpoint: str = "best"
    """`best` (highest return on D′), `latest`, a number of meta-updates, or `all` checkpoints that were kept."""
    dynamics_noise: tuple[float, ...] = (0.0,)
    """σ of noise N(0, σ²) that is added to the state after every control step; one evaluation for each."""
    oracle: Oracles = ()
    trust: Trust = False
    on: tyro.conf.OmitArgPrefixes[HostArguments] = field(default_factory=HostArguments)
    """Where the tasks are worked on."""


def run(arguments: list[str], console: Console) -> None:
    """Evaluate checkpoints and append the records."""
    from tesp import runs
    from tesp.tasks.state_noise import checked_noise

    parsed = parse(EvaluateArguments, with_value(arguments, "--ray", "local"), "tesp evaluate")
    noises = [checked_noise(sigma) for sigma in parsed.dynamics_noise]
    if not noises:
        raise ConfigurationError("--dynamics-noise needs one number or more, for instance 0 0.01 0.05 0.1.")
    elsewhere = elsewhere_of(parsed.on, console, learning=False)
    checkpoints = runs.checkpoint_numbers(parsed.run) if parsed.checkpoint == "all" else [parsed.checkpoint]
    run = runs.load_run(parsed.run, checkpoints[0], trust=parsed.trust)
    if any(noises):
        # Refused here rather than after the evaluations without noise.
        run.family.simulate(1).disturb(max(noises), (0,))
    total = len(checkpoints) * len(noises) * len(TASK_SETS)
    with contextlib.ExitStack() as stack:
        executor = None if elsewhere is None else stack.enter_context(elsewhere(run.learner, run.family))
        bar = stack.enter_context(ProgressBar(console, "evaluating", total, "task sets"))
        failure = _evaluate_all(run, executor, checkpoints, noises, parsed.oracle, console, bar)
    if failure is not None:
        raise failure


def _evaluate_all(
    run, executor, checkpoints, noises, oracle: Sequence[Path], console: Console, bar: ProgressBar
) -> LocatedError | None:
    """Evaluate every checkpoint under every σ; return the last error among those that were left out."""
    failure, references, done = None, {}, 0
    for checkpoint in checkpoints:
        run = run.at(checkpoint)
        for sigma in noises:
            try:
                if sigma not in references:
                    references[sigma] = _references(run, sigma, oracle)
                _evaluate_once(run, executor, sigma, references[sigma], console, bar)
            except LocatedError as error:
                failure = error
                console.print(f"σ = {sigma:g}, meta-update {run.state.meta_update}: {error}", markup=False)
            done += len(TASK_SETS)
            bar.update(done)
    return failure


def _references(run, sigma: float, named: Sequence[Path]):
    """Return the records of standing still, and the oracle as a run or None: both on the run's tasks and under σ."""
    from tesp.config import of_today
    from tesp.report.oracles import oracle_folders
    from tesp.report.records import RunRecords
    from tesp.runs.stored import run_of_today

    still = [{"kind": "reference", "reference": "stand_still", **row} for row in run.stand_still(sigma)]
    told = RunRecords(run.folder.path.name, of_today(run.folder.read_config()), {})
    (place,) = oracle_folders([run.folder.path], [told], named, run_of_today)
    if place is None:
        return still, None
    try:
        return still, _evaluated_oracle(place, sigma)
    except (TespError, OSError):
        # What merely lies beside the run may be damaged in ways that its records do not show.
        if named:
            raise
        return still, None


def _evaluated_oracle(folder: Path, sigma: float):
    """Evaluate an oracle: its own records are of fewer tasks perhaps, and without noise."""
    from tesp import runs
    from tesp.report.records import read_run

    told = runs.load_run(folder, "latest")
    last = [{"kind": "evaluation", "meta_update": told.state.meta_update, **row} for row in told.evaluate(sigma)]
    return dataclasses.replace(read_run(folder), records={"evaluation": last})


def _evaluate_once(run, executor, sigma: float, references, console: Console, bar: ProgressBar) -> None:
    """Evaluate a checkpoint, append the records, and show them beside both references."""
    from tesp.report.records import RunRecords
    from tesp.storage.records import append_records

    console.print(f"evaluating the checkpoint of meta-update {run.state.meta_update} …", markup=False)
    identity = {name: getattr(run.config, name) for name in ("family", "algorithm", "seed")}
    common = {
        "meta_update": run.state.meta_update,
        "environment_steps": run.state.environment_steps,
        "wall_seconds": round(run.state.wall_seconds, 3),
    }
    where = f"meta-update {run.state.meta_update}, noise {sigma:g}"
    evaluated = run.evaluate(sigma, lambda task_set: bar.advance(status=f"{where}, {task_set}"), executor)
    rows = [{"kind": "evaluation", **identity, **common, **row} for row in evaluated]
    run.folder.require_no_links()
    append_records(run.folder.evaluations, rows)
    still, oracle = references
    config = run.folder.read_config()
    drawn = RunRecords(run.folder.path.name, config, {"evaluation": rows, "reference": still})
    print_table(drawn, run.folder.path, console, f"σ = {sigma:g}" if sigma else None, oracle)
