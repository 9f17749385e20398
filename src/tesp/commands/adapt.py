"""``tesp adapt``."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from tesp.commands.parsing import Folder, Trust, options_in, parse, with_commas_split
from tesp.commands.showing import telling
from tesp.errors import ConfigurationError
from tesp.report.words import fast_updates
from tesp.trained import is_name

if TYPE_CHECKING:
    from tesp.agents.adapting import AdaptedAgent
    from tesp.storage.run_folder import RunFolder
    from tesp.tasks.family import Family


@dataclass(frozen=True)
class AdaptArguments:
    """Adapt a trained meta-learner to one task; draw and film the agent before and after each fast-update."""

    run: Folder
    """The run folder; or the file of a learner, or the name of one that comes with the package: `tesp/reacher2`."""
    goal: Annotated[tuple[float, ...], tyro.conf.arg(aliases=["--task"])]
    """The task: for goals x and y in metres."""
    fast_updates: int | None = None
    """K; by default as in training."""
    episodes: int | None = None
    """N, episodes of every round; by default as in training."""
    checkpoint: str = "best"
    """`best` (highest return on D′), `latest` or a number of meta-updates."""
    seed: int = 0
    """Seed of the sampling."""
    film: Literal["mp4", "gif", "none"] = "mp4"
    """What the film is written as, if there is to be one."""
    save: Path | None = None
    """File, NAME.safetensors, that the adapted agent is saved to."""
    output: Path | None = None
    """Folder of the pictures; by default the run's own `figures`, for a learner without a run runs/adapted/NAME."""
    trust: Trust = False


@dataclass(frozen=True)
class _Trained:
    """What is adapted, whether it lies in a run or in a file.

    Attributes:
        family: The family of its tasks.
        adapt: Adapts it to a task, as `Run.adapt` does.
        pictures: Where pictures go.
        folder: The run, if there is one.
    """

    family: "Family"
    adapt: "Callable[..., AdaptedAgent]"
    pictures: Path
    folder: "RunFolder | None" = None


def run(arguments: list[str], console: Console) -> None:
    """Adapt to one task, show what each fast-update gained, draw and film it."""
    from tesp.agents.given_task import TaskWarning
    from tesp.agents.records import adaptation_records
    from tesp.agents.rounds import AdaptationWarning
    from tesp.commands.render import film_task
    from tesp.errors import RunFolderError
    from tesp.storage.records import append_records

    words = with_commas_split(arguments, "--goal", "--task")
    parsed = parse(AdaptArguments, words, "tesp adapt")
    if parsed.save is not None and parsed.save.suffix != ".safetensors":
        raise RunFolderError(f"--save {parsed.save} is not possible; the name of the file must end in .safetensors.")
    given = _of_file(parsed, words) if is_name(parsed.run) or parsed.run.is_file() else _of_run(parsed)
    with telling(console, TaskWarning, AdaptationWarning):
        agent = given.adapt(
            parsed.goal, parsed.fast_updates, episodes=parsed.episodes, seed=parsed.seed, console=console
        )
    records = adaptation_records(
        [(past.fast_update, past.outcomes) for past in agent.history], given.family, parsed.goal
    )
    if given.folder is not None:
        given.folder.require_no_links()
        append_records(given.folder.adaptations, records)
    console.print(_table(parsed.goal, records))
    if parsed.save is not None:
        console.print(f"saved: {agent.save(parsed.save)}", markup=False)
    _draw(records, given.pictures / "trajectories.png", console)
    if parsed.film != "none":
        film_task(given.family, parsed.goal, agent, given.pictures / f"adaptation.{parsed.film}", console)


def _of_run(parsed: AdaptArguments) -> _Trained:
    from tesp import runs

    run = runs.load_run(parsed.run, parsed.checkpoint, trust=parsed.trust)
    return _Trained(run.family, run.adapt, parsed.output or run.folder.figures, run.folder)


def _of_file(parsed: AdaptArguments, words: Sequence[str]) -> _Trained:
    from tesp import building, runs
    from tesp.runs.run import adapt_to_task_of

    for option in ("checkpoint", "trust"):
        if option in options_in(words):
            raise ConfigurationError(f"--{option} is not possible with {parsed.run}, which is no run; leave it out.")
    learner = runs.load(parsed.run)
    if learner.config.family_file is not None:
        raise ConfigurationError(
            f"{parsed.run} is of a family from a file, which the learner does not carry. Adapt it in Python: "
            "`tesp.load(…).adapt(env)`."
        )
    family = building.build_family(learner.config)
    task_sets = family.sample_task_sets(learner.config.seed)
    adapt = partial(adapt_to_task_of, family, task_sets, learner)
    return _Trained(family, adapt, parsed.output or Path("runs") / "adapted" / parsed.run.stem)


def _table(goal: tuple[float, ...], records) -> Table:
    table = Table(title=f"task ({', '.join(f'{x:g}' for x in goal)})")
    for title in ("after", "return", "success", "distance (m)", "episodes", "steps"):
        table.add_column(title, justify="left" if title == "after" else "right", no_wrap=True)
    for record in records:
        k = record["fast_update"]
        after = "warm-up" if k < 0 else fast_updates(k)
        figures = (record["average_return"], record["success_rate"], record["final_distance"])
        counts = (record["episodes_per_task"], record["environment_steps"])
        shown = ["–" if math.isnan(x) else f"{x:.2f}" for x in figures]
        table.add_row(after, *shown, *(f"{x:,}" for x in counts))
    return table


def _draw(records, path: Path, console: Console) -> None:
    from tesp.report.figures.trajectories import plot_trajectories

    if any(episode["position"] is None for record in records for episode in record["episodes"]):
        console.print("the family says nothing of positions, so no paths are drawn")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    plot_trajectories(records, path)
    console.print(f"drawn: {path}", markup=False)
