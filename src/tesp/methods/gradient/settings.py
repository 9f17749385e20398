"""The options of methods that adapt by gradients, and which of them has which."""

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tesp.adaptation.settings import FastUpdateSettings, MetaUpdateSettings
from tesp.bounds import Settings, require_at_least
from tesp.errors import ConfigurationError
from tesp.estimators.settings import EstimationSettings
from tesp.methods.settings import MethodConfig
from tesp.networks.settings import NetworkSettings

if TYPE_CHECKING:
    from tesp.interface import Interface
    from tesp.methods.gradient.method import GradientMethod
    from tesp.sampling import SamplingSettings


@dataclass(frozen=True)
class AblationSettings(Settings):
    """What is taken away from TESP, to see what it is worth (section 5.3 of the paper)."""

    buffer: Literal["best", "all"] = "best"
    """`all` keeps every experienced episode in the buffer instead of the best M (V1)."""
    adapt_policy: bool = False
    """Fast-update the policy of each task too, so that no policy is shared (V2)."""
    fast_update: bool = True
    """Off: α = 0, one task encoder for all tasks, which only the meta-update trains (V4)."""
    fixed_rate: bool = False
    """Every rate stays at `initial_rate` (V5; for AdaptSV a part of CAVIA)."""

    def __post_init__(self):
        if self.fixed_rate and not self.fast_update:
            raise ConfigurationError(
                "fixed_rate = True is not possible with fast_update = False, where there is no rate; give one of them."
            )


@dataclass(frozen=True)
class ExperienceSettings(Settings):
    """What a method makes of its rounds."""

    buffer_size: int = 16
    """M, the best episodes that a task's buffer keeps."""
    extra_episodes: bool = False
    """Give a method without a warm-up round as many episodes as one has: its first round samples 2N instead of N.
    For the comparison at equal experience."""

    def __post_init__(self):
        require_at_least(self, 1, "buffer_size")


_ABLATIONS = frozenset({"buffer", "adapt_policy", "fast_update", "fixed_rate"})
_ENCODER = frozenset({"encoder_units", "buffer_size"})
_EMBEDDING = frozenset({"embedding_size", "conditioning", "embedding_penalty"})
RATES = frozenset({"rates_step", "rates_gradient", "project_rates"})
_ADAPTATION = frozenset(
    {"initial_rate", "rate_bound", "inner_gradient_norm", "second_order", "extra_episodes"}
    | {"early_loss_weight", "early_loss_ratio", "early_loss_final"}
)
#: What single methods have, and the others do not.
_SINGLE = frozenset({"learned_start", "inner_loss", "inner_kl_penalty", "exploration_credit", "policies"})

#: Options that the library's methods do not have, by where their algorithms are.
ABSENT: dict[str, frozenset[str]] = {
    "tesp:TESP": _SINGLE | {"extra_episodes"},
    "tesp_set:TESPSet": (_SINGLE | _ABLATIONS | {"extra_episodes"}) - {"policies"},
    "maml:MAML": _SINGLE | _ABLATIONS | _ENCODER | _EMBEDDING | RATES,
    "meta_sgd:MetaSGD": _SINGLE | _ABLATIONS | _ENCODER | _EMBEDDING,
    "adapt_sv:AdaptSV": (_SINGLE | _ABLATIONS | _ENCODER) - {"learned_start", "fixed_rate"},
    "maesn:MAESN": _SINGLE | _ABLATIONS | _ENCODER,
    "oracle:Oracle": _SINGLE | _ABLATIONS | _ENCODER | RATES | _ADAPTATION | {"embedding_size", "embedding_penalty"},
}


def absent_of(algorithm: Callable[..., Any]) -> frozenset[str]:
    """Return which options an algorithm does not have: sizes and rates that its constructor does not name."""
    named = set(inspect.signature(algorithm).parameters)
    if {"keep_all", "learned_rates", "adapts_policy", "encoder_units"} <= named:
        return _SINGLE - named
    asked = {"encoder_units", "embedding_size", "conditioning", "initial_rate", "least_std"}
    named |= {"embedding_size"} if "latent_size" in named else set()
    return _ABLATIONS | (_SINGLE | asked) - named


@dataclass(frozen=True)
class GradientConfig(MethodConfig):
    """The options of methods that adapt by gradients. Not all have all of them; see `ABSENT`."""

    experience: ExperienceSettings = field(default_factory=ExperienceSettings)
    """What is made of rounds."""
    network: NetworkSettings = field(default_factory=NetworkSettings)
    """Sizes of the networks."""
    fast: FastUpdateSettings = field(default_factory=FastUpdateSettings)
    """The fast-updates."""
    meta: MetaUpdateSettings = field(default_factory=MetaUpdateSettings)
    """The meta-updates."""
    estimation: EstimationSettings = field(default_factory=EstimationSettings)
    """Advantages."""
    ablation: AblationSettings = field(default_factory=AblationSettings)
    """Ablations of TESP."""

    @property
    def last_round(self) -> int:
        """K, the number of fast-updates."""
        return self.fast.fast_updates

    def build(self, interface: "Interface", sampling: "SamplingSettings") -> "GradientMethod":
        """Make TESP. The other methods, which have these options too, are made by their names."""
        tesp, build = (
            pkgutil.resolve_name(f"tesp.methods.gradient.{where}") for where in ("tesp:TESP", "building:build")
        )
        return build(self, tesp, "tesp", interface, sampling)
