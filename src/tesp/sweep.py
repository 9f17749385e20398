"""Families × methods × seeds × options, read from a file: what is trained, and one table and figure for each choice."""

import hashlib
import itertools
import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from tesp.compare import (
    Work,
    at_equal_experience,
    check,
    locked,
    one_after_another,
    raise_failed,
    score_all,
    with_oracle,
    write_comparison,
)
from tesp.config import Config, override, preset_config, refuse_options
from tesp.errors import ConfigurationError
from tesp.methods.registry import absent_from, entry_of
from tesp.report.comparison import comparison_csv, comparison_rows
from tesp.runs.scores import EPISODES, checked_episodes
from tesp.runs.stored import run_of_today
from tesp.storage.files import write_whole
from tesp.storage.strict_json import structured
from tesp.tasks import family_files

#: Characters of a choice's name; a longer one is cut, and told from others by a digest.
_LONGEST = 80


@dataclass(frozen=True)
class SweepFile:
    """What a file of a sweep says."""

    families: list[str]
    """The families, each a name or ``FILE.py:NAME``; a path counts from where the command is given."""
    methods: list[str] = field(default_factory=lambda: ["tesp", "maml", "meta-sgd", "adapt-sv"])
    """The methods; the oracle always joins them."""
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """The seeds."""
    preset: str = "quick"
    """The preset of every family that all methods start from."""
    equal_experience: bool = False
    """Give methods without a warm-up round as many more episodes in their first round."""
    evaluation_episodes: list[int] = field(default_factory=lambda: [*EPISODES])
    """Numbers of episodes per round, besides each run's own, with which the trained runs are evaluated."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of all runs, by the names of the configuration's fields."""
    grid: dict[str, list[Any]] = field(default_factory=dict)
    """Values of options of which every combination is a choice."""
    choices: list[dict[str, Any]] = field(default_factory=list)
    """Choices one by one, each some options, and a ``name`` if it is to have one of its own."""


@dataclass(frozen=True)
class Table:
    """One table of a sweep: what is compared on one family at one choice of options.

    Attributes:
        family: The family's name.
        choice: The choice's name; empty where there is but one.
        folder: Where table and figure are written.
        runs: The folders of its runs.
    """

    family: str
    choice: str
    folder: Path
    runs: list[Path]


def read_sweep(path: Path) -> SweepFile:
    """Return what a file says.

    Raises:
        ConfigurationError: It cannot be read or is no TOML, or a field is unknown, missing or of another kind.
    """
    try:
        return structured(tomllib.loads(path.read_text(encoding="utf-8")), SweepFile)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}; give the file of a sweep.") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} says no sweep: {str(error).rstrip('.')}.") from error


def planned(given: SweepFile, output: Path) -> tuple[dict[Path, Config], list[Table]]:
    """Return the runs of a sweep by their folders, and its tables.

    A run lies in ``FAMILY/METHOD[-CHOICE]-seedN``. A method takes the options that it has: what makes no difference to
    it is trained once, and stands in the tables of all choices.

    Raises:
        ConfigurationError: There is nothing to train, a name or a value is not possible, or no method has an option.
    """
    for name in ("families", "methods", "seeds"):
        if not getattr(given, name):
            raise ConfigurationError(f"The sweep has no {name}; give one or more.")
    methods, choices = with_oracle(given.methods), _choices(given)
    _require_options(given, choices, methods)
    folders: dict[Config, Path] = {}
    tables: list[Table] = []
    for family, choice in itertools.product(dict.fromkeys(given.families), choices):
        place = output / family_files.parts(family)[1]
        own = []
        for method, seed in itertools.product(methods, dict.fromkeys(given.seeds)):
            config = _configured(given, family, method, {**given.options, **choice.options}, seed)
            name = "-".join([method, *filter(None, [choice.name(absent_from(method))])])
            own.append(folders.setdefault(config, place / f"{name}-seed{seed}"))
        tables.append(Table(place.name, choice.name(), place / choice.name(), list(dict.fromkeys(own))))
    by_folder = {folder: config for config, folder in folders.items()}
    if len(by_folder) < len(folders) or len({table.folder for table in tables}) < len(tables):
        raise ConfigurationError("Two families or choices of the sweep have the same name; give the choices names.")
    return by_folder, tables


def sweep(given: SweepFile, output: Path, console: Console | None = None, work: Work = one_after_another) -> list[Path]:
    """Train every run of a sweep that is not trained yet, then write its tables and figures.

    Finished runs are skipped and interrupted ones continued. A run that fails is left out; the others go on.

    Args:
        given: What is to be trained.
        output: Folder of the sweep.
        console: Where progress is shown; by default nowhere.
        work: What trains the runs.

    Returns:
        The files that were written: those of a comparison for every table, and ``sweep.csv`` of all of them.

    Raises:
        ConfigurationError: A configuration is not possible; nothing was trained.
        RunFolderError: A run is damaged or was made with other options; nothing was trained.
        BusyError: Another process works on the sweep.
        RunsFailedError: Some runs were left out.
    """
    folders, tables = planned(given, output)
    episodes = checked_episodes(given.evaluation_episodes)
    check(folders)
    with locked(output):
        failed = work(folders, output, console)
        failed |= score_all([folder for folder in folders if folder not in failed], episodes, console)
        paths = write_tables(tables, output, failed)
    if failed:
        raise_failed(failed, output, paths, console)
    return paths


def write_tables(tables: Sequence[Table], output: Path, failed: Mapping[Path, str]) -> list[Path]:
    """Write table and figure of every choice, as far as its runs are finished, and one file of all rows."""
    paths: list[Path] = []
    lines: list[str] = []
    for table in tables:
        finished = [folder for folder in table.runs if folder not in failed]
        if not finished:
            continue
        left_out = {folder: failed[folder] for folder in table.runs if folder in failed}
        paths += write_comparison(finished, table.folder, left_out)
        head, *rows = comparison_csv(comparison_rows([run_of_today(folder) for folder in finished])).splitlines()
        lines = lines or [f"family,choice,{head}"]
        lines += [f"{table.family},{_quoted(table.choice)},{row}" for row in rows]
    if lines:
        paths.append(output / "sweep.csv")
        write_whole(paths[-1], "\n".join(lines) + "\n")
    return paths


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


@dataclass(frozen=True)
class _Choice:
    """Options that are chosen together, in parts that have names."""

    parts: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def options(self) -> dict[str, Any]:
        """All its options."""
        return {name: value for _, options in self.parts for name, value in options.items()}

    def name(self, absent: Collection[str] = ()) -> str:
        """Return its name; for a method the name of what makes a difference to it."""
        whole = ",".join(name for name, options in self.parts if not set(options) <= set(absent))
        if len(whole) <= _LONGEST:
            return whole
        return f"{whole[: _LONGEST - 9]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"


def _choices(given: SweepFile) -> list[_Choice]:
    """Return every combination of the grid's values and the choices."""
    axes = [[(_named({name: value}), {name: value}) for value in values] for name, values in given.grid.items()]
    if given.choices:
        named = [(choice, {k: x for k, x in choice.items() if k != "name"}) for choice in given.choices]
        axes.append([(_safe(str(choice.get("name", _named(options)))), options) for choice, options in named])
    if empty := [name for name, values in given.grid.items() if not values]:
        raise ConfigurationError(f"The grid has no value of {empty[0]}; give one or more.")
    return [_Choice(parts) for parts in itertools.product(*axes)]


def _named(options: Mapping[str, Any]) -> str:
    def shown(value: Any) -> str:
        return "x".join(map(shown, value)) if isinstance(value, list) else str(value)

    return _safe(",".join(f"{name}={shown(value)}" for name, value in options.items()))


def _safe(name: str) -> str:
    """Return a name that a folder may have on every system."""
    return re.sub(r"[^\w.,=+-]", "-", name).strip(".") or "-"


def _require_options(given: SweepFile, choices: Sequence[_Choice], methods: Sequence[str]) -> None:
    for name in dict.fromkeys(name for choice in choices for name in {**given.options, **choice.options}):
        if name in ("seed", "algorithm", "preset", "family"):
            raise ConfigurationError(f"{name} is no option of a sweep's runs; see families, methods, seeds and preset.")
        if all(name in absent_from(method) for method in methods):
            refuse_options(methods[0], [name])


def _configured(given: SweepFile, family: str, method: str, options: Mapping[str, Any], seed: int) -> Config:
    """Return the configuration of a run. An option that the method does not have leaves it as it is."""
    others = absent_from(method) | entry_of(method).implied.keys()
    values = {name: value for name, value in options.items() if name not in others}
    config = override(preset_config(family, given.preset, method), **values, seed=seed)
    return at_equal_experience(config) if given.equal_experience else config
