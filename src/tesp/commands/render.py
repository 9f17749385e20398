"""``tesp render``."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from rich.console import Console

from tesp.commands.parsing import Trust, parse, with_commas_split
from tesp.commands.showing import telling
from tesp.errors import ConfigurationError, TespError
from tesp.report.words import SIGNS

View = Literal["body", "plane"]


@dataclass(frozen=True)
class RenderArguments:
    """Film a run's agent before and after adaptation, or draw stills of families.

    Given a run folder, writes figures/film-….mp4 for every chosen task and figures/still.png. Given names of families,
    for instance `tesp render wheeled ant`, writes one figure of their bodies.
    """

    sources: tyro.conf.Positional[tuple[str, ...]]
    """One run folder, or the names of families."""
    task: tuple[float, ...] = ()
    """Tasks to film: x and y in metres, as often as there are goals."""
    task_set: Literal["train", "in_distribution", "out_of_distribution"] = "out_of_distribution"
    """The run's task set that --index counts in."""
    index: tuple[int, ...] = ()
    """Places of the tasks in the set, from 0; by default the first, if --task is not given."""
    format: Literal["mp4", "gif"] = "mp4"
    """What films are written as."""
    output: Path | None = None
    """Folder of a run's pictures (by default `figures` in the run folder), or file of the figure of families."""
    checkpoint: str = "best"
    """`best` (highest return on D′), `latest` or a number of meta-updates."""
    seed: int = 0
    """Seed of the sampling, and of the episodes that are filmed."""
    view: View = "body"
    """What is shown: the rendered body, or its path in the plane, which needs no OpenGL."""
    trust: Trust = False


def run(arguments: list[str], console: Console) -> None:
    """Film a run, or draw families."""
    parsed = parse(RenderArguments, with_commas_split(arguments, "--task"), "tesp render")
    if not parsed.sources:
        raise ConfigurationError("`tesp render` needs a run folder, or names of families; `tesp list` shows both.")
    folders = [source for source in parsed.sources if (Path(source) / "config.json").is_file()]
    if folders and len(parsed.sources) > 1:
        raise ConfigurationError(f"`tesp render` takes one run folder at a time; {len(parsed.sources)} were given.")
    if folders or Path(parsed.sources[0]).is_dir():
        _film_run(parsed, console)
    else:
        _draw_families(parsed, console)


def _draw_families(parsed: RenderArguments, console: Console) -> None:
    from tesp.report.films.stills import draw_stills
    from tesp.tasks.registry import families, make_family

    for source in parsed.sources:
        if source not in families():
            known = ", ".join(families())
            raise ConfigurationError(f"{source!r} is neither a run folder nor a family; the families are: {known}.")
    if parsed.task or parsed.index:
        raise ConfigurationError("--task and --index choose what of a run is filmed; families are drawn without them.")
    path = parsed.output or Path("figures") / "families.png"
    _tell(draw_stills([make_family(name) for name in parsed.sources], path, parsed.view), console)
    console.print(f"drawn: {path}", markup=False)


def _film_run(parsed: RenderArguments, console: Console) -> None:
    from tesp import runs

    run = runs.load_run(parsed.sources[0], parsed.checkpoint, trust=parsed.trust)
    if parsed.output is None:
        run.folder.require_no_links()
    folder = parsed.output or run.folder.figures
    chosen = _chosen_tasks(parsed, run, console)
    view = _draw_still(run.family, folder / "still.png", parsed.view, console)
    failures: dict[Path, TespError] = {}
    for name, task in chosen.items():
        told = "(" + ", ".join(f"{value:g}" for value in task.round(3)) + ")"
        console.print(f"adapting to {told} …", markup=False)
        path = folder / f"film-{name}.{parsed.format}"
        agent = _adapt(run, task, parsed.seed, console)
        try:
            made = _film(run.family, task, agent, path, console, view, parsed.seed)
        except TespError as error:
            failures[path] = error
            continue
        # What could not be rendered once cannot be for the other tasks.
        view = "plane" if made.hint else view
    if len(failures) == len(chosen):
        raise next(iter(failures.values()))
    for path, failure in failures.items():
        console.print(f"There is no {path.name}. {failure}", markup=False)


def _draw_still(family, path: Path, view: View, console: Console) -> View:
    """Draw the still, or say why there is none; return the view of the films.

    Where the body could not be rendered it is not tried again: MuJoCo may abort the process at the second attempt.
    """
    from tesp.report.films.stills import draw_stills

    try:
        hint = draw_stills([family], path, view)
    except TespError as error:
        instead = " The films show the plane instead." if view == "body" else ""
        console.print(f"There is no still. {error}{instead}", markup=False)
        return "plane"
    _tell(hint, console)
    console.print(f"drawn: {path}", markup=False)
    return "plane" if hint else view


def _adapt(run, task: np.ndarray, seed: int, console: Console):
    """Adapt to a task; a warning becomes a line of the command."""
    from tesp.agents.given_task import TaskWarning
    from tesp.agents.rounds import AdaptationWarning

    with telling(console, TaskWarning, AdaptationWarning):
        return run.adapt(task, seed=seed, console=console)


def film_task(family, task, agent, path: Path, console: Console, view: View = "body", seed: int = 0):
    """Film how an agent was adapted to a task, say so and return the film; None if there is none, and say why.

    Args:
        family: The family of tasks.
        task: The task's parameters; for goals (x, y) in metres.
        agent: The adapted agent, with its stages and history.
        path: Where to write; ``.mp4`` or ``.gif``.
        console: Where progress and the film's place are shown.
        view: ``body`` or ``plane``.
        seed: Seed of the filmed episodes.
    """
    try:
        return _film(family, task, agent, path, console, view, seed)
    except TespError as error:
        console.print(f"There is no film. {error}", markup=False)
        return None


def _film(family, task, agent, path: Path, console: Console, view: View, seed: int):
    """Film as `film_task` does, or raise a TespError."""
    from tesp.report.films.filming import film, stages_of
    from tesp.tasks.point import PointFamily

    # The point has no body; with its path it tells more.
    if isinstance(family, PointFamily):
        view = "plane"
    row = np.asarray(task, float)
    kind = "task" if family.goals is None else "goal"
    values = ", ".join(f"{value:.2f}".replace("-", "−") for value in row)
    made = film(
        lambda mode: family.environment(row, mode),
        stages_of(agent),
        path,
        view=view,
        seed=seed,
        heading=f"{family.name}, {kind} ({values}){' m' if kind == 'goal' else ''}",
        boundary_radius=family.options.get("boundary_radius"),
        task=row,
        console=console,
    )
    _tell(made.hint, console)
    console.print(f"filmed: {made.path}", markup=False)
    return made


def _tell(hint: str | None, console: Console) -> None:
    if hint:
        console.print(hint, markup=False)


def _chosen_tasks(parsed: RenderArguments, run, console: Console) -> dict[str, np.ndarray]:
    """Return the tasks to film, by what their films are named."""
    if parsed.task and parsed.index:
        raise ConfigurationError("--task and --index were both given; choose tasks by one of them.")
    if parsed.task:
        return _given_tasks(parsed.task, run.family)
    tasks, name = run.task_sets[parsed.task_set].tasks, SIGNS[parsed.task_set]
    for place in parsed.index:
        if not 0 <= place < len(tasks):
            raise ConfigurationError(f"--index {place} is not possible; {name} has the tasks 0 … {len(tasks) - 1}.")
    if not parsed.index:
        console.print(f"no task was chosen, so the first of {name} is filmed; --task or --index choose others")
    return {f"{parsed.task_set}-{place}": tasks[place] for place in dict.fromkeys(parsed.index or (0,))}


def _given_tasks(numbers: tuple[float, ...], family) -> dict[str, np.ndarray]:
    """Return the tasks that were given as numbers, all of which are possible."""
    from tesp.agents.given_task import checked_task
    from tesp.tasks.checks import finite_numbers

    size = family.task_size
    if len(numbers) % size or not np.isfinite(numbers).all():
        given = " ".join(f"{number:g}" for number in numbers)
        raise ConfigurationError(f"--task {given} is not possible; every task has {finite_numbers(size)}.")
    rows = [checked_task(family, row) for row in np.array(numbers, float).reshape(-1, size)]
    return {"task-" + re.sub(r"[^\d.e+-]+", "_", " ".join(f"{value:g}" for value in row)): row for row in rows}
