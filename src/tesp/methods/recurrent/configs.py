"""The options of methods with a recurrent memory."""

import pkgutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tesp.methods.recurrent.settings import (
    BeliefSettings,
    PPOSettings,
    RecurrentNetworkSettings,
    TrialSettings,
    check_sampling,
)
from tesp.methods.settings import MethodConfig

if TYPE_CHECKING:
    from tesp.interface import Interface
    from tesp.methods.recurrent.rl2 import RL2
    from tesp.methods.recurrent.varibad import VariBAD
    from tesp.sampling import SamplingSettings


@dataclass(frozen=True)
class RL2Config(MethodConfig):
    """The options of RL²."""

    trial: TrialSettings = field(default_factory=TrialSettings)
    """The trials."""
    network: RecurrentNetworkSettings = field(default_factory=RecurrentNetworkSettings)
    """The networks."""
    ppo: PPOSettings = field(default_factory=PPOSettings)
    """The training."""

    @property
    def last_round(self) -> int:
        """Episodes of a trial after the first."""
        return self.trial.episodes_per_trial - 1

    def build(self, interface: "Interface", sampling: "SamplingSettings") -> "RL2":
        """Make RL²."""
        check_sampling(self.ppo, sampling)
        made = pkgutil.resolve_name("tesp.methods.recurrent.rl2:RL2")
        return made(interface, self.trial.episodes_per_trial, self.network, self.ppo)


@dataclass(frozen=True)
class VariBADConfig(MethodConfig):
    """The options of VariBAD."""

    trial: TrialSettings = field(default_factory=TrialSettings)
    """The trials."""
    network: RecurrentNetworkSettings = field(default_factory=RecurrentNetworkSettings)
    """The networks."""
    belief: BeliefSettings = field(default_factory=BeliefSettings)
    """The beliefs."""
    ppo: PPOSettings = field(default_factory=PPOSettings)
    """The training of policy and value function."""

    @property
    def last_round(self) -> int:
        """Episodes of a trial after the first."""
        return self.trial.episodes_per_trial - 1

    def build(self, interface: "Interface", sampling: "SamplingSettings") -> "VariBAD":
        """Make VariBAD."""
        check_sampling(self.ppo, sampling)
        made = pkgutil.resolve_name("tesp.methods.recurrent.varibad:VariBAD")
        return made(interface, self.trial.episodes_per_trial, self.network, self.belief, self.ppo)
