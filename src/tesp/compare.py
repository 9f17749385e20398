"""One-word comparison: train several methods on several seeds, then write one table and one figure."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tesp import runs
from tesp.algorithms.registry import ALGORITHMS, IMPLIED, SUITABLE
from tesp.config import Config, build_algorithm, build_family, build_learner, check_storable, override
from tesp.errors import ConfigurationError, NonFiniteError, RunFolderError
from tesp.plotting.comparison import comparison_csv, comparison_markdown, comparison_rows
from tesp.plotting.curves import plot_learning_curves
from tesp.plotting.records import read_run
from tesp.plotting.references import ORACLE
from tesp.training.run_folder import RunFolder

#: The methods that the paper compares.
METHODS = ("tesp", "maml", "meta-sgd", "adapt-sv")


def default_output(family: str, preset: str) -> Path:
    """Return the folder of a comparison for which none is given."""
    return Path("runs") / f"compare-{family}-{preset}"


def with_oracle(algorithms: Sequence[str]) -> list[str]:
    """Return the algorithms, each once, with the oracle, which frames every comparison.

    Raises:
        ConfigurationError: One is not known.
    """
    for name in algorithms:
        if name not in ALGORITHMS:
            raise ConfigurationError(f"There is no algorithm {name!r}; known are: {', '.join(ALGORITHMS)}.")
    return list(dict.fromkeys([*algorithms, ORACLE]))


def as_algorithm(config: Config, algorithm: str) -> Config:
    """Return the configuration with an algorithm and what its name stands for, whatever else it holds.

    Options hold for all methods of a comparison; where one has no meaning for a method, the method stays what it is.
    """
    return override(config, algorithm=algorithm, **SUITABLE.get(algorithm, {}), **IMPLIED.get(algorithm, {}))


def at_equal_experience(config: Config) -> Config:
    """Give a method without a warm-up round as many episodes as one has, if it adapts at all."""
    if build_algorithm(config, build_family(config)).warm_up or not config.fast.fast_updates:
        return config
    return override(config, extra_episodes=True)


def compare(configs: Sequence[Config], output: Path, console: Console | None = None) -> list[Path]:
    """Train every configuration that is not trained yet, then write table and figures.

    Finished runs are skipped and interrupted ones continued. A run whose numbers go wrong is left out, with a word
    about it; the others go on.

    Args:
        configs: One for every method and seed.
        output: Folder of the comparison; the runs lie in it under ``METHOD-seedN``.
        console: Where progress is shown; by default nowhere.

    Returns:
        The files that were written: ``comparison.md``, ``comparison.csv``, ``learning_curves.png``.

    Raises:
        ConfigurationError: A configuration is not possible; nothing was trained.
        RunFolderError: A run of the comparison was made with other options; nothing was trained.
        NonFiniteError: No run came to its end.
    """
    say = console or Console(quiet=True)
    folders = {output / f"{config.algorithm}-seed{config.seed}": config for config in configs}
    for folder, config in folders.items():
        _check(folder, config)
    finished, failure = [], None
    for number, (folder, config) in enumerate(folders.items(), 1):
        say.print(f"run {number} of {len(folders)}: {folder}", markup=False)
        try:
            if not folder.exists():
                runs.train(config, folder, console)
            elif not runs.is_finished(folder):
                runs.resume(folder, console)
            finished.append(folder)
        except NonFiniteError as error:
            failure = error
            say.print(f"left out of the comparison: {error}", markup=False)
    if failure is not None and not finished:
        raise failure
    return write_comparison(finished, output)


def write_comparison(folders: Sequence[Path], output: Path) -> list[Path]:
    """Write the table (Markdown and CSV) and the figure of finished runs; return the files."""
    drawn = [read_run(folder) for folder in folders]
    rows = comparison_rows(drawn)
    paths = [output / name for name in ("comparison.md", "comparison.csv", "learning_curves.png")]
    paths[0].write_text(comparison_markdown(rows) + _NOTES, encoding="utf-8")
    paths[1].write_text(comparison_csv(rows), encoding="utf-8")
    plot_learning_curves(drawn, paths[2], band="bootstrap")
    return paths


def _check(folder: Path, config: Config) -> None:
    """Refuse what would fail later, before anything is trained."""
    check_storable(config)
    family = build_family(config)
    build_learner(config, family)
    runs.check_task_count(config, family.sample_task_sets(config.seed))
    if folder.exists() and _without_threads(runs.stored_config(RunFolder.open(folder))) != _without_threads(config):
        raise RunFolderError(
            f"{folder} was made with other options than these. Give the same options to continue the comparison, or "
            "another folder with --output."
        )


def _without_threads(config: Config) -> Config:
    """Leave out what no result depends on, so that a comparison may go on with more or fewer cores."""
    return override(config, threads=0)


_NOTES = """
Means over n seeds of the last evaluation, with 95 % bootstrap intervals over seeds (percentile method). With few seeds
they are too narrow, and of two seeds they are just the range. "Best 3 of n" is the paper's rule: the mean of the three
seeds with the highest return on D after K fast-updates. Training steps do not count evaluations.
"""
