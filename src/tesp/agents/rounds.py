"""The rounds of an adaptation to one task: what happened in them, and whether it changed anything."""

import warnings
from typing import NamedTuple

import jax
import numpy as np
import scipy
from jaxtyping import Bool, Float, Int, PRNGKeyArray

from tesp.episodes.collect import Outcomes
from tesp.episodes.rollout import RoundResult
from tesp.errors import ConfigurationError

#: Separates the randomness of adapting to a single task from that of training and evaluation.
_ADAPTATION = 0x7E5A


class AdaptationWarning(UserWarning):
    """Adapting did not change what the agent gets."""


class AdaptationRound(NamedTuple):
    """What happened in one round of adaptation.

    Attributes:
        fast_update: Fast-updates before the round; −1 for the warm-up round, in which nothing is known of the task.
        returns: Sum of the rewards of every episode, in the order of their numbers.
        successes: Whether the environment called the episode a success; never, if it says nothing.
        lengths: Control steps of every episode.
        outcomes: More about the episodes, with axes (task, episode, …) of one task.
    """

    fast_update: int
    returns: Float[np.ndarray, " episode"]
    successes: Bool[np.ndarray, " episode"]
    lengths: Int[np.ndarray, " episode"]
    outcomes: Outcomes

    @property
    def episodes(self) -> int:
        """Episodes of the round."""
        return len(self.returns)

    @property
    def judged_returns(self) -> Float[np.ndarray, " judged"]:
        """The returns that a mean may be taken of: those of the first N episodes, whatever the round is measured in."""
        return self.returns[self.outcomes.judged[0]]

    @property
    def environment_steps(self) -> int:
        """Control steps of the round."""
        return int(self.lengths.sum())


def round_of(result: RoundResult) -> AdaptationRound:
    """Return what happened in a round of a single task."""
    assert result.round is not None
    episodes = result.round.episodes
    rewards = np.where(np.asarray(episodes.valid[0]), np.asarray(episodes.reward[0], np.float64), 0.0)
    sampled = result.outcomes.length[0] > 0
    outcomes = result.outcomes if sampled.all() else jax.tree.map(lambda x: x[:, sampled], result.outcomes)
    returns = rewards.sum(axis=-1)[sampled]
    return AdaptationRound(result.fast_update, returns, outcomes.success[0].copy(), outcomes.length[0].copy(), outcomes)


def warn_if_alike(before: AdaptationRound, after: AdaptationRound) -> None:
    """Warn the caller's caller if two rounds do not differ in what the episodes returned."""
    one, other = before.judged_returns, after.judged_returns
    if significantly_different(one, other):
        return
    if min(len(one), len(other)) < 2:
        said = "one episode a round cannot tell whether that is a change: give more episodes"
    else:
        said = (
            "which is no significant change (Welch's t-test at 5 %): give more episodes or fast-updates, or look "
            "whether the environment's task, observations and rewards are those of the training"
        )
    warnings.warn(
        f"The return went from {one.mean():.2f} ({after_text(before)}) to {other.mean():.2f} ({after_text(after)}) in "
        f"rounds of {len(other)} episode{'s'[: len(other) > 1]}; {said}.",
        AdaptationWarning,
        stacklevel=4,
    )


def after_text(result: AdaptationRound) -> str:
    """Say in words after how many fast-updates a round was."""
    fast_update = result.fast_update
    if fast_update < 0:
        return "warm-up round"
    return f"after {fast_update} fast-update{'' if fast_update == 1 else 's'}"


def adaptation_key(seed: int) -> PRNGKeyArray:
    """Return the randomness of an adaptation to a single task."""
    return jax.random.fold_in(jax.random.key(seed), _ADAPTATION)


def significantly_different(before: Float[np.ndarray, " one"], after: Float[np.ndarray, " other"]) -> bool:
    """Tell whether two samples have different means: Welch's t-test at 5 %, two-sided.

    A sample of a single value tells nothing: no.
    """
    if min(len(before), len(after)) < 2:
        return False
    if np.ptp(before) == 0 and np.ptp(after) == 0:
        return bool(before[0] != after[0])
    _, chance = scipy.stats.ttest_ind(before, after, equal_var=False)
    return float(np.asarray(chance)) < 0.05


def checked_seed(seed: int) -> int:
    """Return a seed of an adaptation.

    Raises:
        ConfigurationError: It is no integer from 0 to 2³² − 1: of larger ones the random numbers would not differ.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ConfigurationError(f"seed = {seed!r} is not possible; give an integer from 0 to {2**32 - 1}.")
    return int(seed)
