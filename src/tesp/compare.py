"""One-word comparison: train several methods on several seeds, then write one table and one figure."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from filelock import FileLock, Timeout
from rich.console import Console

from tesp import runs
from tesp.building import build_family, build_learner, build_method
from tesp.config import Config, check_storable, override
from tesp.episodes.rollout import Learner
from tesp.errors import BusyError, LocatedError, RunFolderError, RunsFailedError
from tesp.methods.registry import entry_of, options_of
from tesp.progress import ProgressBar
from tesp.report.by_episodes import by_episodes_csv, by_episodes_markdown
from tesp.report.comparison import comparison_csv, comparison_markdown, comparison_rows
from tesp.report.figures.by_episodes import plot_by_episodes
from tesp.report.figures.learning_curves import plot_learning_curves
from tesp.report.figures.score_profiles import plot_score_profiles
from tesp.report.scores import read_scores, write_score_matrices
from tesp.report.words import ORACLE
from tesp.runs.memory import check_memory
from tesp.runs.scores import EPISODES, checked_episodes, is_scored, score
from tesp.runs.stored import run_of_today, stored_config
from tesp.storage.files import write_whole
from tesp.storage.run_folder import RunFolder
from tesp.task_sets import TASK_SETS
from tesp.tasks import family_files
from tesp.training.settings import LogSettings
from tesp.training.wandb_callback import require_wandb


def default_output(family: str, preset: str) -> Path:
    """Return the folder of a comparison for which none is given."""
    return Path("runs") / f"compare-{family_files.parts(family)[1]}-{preset}"


def with_oracle(algorithms: Sequence[str]) -> list[str]:
    """Return the algorithms, each once, with the oracle, which frames every comparison.

    Raises:
        ConfigurationError: One is not known.
    """
    for name in algorithms:
        entry_of(name)
    return list(dict.fromkeys([*algorithms, ORACLE]))


def at_equal_experience(config: Config) -> Config:
    """Give a method without a warm-up round as many episodes as one has, if it adapts at all."""
    if "extra_episodes" not in options_of(config.algorithm) or not config.method.last_round:
        return config
    if build_method(config, build_family(config)).plan.first < 0:
        return config
    return override(config, extra_episodes=True)


#: Brings runs to their ends, from (configurations by folder, the folder of them all, console), and returns what went
#: wrong with those that did not come there.
Work = Callable[[Mapping[Path, Config], Path, Console | None], dict[Path, str]]


def compare(
    configs: Sequence[Config],
    output: Path,
    console: Console | None = None,
    work: Work | None = None,
    *,
    episodes: Sequence[int] = EPISODES,
) -> list[Path]:
    """Train every configuration that is not trained yet, then write tables and figures of all that the folder holds.

    Finished runs are skipped and interrupted ones continued. A run that fails is left out, and the table says so; the
    others go on.

    Args:
        configs: One for every method and seed.
        output: Folder of the comparison; the runs lie in it under ``METHOD-seedN``.
        console: Where progress is shown; by default nowhere.
        work: What trains them; by default `one_after_another`.
        episodes: Numbers of episodes per round, besides each run's own, with which the trained runs are evaluated.

    Returns:
        The files that were written; see `write_comparison`.

    Raises:
        ConfigurationError: A configuration is not possible; nothing was trained.
        RunFolderError: A run of the comparison is damaged or was made with other options; nothing was trained.
        BusyError: Another process works on the comparison.
        RunsFailedError: Some runs were left out. The others were trained, and the table written if there are any.
    """
    folders = folders_of(configs, output)
    episodes = checked_episodes(episodes)
    check(folders)
    with locked(output):
        failed = (work or one_after_another)(folders, output, console)
        # A comparison that grows method by method, or seed by seed, keeps what it had.
        there = [*folders, *(path.parent for path in sorted(output.glob("[!.]*/config.json")))]
        finished = [folder for folder in dict.fromkeys(there) if folder not in failed and runs.is_finished(folder)]
        unscored = score_all(finished, episodes, console)
        failed |= unscored
        paths = write_comparison(finished, output, failed) if finished else []
    if failed:
        raise_failed(failed, output, paths, console)
    return paths


def folders_of(configs: Sequence[Config], output: Path) -> dict[Path, Config]:
    """Return the configurations of a comparison by the folders of their runs."""
    return {output / f"{config.algorithm}-seed{config.seed}": config for config in configs}


def check(folders: Mapping[Path, Config]) -> None:
    """Refuse what would fail later, before anything is trained.

    Raises:
        ConfigurationError: A configuration is not possible.
        RunFolderError: A run is damaged or was made with other options.
    """
    for folder, config in folders.items():
        _check(folder, config)
    for log in {config.log for folder, config in folders.items() if not folder.exists()}:
        require_wandb(log)


@contextlib.contextmanager
def locked(output: Path) -> Iterator[None]:
    """Keep other processes from working on a folder of runs at the same time.

    Raises:
        BusyError: Another one does.
    """
    output.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(output / ".lock", blocking=False):
            yield
    except KeyboardInterrupt as error:
        error.__notes__ = ["The same command given again goes on."]
        raise
    except Timeout as error:
        raise BusyError(
            f"Another process trains the runs in {output}. Wait for it or stop it, or give another folder with "
            "--output."
        ) from error


def one_after_another(folders: Mapping[Path, Config], output: Path, console: Console | None = None) -> dict[Path, str]:
    """Bring runs to their ends in this process; return what went wrong where numbers or environments failed."""
    say = console or Console(quiet=True)
    failed: dict[Path, str] = {}
    with ProgressBar(console, "comparing", len(folders), "runs") as bar:
        for number, (folder, config) in enumerate(folders.items(), 1):
            say.print(f"run {number} of {len(folders)}: {folder}", markup=False)
            try:
                if not folder.exists():
                    runs.train(config, folder, console)
                elif not runs.is_finished(folder):
                    runs.resume(folder, console)
            except LocatedError as error:
                failed[folder] = str(error)
                say.print(f"left out of the comparison: {error}", markup=False)
            bar.advance(status=f"{folder.relative_to(output)} {'left out' if folder in failed else 'is done'}")
    return failed


def score_all(folders: Sequence[Path], episodes: Sequence[int], console: Console | None = None) -> dict[Path, str]:
    """Evaluate finished runs with these numbers of episodes, where that is still to be done; return what went wrong."""
    missing = [folder for folder in folders if not is_scored(folder, episodes)]
    learners: dict[Config, Learner] = {}
    failed: dict[Path, str] = {}
    for folder in missing:
        run = runs.load_run(folder, "latest")
        # A learner holds no parameters, so runs that differ in the seed alone share what was compiled.
        learner = learners.setdefault(replace(run.config, seed=0), run.learner)
        try:
            score(replace(run, learner=learner), episodes, console)
        except LocatedError as error:
            failed[folder] = f"evaluated with other numbers of episodes: {error}"
    return failed


def raise_failed(
    failed: Mapping[Path, str], output: Path, paths: Sequence[Path], console: Console | None = None
) -> NoReturn:
    """List the runs that failed, and what was written of the others.

    Raises:
        RunsFailedError: Always; names the first of them.
    """
    say = console or Console(quiet=True)
    for path in paths:
        say.print(f"written: {path}", markup=False)
    for folder, reason in failed.items():
        say.print(f"failed: {folder.relative_to(output)}: {reason}", markup=False)
    folder, reason = next(iter(failed.items()))
    raise RunsFailedError(f"{len(failed)} run(s) left out: {folder.relative_to(output)}: {reason.rstrip('.')}.")


def write_comparison(folders: Sequence[Path], output: Path, left_out: Mapping[Path, str] | None = None) -> list[Path]:
    """Write the tables (Markdown and CSV) and figures of finished runs; return the files.

    ``comparison.md``, ``comparison.csv`` and ``learning_curves.png`` are of what training recorded; ``by_episodes.md``,
    ``by_episodes.csv``, ``by_episodes.png``, ``score_profiles.png`` and ``scores-SET.npz`` for every task set of the
    stored scores, if there are any.

    Args:
        folders: The runs.
        output: Where the files are written.
        left_out: What went wrong in runs that the table lacks, by their names.
    """
    drawn = [run_of_today(folder) for folder in folders]
    rows = comparison_rows(drawn)
    notes = "".join(f"\n**Left out:** {folder.name}: {reason}\n" for folder, reason in (left_out or {}).items())
    if len({row.count for row in rows}) > 1:
        notes += "\n**Not all methods have the same seeds**, and so not the same tasks: see n.\n"
    tasks = {record["tasks"] for run in drawn for record in run.records["evaluation"] if "tasks" in record}
    counted = f"Evaluated on {' or '.join(map(str, sorted(tasks)))} tasks of each set. " if tasks else ""
    paths = [output / name for name in ("comparison.md", "comparison.csv", "learning_curves.png")]
    write_whole(paths[0], comparison_markdown(rows) + notes + "\n" + counted + _NOTES)
    write_whole(paths[1], comparison_csv(rows))
    plot_learning_curves(drawn, paths[2], band="bootstrap")
    # Of a run that could not be evaluated there may be scores of an earlier state.
    scored = [folder for folder in folders if folder not in (left_out or {})]
    return paths + _write_scores(scored, output, notes, any(run.in_metres for run in drawn))


def _write_scores(folders: Sequence[Path], output: Path, notes: str, metres: bool) -> list[Path]:
    """Write the tables and figures at equal experience, and the score matrices."""
    scores = read_scores(folders)
    if not scores:
        return []
    paths = [output / name for name in ("by_episodes.md", "by_episodes.csv", "by_episodes.png", "score_profiles.png")]
    write_whole(
        paths[0],
        by_episodes_markdown(scores) + notes + "\n" + _NOTES_BY_EPISODES.format(" in metre·steps" if metres else ""),
    )
    write_whole(paths[1], by_episodes_csv(scores))
    plot_by_episodes(scores, paths[2], metres=metres)
    plot_score_profiles(scores, paths[3], metres=metres)
    for task_set in TASK_SETS:
        paths.append(output / f"scores-{task_set}.npz")
        write_score_matrices(scores, task_set, paths[-1])
    return paths


def _check(folder: Path, config: Config) -> None:
    check_storable(config)
    family = build_family(config)
    check_memory(config, family, build_learner(config, family))
    task_sets = family.sample_task_sets(config.seed)
    runs.check_task_count(config, task_sets)
    runs.check_restart(config, family, task_sets)
    if not folder.exists():
        return
    stored = RunFolder.open(folder)
    same = family_files.is_copied(config.family_reference, folder)
    which = "other options" if same else "other options, or another file of the family,"
    if not same or _of_results(stored_config(stored)) != _of_results(config):
        raise RunFolderError(
            f"{folder} was made with {which} than these. Give the same options to continue the comparison, or "
            "another folder with --output."
        )
    stored.read_task_sets()
    runs.is_finished(folder)


def _of_results(config: Config) -> Config:
    """Leave out what no result depends on; a run that was begun keeps the threads and logs that it has."""
    return replace(override(config, threads=0), log=LogSettings(), family_file=None)


_NOTES = """Means over n seeds of the last evaluation, with 95 % bootstrap intervals over seeds (percentile method).
With few seeds they are too narrow, and of two or three seeds they are just the range. "Best 3 of n" is the paper's
rule: the mean of the three seeds with the highest return on D after K fast-updates. Training steps do not count
evaluations.
"""

_NOTES_BY_EPISODES = """Interquartile means of the return{} over the tasks of all seeds, with 95 %
intervals of a bootstrap that draws seeds, then tasks of each; of one seed they say nothing about other seeds. Episodes
used are those of a task before the round that is judged, over k fast-updates with N episodes per round; bold: the N of
training. A probability is that of a task on which the method does better (ties count half), each after all its rounds
with the N of its training.
"""
