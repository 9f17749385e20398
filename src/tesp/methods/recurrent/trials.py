"""A trial: the episodes of one task, one after the other, as the one sequence that is remembered and learned from."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from tesp.types import Episodes, PyTree

#: Inputs of networks are clipped to this many standard deviations.
FAR = 10.0


class Carried(NamedTuple):
    """What an agent carries from step to step, and from one episode of a trial to the next.

    Attributes:
        state: m, the state of the memory.
        action: The last action of the episode before; zero where there is none.
        reward: The last reward of the episode before; where there is none, the mean reward, which is scaled to zero.
    """

    state: Float[Array, "*batch units"]
    action: Float[Array, "*batch action"]
    reward: Float[Array, "*batch"]


class Moments(NamedTuple):
    """Mean and variance of a quantity, entry by entry."""

    mean: Float[Array, "*entry"]
    variance: Float[Array, "*entry"]

    def scaled(self, x: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
        """Return (x − mean) / standard deviation, clipped to ±10."""
        return jnp.clip((x - self.mean) / self.std, -FAR, FAR)

    @property
    def std(self) -> Float[Array, "*entry"]:
        """The standard deviation, a little more than zero at least."""
        return jnp.sqrt(self.variance + 1e-8)


class Scaling(NamedTuple):
    """How what networks see and foretell is scaled: measured, not trained.

    Attributes:
        updates: Meta-updates that have measured.
        observation: Of s.
        reward: Of r.
        returns: Of what the value function foretells.
    """

    updates: Float[Array, ""]
    observation: Moments
    reward: Moments
    returns: Moments


def fresh_scaling(observation_size: int) -> Scaling:
    """Return the scaling that leaves everything as it is."""
    nothing, one = jnp.zeros(()), jnp.ones(())
    wide = Moments(jnp.zeros(observation_size), jnp.ones(observation_size))
    return Scaling(nothing, wide, Moments(nothing, one), Moments(nothing, one))


def measured(scaling: Scaling, trials: "Trial", returns: Float[Array, "trial step"], memory: float = 100.0) -> Scaling:
    """Return the scaling after more trials: mean and variance of what all meta-updates so far have seen.

    With b = 1 / min(n + 1, ``memory``) after n meta-updates, μ ← (1 − b) μ + b μ′ and
    σ² ← (1 − b) σ² + b σ′² + b (1 − b) (μ − μ′)²; the first takes all that it measures.
    """
    share = 1.0 / jnp.minimum(scaling.updates + 1.0, memory)

    def following(old: Moments, x) -> Moments:
        valid = trials.valid.reshape(*trials.valid.shape, *(1,) * (x.ndim - trials.valid.ndim))
        mean = jnp.mean(x, axis=(0, 1), where=valid)
        variance = jnp.mean((x - mean) ** 2, axis=(0, 1), where=valid)
        apart = share * (1.0 - share) * (old.mean - mean) ** 2
        return Moments(old.mean + share * (mean - old.mean), old.variance + share * (variance - old.variance) + apart)

    return Scaling(
        scaling.updates + 1.0,
        following(scaling.observation, trials.observation),
        following(scaling.reward, trials.reward),
        following(scaling.returns, returns),
    )


class Trial(NamedTuple):
    """The valid steps of all episodes of a trial, in order, and then what is left of their padding: zeros.

    Attributes:
        observation: s_t.
        action: a_t.
        reward: r_t.
        behaviour: The distribution that a_t was drawn from.
        start: Whether an episode begins with this step.
        valid: Whether the step exists.
    """

    observation: Float[Any, "*batch step observation"]
    action: Float[Any, "*batch step action"]
    reward: Float[Any, "*batch step"]
    behaviour: PyTree
    start: Bool[Any, "*batch step"]
    valid: Bool[Any, "*batch step"]


def joined(rounds: Sequence[Episodes]) -> Trial:
    """Return the trial of one task, whose rounds are single episodes (1, step, …)."""
    whole = jax.tree.map(lambda *x: jnp.concatenate(x, axis=1)[0], *rounds)
    start = jnp.concatenate([jnp.arange(x.valid.shape[1]) == 0 for x in rounds])
    # Stable, so that steps stay in the order in which they were taken.
    order = jnp.argsort(~whole.valid, stable=True)
    valid = whole.valid[order]

    def arranged(x):
        x = x[order]
        return jnp.where(valid.reshape(-1, *(1,) * (x.ndim - 1)), x, jnp.zeros((), x.dtype))

    steps = jax.tree.map(arranged, (whole.observation, whole.action, whole.reward, whole.behaviour, start))
    observation, action, reward, behaviour, begins = steps
    return Trial(observation, action, reward, behaviour, begins, valid)


def inputs(
    scaling: Scaling,
    observation: Float[Array, "*batch observation"],
    action: Float[Array, "*batch action"],
    reward: Float[Array, "*batch"],
    start: Bool[Array, "*batch"],
) -> Float[Array, "*batch inputs"]:
    """Return what the memory reads at a step: [s_t, a_{t−1}, r_{t−1}, whether an episode begins].

    Args:
        scaling: How observations and rewards are scaled; actions are clipped to [−1, 1], as they are where they act.
        observation: s_t.
        action: a_{t−1}; at the beginning of an episode the last one of the episode before.
        reward: r_{t−1}, likewise.
        start: Whether an episode begins.
    """
    seen = scaling.observation.scaled(observation)
    told = [jnp.clip(action, -1.0, 1.0), scaling.reward.scaled(reward)[..., None]]
    return jnp.concatenate([seen, *told, start[..., None].astype(seen.dtype)], axis=-1)


def inputs_of(scaling: Scaling, trial: Trial) -> Float[Array, "step inputs"]:
    """Return what the memory reads at every step of one trial."""
    action = jnp.concatenate([jnp.zeros_like(trial.action[:1]), trial.action[:-1]])
    reward = jnp.concatenate([scaling.reward.mean[None].astype(trial.reward.dtype), trial.reward[:-1]])
    return inputs(scaling, trial.observation, action, reward, trial.start)
