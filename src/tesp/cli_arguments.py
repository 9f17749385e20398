"""What the commands take: one dataclass each, from which their options and help are made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Folder = Annotated[Path, tyro.conf.Positional]


@dataclass(frozen=True)
class EvaluateArguments:
    """Evaluate a run on D, D′ and D″ after k = 0…K fast-updates."""

    run: Folder
    """The run folder."""
    checkpoint: str = "best"
    """`best` (highest return on D′), `latest`, a number of meta-updates, or `all` checkpoints that were kept."""
    dynamics_noise: tuple[float, ...] = (0.0,)
    """σ of noise N(0, σ²) that is added to the state after every control step; one evaluation for each."""


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


@dataclass(frozen=True)
class PlotArguments:
    """Draw the figures of one or several runs of a family."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """The run folders; runs that differ in the seed only are averaged."""
    x: Literal["meta_updates", "environment_steps", "wall_seconds"] = "meta_updates"
    """What the horizontal axis shows."""
    published: bool = False
    """Lay the paper's own curves over these; there are some for the ant."""
    output: Path | None = None
    """Folder of the figures; by default `figures` in the run folder, or here for several runs."""


@dataclass(frozen=True)
class CompareArguments:
    """Train several methods alike on several seeds, then write one table and one figure."""

    algorithms: tuple[str, ...] = ("tesp", "maml", "meta-sgd", "adapt-sv")
    """The methods; the oracle always joins them."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """The seeds."""
    preset: str = "quick"
    """The family's preset that every method starts from."""
    equal_experience: bool = False
    """Give methods without a warm-up round as many more episodes in their first round."""
    output: Path | None = None
    """Folder of the comparison; by default runs/compare-FAMILY-PRESET."""


@dataclass(frozen=True)
class ListArguments:
    """List families, presets and runs."""

    folder: Annotated[Path, tyro.conf.Positional] = Path("runs")
    """Where the runs lie."""


@dataclass(frozen=True)
class ResumeArguments:
    """Continue a run from its last checkpoint, as if it had not been interrupted."""

    run: Folder
    """The run folder."""
