"""Sizes of the networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tesp.bounds import Settings, impossible
from tesp.errors import ConfigurationError

#: Largest size of a layer: beyond it indices of weights would no longer be 32-bit integers.
_LARGEST = 2**15


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """Sizes of the networks."""

    policy_units: tuple[int, ...] = (256, 256)
    """Units of the policy's hidden layers."""
    encoder_units: int = 256
    """Units of the task encoder's GRU."""
    embedding_size: int = 8
    """d, entries of the task embedding."""
    conditioning: Literal["concatenate", "modulate"] = "concatenate"
    """How a shared policy takes the embedding: as further inputs, or as scale and shift of what enters every hidden
    unit."""
    policies: int = 4
    """J, policies with a shared trunk, which are mixed by weights that the task embedding gives."""
    least_std: float = 0.0
    """Least standard deviation of the actions, of every method; 0: none. Without one the policy becomes all but
    deterministic in long runs; gradients of the fast-updates, which grow with 1/σ, then become too large for the rates
    that were learned."""

    def __post_init__(self):
        if not len(self.policy_units):
            raise ConfigurationError("policy_units is empty; give the units of one hidden layer or more, like 64 64.")
        for name in ("policy_units", "encoder_units", "embedding_size", "policies"):
            value = getattr(self, name)
            sizes = value if isinstance(value, Sequence) else [value]
            if not 1 <= min(sizes) <= max(sizes) <= _LARGEST:
                raise impossible(name, value, f"sizes from 1 to {_LARGEST:,}")
        if not 0 <= self.least_std < float("inf"):
            raise impossible("least_std", self.least_std, "0 or a positive number")
