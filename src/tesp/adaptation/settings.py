"""What fast-updates and meta-updates are done with."""

from dataclasses import dataclass
from typing import Literal

from tesp.bounds import Settings, impossible, require_at_least, require_positive, require_share, require_weight
from tesp.errors import ConfigurationError


@dataclass(frozen=True)
class FastUpdateSettings(Settings):
    """How a task's parameters are adapted."""

    fast_updates: int = 3
    """K, the number of fast-updates of a task."""
    initial_rate: float = 0.001
    """Initial value of every entry of the learned rates α (or the fixed rate)."""
    rate_bound: float = 0.1
    """The rates are used after clipping to [−bound, bound]."""
    inner_gradient_norm: float = 60.0
    """Gradients of the fast-update are clipped to this global norm."""
    second_order: bool = False
    """Differentiate the meta-update through the gradients of the fast-updates, on the stored episodes."""
    inner_loss: Literal["log_probability", "likelihood_ratio"] = "log_probability"
    """What the fast-updates descend on: log π · Â, or ρ · Â with the ratio ρ of π to the policy that acted. Their
    gradients are the same where the episodes were sampled; `second_order` differentiates them once more, and then only
    the ratio accounts for what would have been sampled."""
    learned_start: bool = True
    """Let the meta-update train what the fast-updates begin from. Off: it stays what it is in a fresh meta-learner, the
    origin for AdaptSV and CAVIA."""

    def __post_init__(self):
        require_at_least(self, 0, "fast_updates")
        require_positive(self, "rate_bound", "inner_gradient_norm")
        if not abs(self.initial_rate) <= self.rate_bound:
            raise ConfigurationError(
                f"initial_rate = {self.initial_rate} is not possible with rate_bound = {self.rate_bound}, which rates "
                "are clipped to; give a smaller initial_rate or a larger rate_bound."
            )


@dataclass(frozen=True)
class MetaUpdateSettings(Settings):
    """How the meta-learner's parameters are trained."""

    learning_rate: float = 3e-4
    """Step size of Adam; under the schedule `adaptive` the one that it starts from."""
    learning_rate_schedule: Literal["constant", "linear", "last_third", "adaptive"] = "constant"
    """`linear` lowers the step size to zero over the run; `last_third` keeps it for two thirds of the run and
    lowers it to zero over the rest, so that late meta-updates settle. `adaptive` finds it: after a meta-update in which
    too few epochs were below `kl_bound` it is lowered, after one in which all were it is raised."""
    learning_rate_range: tuple[float, float] = (1e-5, 2e-2)
    """Least and greatest step size of the schedule `adaptive`."""
    learning_rate_ceiling: Literal["constant", "linear", "last_third"] = "linear"
    """What the schedule `adaptive` may not exceed. `constant`: the greatest step size of its range; `linear`: that one
    falls linearly to the least over the run; `last_third`: what was found is itself lowered linearly to the least over
    the last third of the run, so that late meta-updates settle whatever step size was found."""
    parameter_average: float = 0.0
    """Decay per meta-update of a moving average of the parameters, which is then what is evaluated and adapted;
    training goes on from the parameters themselves. 0: no average."""
    rates_step: float = 1.0
    """Step size of the rates α, as a multiple of Adam's step size for everything else. Adam moves every entry by
    about its step size whatever the size of the gradient, so rates with hardly any gradient wander to the bound;
    smaller steps keep them near their initial value until the gradients agree."""
    rates_gradient: Literal["every_epoch", "first_epoch"] = "every_epoch"
    """Where the gradient of the rates α is taken, if they are learned. `first_epoch`: at the parameters that sampled
    the episodes, and all epochs use that one. Once the first epochs have moved the policy as far as these episodes can
    tell, later gradients point back; they stop what goes too far, but say little that is true of the rates."""
    project_rates: bool = False
    """Keep α inside its bound after every step. Otherwise α is only used clipped, and an entry that has passed
    the bound has no gradient any more and stays there."""
    epochs: int = 20
    """Full-batch PPO epochs of one meta-update."""
    judge_last_epoch: bool = False
    """Let the parameters after the last epoch's step compete too. Otherwise that step is not taken, for it could not
    be kept: the candidates are the parameters after 0 … epochs − 1 steps."""
    clip: float = 0.15
    """ε, the clip range of the probability ratio."""
    kl_bound: float = 0.01
    """Of the epochs' parameters, the unchanged ones among them, those with the lowest policy loss are kept whose mean
    KL divergence to the sampling policy is below this bound. With a loss on every round both are means over the rounds,
    weighted as the losses are, so that the policy of the last round alone may go further."""
    stop_at_kl_bound: bool = False
    """End the epochs of a meta-update as soon as the mean KL divergence passes the bound."""
    embedding_penalty: float = 0.01
    """η, weight of the mean square of the task embedding's entries; for MAESN of the divergence of the latent that
    fast-updates begin from, KL(N(μ¹, σ¹²) ‖ N(0, 1))."""
    early_loss_weight: float = 0.0
    """w, weight of a PPO loss on the rounds before the last: the warm-up round and rounds 1 … K, each at its own θ^k
    and h^k, which are differentiated. Nothing else in the objective trains what the agent does while it explores, so
    that the episodes in the buffer can get worse while the last round improves."""
    early_loss_ratio: float = 1.0
    """Each early round counts so many times as much as the round after it: round K has weight w, round K−1 w times this
    ratio, and so on."""
    early_loss_final: float = 1.0
    """What is left of w at the end of the run, as a share; it changes linearly from meta-update to meta-update."""
    inner_kl_penalty: float = 0.0
    """Weight of the mean KL divergence from the policies that acted before the fast-updates, over these rounds; in
    second order."""
    exploration_credit: float = 0.0
    """What the rounds before the last are credited with of the last round's return: every action of theirs with so many
    times the task's mean return, less the mean over tasks. As published: 1; without bias for N episodes: N."""
    tasks_at_once: int = 0
    """Tasks a device computes in one vectorised call (0: one on a CPU, all on an accelerator). Only where it is one
    task can the steps that it has not be skipped."""

    def __post_init__(self):
        require_at_least(self, 1, "epochs")
        require_at_least(self, 0, "tasks_at_once")
        if self.epochs == 1 and not self.judge_last_epoch:
            raise ConfigurationError(
                "epochs = 1 is not possible without judge_last_epoch: only the unchanged parameters would compete. "
                "Give 2 or more, or judge_last_epoch."
            )
        require_positive(self, "learning_rate", "rates_step", "clip", "kl_bound")
        require_weight(self, "embedding_penalty", "early_loss_weight", "inner_kl_penalty", "exploration_credit")
        require_share(self, "early_loss_ratio", "early_loss_final")
        if not 0 <= self.parameter_average < 1:
            raise impossible("parameter_average", self.parameter_average, "0 or more and less than 1")
        between = self.learning_rate_range
        if not 0 < between[0] <= between[1] < float("inf"):
            raise impossible("learning_rate_range", between, "two positive numbers, the smaller first")
        if self.learning_rate_schedule == "adaptive" and not between[0] <= self.learning_rate <= between[1]:
            raise ConfigurationError(
                f"learning_rate = {self.learning_rate} is not possible with learning_rate_schedule = 'adaptive' and "
                f"learning_rate_range = {between}, which it begins in; give one inside, or another range."
            )

    @property
    def steps(self) -> int:
        """Steps of Adam in one meta-update."""
        return self.epochs if self.judge_last_epoch else self.epochs - 1
