"""What every method's configuration is."""

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tesp.bounds import Settings

if TYPE_CHECKING:
    from tesp.interface import Interface
    from tesp.methods.base import Method
    from tesp.sampling import SamplingSettings


@dataclass(frozen=True)
class MethodConfig(Settings, abc.ABC):
    """The options of a method: a frozen dataclass whose fields are options, or groups of them (dataclasses too).

    Modules of configurations import no JAX, so that listing options takes no time; `build` imports what it needs.
    """

    @property
    @abc.abstractmethod
    def last_round(self) -> int:
        """Number of the last round of an adaptation, as in the plan of the method: K for K inferences after round 0."""

    @abc.abstractmethod
    def build(self, interface: "Interface", sampling: "SamplingSettings") -> "Method":
        """Make the method.

        Args:
            interface: What agents see and do, and for how long.
            sampling: How much is sampled.

        Raises:
            ConfigurationError: Options contradict each other or what is sampled.
        """
