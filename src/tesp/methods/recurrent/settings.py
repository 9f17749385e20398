"""What methods with a recurrent memory are made of and trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tesp.bounds import Settings, impossible, require_at_least, require_positive, require_share, require_weight
from tesp.errors import ConfigurationError
from tesp.sampling import SamplingSettings

#: Largest size of a layer: beyond it indices of weights would no longer be 32-bit integers.
_LARGEST = 2**15
#: Most trials of a replay, likewise.
_MOST_TRIALS = 2**31 - 1

#: What of the sampling these methods leave no choice in, and why.
SINGLE = {"episodes_per_round": 1, "round_budget": "episodes"}
BECAUSE = "its rounds are single episodes, each going on from the memory that the one before left"


def _require_sizes(settings: Settings, *names: str) -> None:
    """Refuse sizes that no array can have."""
    for name in names:
        value = getattr(settings, name)
        sizes = value if isinstance(value, Sequence) else [value]
        if not 1 <= min(sizes) <= max(sizes) <= _LARGEST:
            raise impossible(name, value, f"sizes from 1 to {_LARGEST:,}")


@dataclass(frozen=True)
class TrialSettings(Settings):
    """What a trial is."""

    episodes_per_trial: int = 2
    """Episodes of a task, one after the other, through which the memory is kept: rounds 0, 1, … of an adaptation."""

    def __post_init__(self):
        require_at_least(self, 1, "episodes_per_trial")


@dataclass(frozen=True)
class RecurrentNetworkSettings(Settings):
    """Sizes and kinds of the networks."""

    memory_units: int = 128
    """Units of the GRU, which is what remembers."""
    policy_units: tuple[int, ...] = (128,)
    """Units of the hidden layers of the policy and of the value function, which read the observation and the memory."""
    head: Literal["mlp", "hypernetwork"] = "mlp"
    """How the policy takes what is remembered: `mlp` as further inputs beside the observation; `hypernetwork`: all
    weights of the policy, which reads the observation alone, are made of it at every step (Beck et al. 2023)."""
    least_std: float = 0.0
    """Least standard deviation of the actions; 0: none."""

    def __post_init__(self):
        if not len(self.policy_units):
            raise ConfigurationError("policy_units is empty; give the units of one hidden layer or more, like 64 64.")
        _require_sizes(self, "memory_units", "policy_units")
        require_weight(self, "least_std")


@dataclass(frozen=True)
class PPOSettings(Settings):
    """How the policy is trained: proximal policy optimisation with a value function, over whole trials."""

    learning_rate: float = 7e-4
    """Step size of Adam."""
    learning_rate_final: float = 1.0
    """What is left of it at the end of the run, as a share; it changes linearly from meta-update to meta-update."""
    epochs: int = 8
    """How often a meta-update goes through its trials."""
    minibatches: int = 4
    """Parts that the trials of a meta-update are divided into; Adam takes a step for each."""
    clip: float = 0.1
    """ε, the clip range of the probability ratio."""
    kl_limit: float = 0.0
    """A meta-update ends after an epoch in which the mean KL divergence from the policy that sampled was above this;
    0: no limit."""
    value_weight: float = 0.5
    """Weight of the value function's loss."""
    entropy_weight: float = 0.01
    """Weight of the policy's entropy, which is to stay large."""
    gradient_norm: float = 0.5
    """Gradients are clipped to this global norm."""
    discount: float = 0.97
    """γ, the discount per control step, over the whole trial: an episode's end changes nothing."""
    gae_lambda: float = 0.9
    """λ of generalised advantage estimation, likewise."""

    def __post_init__(self):
        require_at_least(self, 1, "epochs", "minibatches")
        require_positive(self, "learning_rate", "clip", "gradient_norm")
        require_weight(self, "kl_limit", "value_weight", "entropy_weight")
        require_share(self, "learning_rate_final", "discount", "gae_lambda")


@dataclass(frozen=True)
class BeliefSettings(Settings):
    """What is believed of a task, and how that is learned."""

    latent_size: int = 5
    """Entries of the latent z that stands for a task."""
    decoder_units: tuple[int, ...] = (64, 32)
    """Units of the hidden layers of the decoder."""
    decode_states: bool = False
    """Let z foretell the following observation too, and not the reward alone: for tasks that differ in dynamics."""
    kl_weight: float = 0.1
    """β, weight of the KL divergence of a belief from the one a step before."""
    belief_learning_rate: float = 1e-3
    """Step size of Adam for encoder and decoder; of it too, `learning_rate_final` is left at the end."""
    belief_updates: int = 3
    """Their steps in one meta-update."""
    belief_batch: int = 16
    """Trials of each such step, drawn from the replay."""
    belief_gradient_norm: float = 0.0
    """Gradients of encoder and decoder are clipped to this global norm; 0: not at all."""
    prefixes: int = 50
    """Beliefs of every trial that are asked to foretell, drawn from all of its steps."""
    decoded_steps: int = 100
    """Steps of every trial that are to be foretold, drawn likewise."""
    replay_trials: int = 1000
    """Newest trials that encoder and decoder learn from. All of them are in every checkpoint, and in what is stored
    after every meta-update."""

    def __post_init__(self):
        if not len(self.decoder_units):
            raise ConfigurationError("decoder_units is empty; give the units of one hidden layer or more, like 64 32.")
        _require_sizes(self, "latent_size", "decoder_units", "belief_batch", "prefixes", "decoded_steps")
        require_at_least(self, 1, "belief_updates")
        if not 1 <= self.replay_trials <= _MOST_TRIALS:
            raise impossible("replay_trials", self.replay_trials, f"numbers from 1 to {_MOST_TRIALS:,}")
        require_positive(self, "belief_learning_rate")
        require_weight(self, "kl_weight", "belief_gradient_norm")


def check_sampling(ppo: PPOSettings, sampling: SamplingSettings) -> None:
    """Refuse rounds of more than one episode, and tasks that cannot be divided into minibatches.

    Raises:
        ConfigurationError: See there.
    """
    for name, value in SINGLE.items():
        if (given := getattr(sampling, name)) != value:
            raise ConfigurationError(
                f"{name} = {given!r} is not possible with a method that remembers: {BECAUSE}. Give {value!r}; more "
                "episodes are a larger episodes_per_trial or more tasks_per_update."
            )
    if sampling.tasks_per_update % ppo.minibatches:
        raise ConfigurationError(
            f"minibatches = {ppo.minibatches} is not possible with tasks_per_update = {sampling.tasks_per_update}, "
            "which must be a multiple of it."
        )
