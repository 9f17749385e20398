"""The command line: ``tesp train | resume | evaluate | adapt | compare | plot | list``."""

import argparse
import dataclasses
import errno
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from tesp.cli_arguments import (
    AdaptArguments,
    CompareArguments,
    EvaluateArguments,
    ListArguments,
    PlotArguments,
    ResumeArguments,
)
from tesp.devices import use_all_cores
from tesp.errors import ConfigurationError, NonFiniteError, TespError

_USAGE = """usage: tesp COMMAND …

  tesp train FAMILY [--preset quick|paper] [--seed N] [--output DIR] …   meta-train; `tesp train FAMILY --help`
  tesp resume RUN                           continue an interrupted run
  tesp evaluate RUN [--checkpoint best]     returns on D, D′ and D″ after 0…K fast-updates
  tesp adapt RUN --goal X Y                 adapt to one task it has never seen
  tesp compare FAMILY [--seeds 0 1 2] …     train several methods alike; one table, one figure
  tesp plot RUN… [--x meta_updates]         draw learning curves and more
  tesp list [DIR]                           families, presets and runs
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 (numbers went wrong), 2 (input), 130 (Ctrl-C)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    console = Console(highlight=False, soft_wrap=True)
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    if not given or given[0] in ("-h", "--help", "help"):
        console.print(_USAGE, markup=False)
        return 0 if given else 2
    command, *rest = given
    if command not in _COMMANDS:
        errors.print(f"tesp: there is no command {command!r}; known are: {', '.join(_COMMANDS)}.", markup=False)
        return 2
    try:
        use_all_cores()
        _COMMANDS[command](rest, console)
    except TespError as error:
        errors.print(f"tesp: {error}", markup=False)
        return 1 if isinstance(error, NonFiniteError) else 2
    except KeyboardInterrupt:
        errors.print(
            "tesp: interrupted; `tesp resume RUN` continues a training run from its checkpoint, and the same command "
            "given again a comparison."
        )
        return 130
    except Exception as error:
        if _disk_is_full(error):
            errors.print(
                "tesp: the disk is full. What was stored before is whole; free some space and continue a training "
                "run with `tesp resume RUN`."
            )
        elif isinstance(error, OSError) and error.filename is not None:
            errors.print(f"tesp: {error.filename} cannot be used: {error.strerror}.", markup=False)
        else:
            raise
        return 2
    return 0


def _disk_is_full(error: BaseException | None) -> bool:
    while error is not None:
        # Checkpoints are written by a library that reports the system's message inside its own exceptions.
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _train(arguments: list[str], console: Console) -> None:
    from tesp import config as configuration
    from tesp import runs

    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", default="paper")
    first.add_argument("--algorithm", default="tesp")
    if not arguments or arguments[0].startswith("-"):
        if set(arguments) & {"-h", "--help"}:
            arguments = ["point", *arguments]
        else:
            raise ConfigurationError(
                "`tesp train` needs the name of a family first, for instance `tesp train point --preset quick`; "
                "`tesp list` shows all."
            )
    family, *options = arguments
    chosen = first.parse_known_args(options)[0]
    default = configuration.preset_config(family, chosen.preset, chosen.algorithm)

    @dataclass(frozen=True)
    class TrainArguments:
        config: tyro.conf.OmitArgPrefixes[configuration.Config] = default
        """Everything that determines the result."""
        output: Path | None = None
        """The run folder to make; by default runs/FAMILY-ALGORITHM-PRESET-seedSEED."""

    parsed = _parse(TrainArguments, options, f"tesp train {family}", "Meta-train on a family of tasks.")
    folder = parsed.output or runs.default_output(parsed.config)
    console.print(f"run folder: {folder}", markup=False)
    run = runs.train(parsed.config, folder, console)
    _finish(run.folder.path, console)


def _compare(arguments: list[str], console: Console) -> None:
    from tesp import compare
    from tesp.config import override, preset_config

    if not arguments or (arguments[0].startswith("-") and not set(arguments) & {"-h", "--help"}):
        raise ConfigurationError("`tesp compare` needs the name of a family first, for instance `tesp compare point`.")
    family, *options = arguments if not arguments[0].startswith("-") else ["FAMILY", *arguments]
    description = (
        "Train several methods alike on several seeds. Takes the options of `tesp train` too, for all methods; "
        "`tesp train FAMILY --help` lists them."
    )
    program = f"tesp compare {family}"
    chosen, others = tyro.cli(
        CompareArguments, args=options, prog=program, description=description, return_unknown_args=True
    )
    if not (chosen.algorithms and chosen.seeds):
        raise ConfigurationError("`tesp compare` needs one algorithm and one seed or more.")
    words = {word.partition("=")[0].replace("--no-", "--") for word in others}
    if words & {"--algorithm", "--seed"}:
        raise ConfigurationError("`tesp compare` takes --algorithms and --seeds, not --algorithm and --seed.")
    if words & {"--buffer", "--adapt-policy", "--fast-update", "--fixed-rate", "--extra-episodes"}:
        raise ConfigurationError(
            "`tesp compare` takes ablations by name (--algorithms tesp tesp-v1 …) and --equal-experience instead of "
            "--extra-episodes."
        )
    configs = []
    for algorithm in compare.with_oracle(chosen.algorithms):
        # Parsed as TESP's, which refuses least; what the algorithm's name stands for is put back afterwards.
        default = override(preset_config(family, chosen.preset, algorithm), algorithm="tesp")
        config = tyro.cli(tyro.conf.OmitArgPrefixes[type(default)], args=others, prog=program, default=default)
        config = compare.as_algorithm(config, algorithm)
        if chosen.equal_experience:
            config = compare.at_equal_experience(config)
        configs += [dataclasses.replace(config, seed=seed) for seed in dict.fromkeys(chosen.seeds)]
    output = chosen.output or compare.default_output(family, chosen.preset)
    console.print(f"folder of the comparison: {output}", markup=False)
    for path in compare.compare(configs, output, console):
        console.print(f"written: {path}", markup=False)


def _resume(arguments: list[str], console: Console) -> None:
    from tesp import runs

    parsed = _parse(ResumeArguments, arguments, "tesp resume")
    console.print(f"run folder: {parsed.run}", markup=False)
    run = runs.resume(parsed.run, console)
    _finish(run.folder.path, console)


def _finish(folder: Path, console: Console) -> None:
    """Show where the run ended: the table and the figures."""
    from tesp.plotting.references import oracle_beside

    run = _drawn_run(folder)
    _print_table(run, folder, console, oracle=oracle_beside(folder, run))
    _draw([folder], "meta_updates", folder / "figures", console)


def _print_table(run, folder: Path, console: Console, title: str | None = None, oracle=None) -> None:
    from tesp.plotting.references import is_oracle
    from tesp.plotting.tables import evaluation_rows, rich_table

    console.print(rich_table(evaluation_rows(run, oracle=oracle), title))
    if oracle is None and not is_oracle(run):
        console.print(f"for the oracle: {_oracle_command(folder, run.config)}", markup=False)


def _oracle_command(folder: Path, config) -> str:
    """Return the command that trains the oracle on the tasks of a run, beside it."""
    from tesp.config import preset_config, value_of
    from tesp.runs import default_output

    oracle = preset_config(config["family"], config["preset"], "oracle", seed=config["seed"])
    words = ["tesp", "train", config["family"], "--preset", config["preset"], "--algorithm", "oracle"]
    words += ["--seed", config["seed"]]
    given = {**config["task"], "meta_updates": config["schedule"]["meta_updates"], **config["network"]}
    for name in (*config["task"], "meta_updates", "policy_units"):
        if given[name] != (list(own) if isinstance(own := value_of(oracle, name), tuple) else own):
            value = given[name]
            words += [f"--{name.replace('_', '-')}", *(value if isinstance(value, list) else [value])]
    if folder.parent != default_output(oracle).parent:
        words += ["--output", folder.resolve().parent / default_output(oracle).name]
    return shlex.join(map(str, words))


def _evaluate(arguments: list[str], console: Console) -> None:
    from tesp import runs
    from tesp.tasks.state_noise import checked_noise

    parsed = _parse(EvaluateArguments, arguments, "tesp evaluate")
    noises = [checked_noise(sigma) for sigma in parsed.dynamics_noise]
    if not noises:
        raise ConfigurationError("--dynamics-noise needs one number or more, for instance 0 0.01 0.05 0.1.")
    checkpoints = runs.checkpoint_numbers(parsed.run) if parsed.checkpoint == "all" else [parsed.checkpoint]
    run = runs.load_run(parsed.run, checkpoints[0])
    if any(noises):
        # Refused here rather than after the evaluations without noise.
        run.family.simulate(1).disturb(max(noises), (0,))
    failure, references = None, {}
    for checkpoint in checkpoints:
        run = run.at(checkpoint)
        for sigma in noises:
            try:
                if sigma not in references:
                    references[sigma] = _references(run, sigma)
                _evaluate_once(run, sigma, references[sigma], console)
            except NonFiniteError as error:
                failure = error
                console.print(f"σ = {sigma:g}, meta-update {run.state.meta_update}: {error}", markup=False)
    if failure is not None:
        raise failure


def _references(run, sigma: float):
    """Return the records of standing still, and the oracle as a run or None: both on the run's tasks and under σ."""
    from tesp import runs
    from tesp.plotting.records import Run
    from tesp.plotting.references import oracle_beside

    still = [{"kind": "reference", "reference": "stand_still", **row} for row in run.stand_still(sigma)]
    config = json.loads(run.folder.read_config())
    oracle = oracle_beside(run.folder.path, Run(run.folder.path.name, config, {}))
    if oracle is not None:
        # Its own records are of fewer tasks perhaps, and without noise.
        told = runs.load_run(run.folder.path.resolve().parent / oracle.name, "latest")
        last = [{"kind": "evaluation", "meta_update": told.state.meta_update, **row} for row in told.evaluate(sigma)]
        oracle = dataclasses.replace(oracle, records={"evaluation": last})
    return still, oracle


def _evaluate_once(run, sigma: float, references, console: Console) -> None:
    """Evaluate a checkpoint, append the records, and show them beside both references."""
    from tesp.plotting.records import Run
    from tesp.training.run_folder import append_records

    console.print(f"evaluating the checkpoint of meta-update {run.state.meta_update} …", markup=False)
    identity = {name: getattr(run.config, name) for name in ("family", "algorithm", "seed")}
    common = {
        "meta_update": run.state.meta_update,
        "environment_steps": run.state.environment_steps,
        "wall_seconds": round(run.state.wall_seconds, 3),
    }
    rows = [{"kind": "evaluation", **identity, **common, **row} for row in run.evaluate(sigma)]
    append_records(run.folder.evaluations, rows)
    still, oracle = references
    config = json.loads(run.folder.read_config())
    drawn = Run(run.folder.path.name, config, {"evaluation": rows, "reference": still})
    _print_table(drawn, run.folder.path, console, f"σ = {sigma:g}" if sigma else None, oracle)


def _adapt(arguments: list[str], console: Console) -> None:
    from tesp import runs
    from tesp.adapt import adapt_to_task, adaptation_records
    from tesp.plotting.trajectories import plot_trajectories
    from tesp.training.run_folder import append_records

    parsed = _parse(AdaptArguments, arguments, "tesp adapt")
    run = runs.load_run(parsed.run, parsed.checkpoint)
    adaptation = adapt_to_task(run.learner, run.parameters, run.family, parsed.goal, parsed.seed)
    records = adaptation_records(adaptation, run.family, parsed.goal)
    append_records(run.folder.adaptations, records)
    table = Table(title=f"goal ({', '.join(f'{x:g}' for x in parsed.goal)})")
    for title in ("after", "return", "success", "final distance / m", "steps sampled"):
        table.add_column(title, justify="left" if title == "after" else "right")
    for record in records:
        k = record["fast_update"]
        after = "warm-up round" if k < 0 else f"{k} fast-update{'' if k == 1 else 's'}"
        figures = (record["average_return"], record["success_rate"], record["final_distance"])
        table.add_row(after, *(f"{x:.2f}" for x in figures), f"{record['environment_steps']:,}")
    console.print(table)
    run.folder.figures.mkdir(exist_ok=True)
    path = run.folder.figures / "trajectories.png"
    plot_trajectories(records, path)
    console.print(f"drawn: {path}", markup=False)


def _plot(arguments: list[str], console: Console) -> None:
    parsed = _parse(PlotArguments, arguments, "tesp plot")
    if not parsed.runs:
        raise ConfigurationError("`tesp plot` needs one run folder or more; `tesp list` shows the runs there are.")
    alone = parsed.runs[0] / "figures" if len(parsed.runs) == 1 else Path("figures")
    _draw(list(parsed.runs), parsed.x, parsed.output or alone, console, parsed.published)


def _draw(folders: list[Path], x: str, output: Path, console: Console, published: bool = False) -> None:
    from tesp.plotting.curves import plot_learning_curves
    from tesp.plotting.dynamics_noise import plot_dynamics_noise
    from tesp.plotting.fast_updates import plot_fast_updates
    from tesp.plotting.records import read_records
    from tesp.plotting.references import oracles_of

    drawn = [_drawn_run(folder) for folder in folders]
    stored = [folder / "evaluations.jsonl" for folder in folders]
    evaluations = [read_records(path) if path.is_file() else [] for path in stored]
    noisy = any(record.get("dynamics_noise") for records in evaluations for record in records)
    oracles = oracles_of(folders, drawn)
    paths = [output / "learning_curves.png"]
    plot_learning_curves(drawn, paths[0], x=x, oracles=oracles, published=published)
    if len(drawn) == 1:
        paths.append(output / "fast_updates.png")
        plot_fast_updates(drawn[0], paths[1], oracle=oracles[0] if oracles else None)
    if noisy:
        paths.append(output / "dynamics_noise.png")
        plot_dynamics_noise(drawn, evaluations, paths[-1], published, oracles)
    for path in paths:
        console.print(f"drawn: {path}", markup=False)


def _drawn_run(folder: Path):
    from tesp.plotting.records import read_run

    return read_run(folder)


def _list(arguments: list[str], console: Console) -> None:
    from tesp.tasks.registry import families, make_family

    parsed = _parse(ListArguments, arguments, "tesp list")
    table = Table(title="families")
    for title in ("family", "observation", "action", "horizon", "presets"):
        table.add_column(title)
    for name in families():
        family = make_family(name)
        sizes = (family.observation_size, family.action_size, family.horizon)
        table.add_row(name, *map(str, sizes), ", ".join(family.presets))
    console.print(table)
    # Runs of a comparison lie one folder deeper.
    found = [path for depth in ("[!.]*", "[!.]*/[!.]*") for path in parsed.folder.glob(f"{depth}/config.json")]
    folders = sorted(path.parent for path in found)
    if not folders:
        console.print(f"no runs in {parsed.folder}", markup=False)
        return
    table = Table(title=f"runs in {parsed.folder}")
    for title in ("run", "family", "algorithm", "preset", "seed", "meta-updates"):
        table.add_column(title)
    damaged = []
    for folder in folders:
        try:
            table.add_row(str(folder.relative_to(parsed.folder)), *_run_row(folder))
        except TespError as error:
            damaged.append(f"{folder.name}: {error}")
    console.print(table)
    for line in damaged:
        console.print(line, markup=False)


def _run_row(path: Path) -> list[str]:
    """Return a row of the table of runs."""
    from tesp import runs
    from tesp.training.run_folder import RunFolder

    folder = RunFolder.open(path)
    config = runs.stored_config(folder)
    done = max((record.get("meta_update", 0) for record in folder.read_records()), default=0)
    columns = (config.family, config.algorithm, config.preset, str(config.seed))
    return [*columns, f"{done}/{config.schedule.meta_updates}"]


def _parse(kind, arguments: list[str], program: str, description: str | None = None):
    return tyro.cli(kind, args=arguments, prog=program, description=description)


_COMMANDS: dict[str, Callable[[list[str], Console], None]] = {
    "train": _train,
    "resume": _resume,
    "evaluate": _evaluate,
    "adapt": _adapt,
    "compare": _compare,
    "plot": _plot,
    "list": _list,
}

if __name__ == "__main__":
    sys.exit(main())
