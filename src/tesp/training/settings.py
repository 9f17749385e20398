"""Length of a run, evaluation, checkpoints and logs."""

from dataclasses import dataclass
from typing import Literal

from tesp.bounds import Settings, require_at_least
from tesp.errors import ConfigurationError


@dataclass(frozen=True)
class ScheduleSettings(Settings):
    """How long a run trains and what it writes when."""

    meta_updates: int = 600
    """Meta-updates of the run."""
    evaluate_every: int = 25
    """Meta-updates between evaluations on D, D′ and D″; the start and the end are evaluated too."""
    evaluation_tasks: int = 0
    """Tasks of each set that are evaluated during training, from the first (0: all)."""
    checkpoint_every: int = 5
    """Meta-updates between checkpoints; there is one at every evaluation too."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints are kept, besides the best."""
    threads: int = 0
    """Threads that step the physics (0: all cores). No result depends on it."""

    def __post_init__(self):
        require_at_least(self, 0, "meta_updates", "evaluation_tasks", "threads")
        require_at_least(self, 1, "evaluate_every", "checkpoint_every", "keep_checkpoints")


@dataclass(frozen=True)
class LogSettings(Settings):
    """Where the measured numbers go besides ``records.jsonl``. No result depends on it."""

    tensorboard: bool = True
    """Whether the numbers are written for TensorBoard."""
    wandb: Literal["off", "online", "offline"] = "off"
    """Weights & Biases: `off`, `online` (a server; needs an account), or `offline` (files that can be uploaded)."""
    wandb_project: str = "tesp"
    """Project of Weights & Biases that the run belongs to."""

    def __post_init__(self):
        name = self.wandb_project
        if not 0 < len(name) <= 128 or set(name) & set("/\\#?%:"):
            raise ConfigurationError(
                f"wandb_project = {name!r} is not possible; give 1 to 128 characters without / \\ # ? % and :."
            )
