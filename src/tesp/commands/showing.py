"""Showing a run: its table, its figures, and the details of single tasks that some of them need."""

import shlex
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tesp.errors import ConfigurationError, RunFolderError
from tesp.report.records import groups_of
from tesp.storage.records import read_records


def finish(folder: Path, console: Console) -> None:
    """Show where the run ended: the table and the figures."""
    from tesp.report.oracles import oracle_beside
    from tesp.runs.stored import run_of_today

    run = run_of_today(folder)
    print_table(run, folder, console, oracle=oracle_beside(folder, run, read=run_of_today))
    draw([folder], "meta_updates", folder / "figures", console)


@contextmanager
def telling(console: Console, *kinds: type[Warning]) -> Iterator[None]:
    """Let warnings of some kinds be lines of the command, as soon as there is one."""
    with warnings.catch_warnings():
        for kind in kinds:
            warnings.simplefilter("always", kind)
        usual = warnings.showwarning

        def show(message, category, *where, **more) -> None:
            if issubclass(category, kinds):
                console.print(str(message), markup=False)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


def print_table(run, folder: Path, console: Console, title: str | None = None, oracle=None) -> None:
    """Show a run's last evaluation, and how to train the oracle if there is none."""
    from tesp.report.tables import evaluation_table

    console.print(evaluation_table(run, oracle, title))
    if oracle is None and not run.is_oracle:
        console.print(f"for the oracle: {_oracle_command(folder, run.config)}", markup=False)


def _oracle_command(folder: Path, config) -> str:
    """Return the command that trains the oracle on the tasks of a run, beside it."""
    from tesp.commands.reproducing import option
    from tesp.config import Config, preset_config, value_of
    from tesp.runs import default_output
    from tesp.tasks.family_files import shown

    family = Config(family=config["family"], family_file=config.get("family_file")).family_reference
    oracle = preset_config(family, config["preset"], "oracle", seed=config["seed"])
    words = ["tesp", "train", shown(family), "--preset", config["preset"], "--algorithm", "oracle"]
    words += ["--seed", config["seed"]]
    groups = groups_of(config)
    given = {**config["task"], "meta_updates": config["schedule"]["meta_updates"]}
    given |= {name: x for name, x in groups.get("network", {}).items() if name == "policy_units"}
    for name in given:
        if given[name] != (list(own) if isinstance(own := value_of(oracle, name), tuple) else own):
            words += option(name, given[name])
    if folder.parent != default_output(oracle).parent:
        words += ["--output", folder.resolve().parent / default_output(oracle).name]
    return shlex.join(map(str, words))


def draw(
    folders: list[Path], x: str, output: Path, console: Console, published: bool = False, oracle: Sequence[Path] = ()
) -> None:
    """Draw the figures that a run's records allow."""
    from tesp.report.figures.dynamics_noise import plot_dynamics_noise
    from tesp.report.figures.fast_updates import plot_fast_updates
    from tesp.report.figures.learning_curves import plot_learning_curves
    from tesp.report.oracles import oracles_of
    from tesp.runs.stored import run_of_today

    drawn = [run_of_today(folder) for folder in folders]
    evaluations = [read_records(folder / "evaluations.jsonl", empty=True) for folder in folders]
    noisy = any(record.get("dynamics_noise") for records in evaluations for record in records)
    oracles = oracles_of(folders, drawn, oracle, run_of_today)
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


def load_for_details(folder: Path, checkpoint: str, trust: bool = False):
    """Return the run with the checkpoint that details are wanted of; or None, and why there is none.

    Only the default, the best checkpoint, may be missing, since a folder that holds records alone still has curves.

    Raises:
        RunFolderError: The checkpoint that was named does not exist, or the folder is damaged.
        ConfigurationError: The checkpoint's name is not possible.
    """
    from tesp import runs

    try:
        return runs.load_run(folder, checkpoint, trust=trust), ""
    except (RunFolderError, ConfigurationError) as error:
        if checkpoint != "best":
            raise
        return None, str(error)


def find_details(run, tasks: int | None, console: Console):
    """Return the details of a run's checkpoint: those that are stored, or new ones if those are of something else.

    Args:
        run: The run with the checkpoint.
        tasks: Tasks of each set (0: all); None for any that are stored, or else as many as its evaluations have.
        console: Where it says that something is measured, and how long that may take.
    """
    from tesp.runs.per_task import evaluate_per_task

    there = len(run.task_sets["train"].tasks)
    stored = stored_details(run.folder.details, run.state.meta_update)
    measured = sum(record["kind"] == "task" and record["task_set"] == "train" for record in stored)
    if stored and (tasks is None or measured == min(tasks or there, there)):
        return stored
    wanted = run.config.schedule.evaluation_tasks if tasks is None else tasks
    count = min(wanted or there, there)
    tasks_of_each = f"{count} task{'' if count == 1 else 's'} of each set"
    console.print(
        f"measuring {tasks_of_each} with the checkpoint of meta-update {run.state.meta_update}, "
        f"{_expected_time(run, count)}; the next `tesp plot` of this checkpoint finds them in {run.folder.details}",
        markup=False,
    )
    return evaluate_per_task(run, wanted, console)


def stored_details(path: Path, meta_update: int | None = None):
    """Return the stored details, if they are of a checkpoint that is named; none where the file is missing or damaged.

    It can be made again, so damage is no error.
    """
    try:
        stored = read_records(path)
    except RunFolderError:
        return []
    found = {record.get("meta_update") for record in stored}
    return stored if meta_update is None or found == {meta_update} else []


def _expected_time(run, count: int) -> str:
    """Say how long adapting to ``count`` tasks of each set may take, judging by what it took in training."""
    trained = [record for record in run.folder.read_records() if record["kind"] == "train"][-5:]
    if not trained:
        return "which may take minutes"
    sampling = [record["seconds"] - record["seconds_meta_update"] for record in trained]
    seconds = 3 * count / run.config.sampling.tasks_per_update * sum(sampling) / len(sampling)
    expected = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{max(seconds, 1):.0f} s"
    return f"which may take about {expected}, and up to a minute more for compilation"


def draw_details(records, output: Path, console: Console) -> None:
    """Draw what a run's details allow: the paths on every task, the embeddings and the learned rates."""
    from tesp.report.figures.embeddings import plot_embeddings
    from tesp.report.figures.rates import plot_rates
    from tesp.report.figures.task_paths import plot_task_paths
    from tesp.report.records import has_embeddings, has_paths, learned_rates

    method = next(record["algorithm"] for record in records)
    figures = (
        ("task_paths", plot_task_paths, has_paths(records), "the family tells no positions, so there are no paths"),
        ("embeddings", plot_embeddings, has_embeddings(records), f"{method!r} has no task embedding to draw"),
        ("rates", plot_rates, bool(learned_rates(records)), f"{method!r} learns no rates, so there are none to draw"),
    )
    for name, plot, possible, reason in figures:
        path = output / f"{name}.png"
        if possible:
            plot(records, path)
        console.print(f"drawn: {path}" if possible else f"left out: {reason}.", markup=False)
