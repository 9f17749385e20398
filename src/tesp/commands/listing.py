"""``tesp list``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from tesp.commands.parsing import parse
from tesp.errors import TespError


@dataclass(frozen=True)
class ListArguments:
    """List families, methods and runs; or the learners that come with the package."""

    trained: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """List the learners that come with the package instead."""
    folder: Annotated[Path, tyro.conf.Positional] = Path("runs")
    """Where the runs lie."""


def run(arguments: list[str], console: Console) -> None:
    """List families, methods and runs."""
    from tesp.presets import presets_of
    from tesp.tasks.registry import families

    parsed = parse(ListArguments, arguments, "tesp list")
    if parsed.trained:
        console.print(_trained_table())
        return
    # Without edges the longest names have room in a terminal of 80 columns.
    table = Table(title="families", show_edge=False, pad_edge=False)
    for title in ("family", "observation", "action", "horizon", "presets"):
        table.add_column(title)
    for name in families():
        table.add_row(name, *map(str, _sizes(name)), ", ".join(presets_of(name)))
    console.print(table)
    console.print(_method_table())
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


def _method_table() -> Table:
    """Return the table of the methods: their names, and how the literature writes them."""
    from tesp.methods.registry import METHODS
    from tesp.report.words import method

    table = Table(title="methods", show_edge=False, pad_edge=False)
    for title in ("--algorithm", "method"):
        table.add_column(title)
    for name in METHODS:
        table.add_row(name, method(name))
    return table


def _trained_table() -> Table:
    """Return the table of the learners that come with the package, from their cards."""
    from tesp import trained
    from tesp.report.words import SIGNS, number

    table = Table(title="trained learners", caption="mean returns; `tesp card NAME` says more")
    for title in ("name", *SIGNS.values()):
        table.add_column(title, justify="left" if title == "name" else "right")
    for name in trained.names():
        (described,) = trained.front_matter(trained.card(name))["model-index"]
        returns = {r["dataset"]["type"]: r["metrics"][0]["value"] for r in described["results"]}
        table.add_row(name, *(number(returns[task_set], 1) for task_set in SIGNS))
    return table


def _sizes(name: str) -> tuple[int, int, int]:
    """Return the numbers of entries of a family's observations and actions, and its horizon."""
    from tesp.environments import CARDS
    from tesp.tasks.registry import make_family

    known = CARDS.get(name) or make_family(name)
    return known.observation_size, known.action_size, known.horizon


def _run_row(path: Path) -> list[str]:
    """Return a row of the table of runs."""
    from tesp.runs.stored import stored_config
    from tesp.storage.run_folder import RunFolder

    folder = RunFolder.open(path)
    config = stored_config(folder)
    done = max((record.get("meta_update", 0) for record in folder.read_records()), default=0)
    columns = (config.family, config.algorithm, config.preset, str(config.seed))
    return [*columns, f"{done}/{config.schedule.meta_updates}"]
