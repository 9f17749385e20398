"""``tesp adapt``."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from tesp.commands.parsing import Folder, parse


@dataclass(frozen=True)
class AdaptArguments:
    """Adapt a trained meta-learner to one task and draw the paths before and after each fast-update."""

    run: Folder
    """The run folder."""
    goal: tuple[float, ...]
    """The goal, x and y in metres."""
    checkpoint: str = "best"
    """`best` (highest return on D′), `latest` or a number of meta-updates."""
    seed: int = 0
    """Seed of the sampling."""


def run(arguments: list[str], console: Console) -> None:
    """Adapt to one task and draw the paths."""
    from tesp import runs
    from tesp.adapt import adapt_to_task, adaptation_records
    from tesp.plotting.trajectories import plot_trajectories
    from tesp.training.run_folder import append_records

    parsed = parse(AdaptArguments, arguments, "tesp adapt")
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
