"""What advantages are estimated with."""

from dataclasses import dataclass
from typing import Literal

from tesp.bounds import Settings, require_share


@dataclass(frozen=True)
class EstimationSettings(Settings):
    """How advantages are estimated."""

    discount: float = 0.99
    """γ, the discount per control step."""
    gae_lambda: float = 0.97
    """λ of generalised advantage estimation."""
    normalise_advantages: Literal["none", "task"] = "none"
    """`task` shifts and scales the advantages of each task and round to mean 0 and standard deviation 1."""

    def __post_init__(self):
        require_share(self, "discount", "gae_lambda")
