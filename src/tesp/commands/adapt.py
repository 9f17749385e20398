"""``tesp adapt``."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.table import Table

from tesp.commands.parsing import Folder, Trust, parse, with_commas_split
from tesp.commands.showing import telling
from tesp.report.words import fast_updates


@dataclass(frozen=True)
class AdaptArguments:
    """Adapt a trained meta-learner to one task; draw and film the agent before and after each fast-update."""

    run: Folder
    """The run folder."""
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
    trust: Trust = False


def run(arguments: list[str], console: Console) -> None:
    """Adapt to one task, show what each fast-update gained, draw and film it."""
    from tesp import runs
    from tesp.agents.given_task import TaskWarning
    from tesp.agents.records import adaptation_records
    from tesp.agents.rounds import AdaptationWarning
    from tesp.commands.render import film_task
    from tesp.errors import RunFolderError
    from tesp.storage.records import append_records

    parsed = parse(AdaptArguments, with_commas_split(arguments, "--goal", "--task"), "tesp adapt")
    if parsed.save is not None and parsed.save.suffix != ".safetensors":
        raise RunFolderError(f"--save {parsed.save} is not possible; the name of the file must end in .safetensors.")
    run = runs.load_run(parsed.run, parsed.checkpoint, trust=parsed.trust)
    with telling(console, TaskWarning, AdaptationWarning):
        agent = run.adapt(parsed.goal, parsed.fast_updates, episodes=parsed.episodes, seed=parsed.seed, console=console)
    records = adaptation_records([(past.fast_update, past.outcomes) for past in agent.history], run.family, parsed.goal)
    run.folder.require_no_links()
    append_records(run.folder.adaptations, records)
    console.print(_table(parsed.goal, records))
    if parsed.save is not None:
        console.print(f"saved: {agent.save(parsed.save)}", markup=False)
    _draw(records, run.folder.figures / "trajectories.png", console)
    if parsed.film != "none":
        film_task(run.family, parsed.goal, agent, run.folder.figures / f"adaptation.{parsed.film}", console)


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
    path.parent.mkdir(exist_ok=True)
    plot_trajectories(records, path)
    console.print(f"drawn: {path}", markup=False)
