"""What is taken away from TESP by its ablations."""

from dataclasses import dataclass
from typing import Literal

from tesp.errors import ConfigurationError


@dataclass(frozen=True)
class AblationSettings:
    """What is taken away from TESP, to see what it is worth (section 5.3 of the paper). The other methods have none."""

    buffer: Literal["best", "all"] = "best"
    """`all` keeps every experienced episode in the buffer instead of the best M (V1)."""
    adapt_policy: bool = False
    """Fast-update the policy of each task too, so that no policy is shared (V2)."""
    fast_update: bool = True
    """Off: α = 0, one task encoder for all tasks, which only the meta-update trains (V4)."""
    fixed_rate: bool = False
    """Every rate stays at `initial_rate` (V5)."""

    def __post_init__(self):
        if self.fixed_rate and not self.fast_update:
            raise ConfigurationError(
                "fixed_rate = True is not possible with fast_update = False, where there is no rate; give one of them."
            )
