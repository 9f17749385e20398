"""How much is sampled."""

from dataclasses import dataclass
from typing import Literal

from tesp.bounds import Settings, require_at_least


@dataclass(frozen=True)
class SamplingSettings(Settings):
    """How much is sampled."""

    tasks_per_update: int = 20
    """Training tasks of one meta-update, drawn without replacement."""
    episodes_per_round: int = 25
    """N, the episodes sampled per task in one round."""
    round_budget: Literal["episodes", "steps"] = "episodes"
    """What N is a measure of. `episodes`: a round has N episodes of every task. `steps`: it goes on, with complete
    episodes, until every task has N·H control steps (H: horizon), but to no more than 4·N episodes."""

    def __post_init__(self):
        require_at_least(self, 1, "tasks_per_update", "episodes_per_round")
