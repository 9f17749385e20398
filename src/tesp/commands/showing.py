"""Showing a run: its table and its figures."""

import shlex
from pathlib import Path

from rich.console import Console

from tesp.plotting.records import read_run


def finish(folder: Path, console: Console) -> None:
    """Show where the run ended: the table and the figures."""
    from tesp.plotting.references import oracle_beside

    run = read_run(folder)
    print_table(run, folder, console, oracle=oracle_beside(folder, run))
    draw([folder], "meta_updates", folder / "figures", console)


def print_table(run, folder: Path, console: Console, title: str | None = None, oracle=None) -> None:
    """Show a run's last evaluation, and how to train the oracle if there is none."""
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


def draw(folders: list[Path], x: str, output: Path, console: Console, published: bool = False) -> None:
    """Draw the figures that a run's records allow."""
    from tesp.plotting.curves import plot_learning_curves
    from tesp.plotting.dynamics_noise import plot_dynamics_noise
    from tesp.plotting.fast_updates import plot_fast_updates
    from tesp.plotting.records import read_records
    from tesp.plotting.references import oracles_of

    drawn = [read_run(folder) for folder in folders]
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
