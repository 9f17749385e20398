"""What an algorithm is: three answers, and nothing else."""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from tesp.adaptation.task_objective import mean_square
from tesp.types import Episodes, Parameters, PyTree


class Algorithm(eqx.Module):
    """Which parameters adapt, with which rates, and what the policy is conditioned on.

    Collection, advantages, fast-update, meta-update, evaluation, records and checkpoints are shared by all
    algorithms and know none of them by name. The methods describe **one** task; the task axis is added
    outside.

    Attributes:
        warm_up: Whether a round with the embedding at zero fills the buffer before the first fast-update.
        keep_all: Whether the buffer holds every experienced episode instead of the best M.
        learned_rates: Whether the meta-update also trains the rates α.
        adapts_policy: Whether `policy` depends on ``adapted``, so that every task has its own policy.
        action_size: Entries of an action.
        embedding_size: d, entries of what the policy is conditioned on; 0 for nothing.
        sees_task: Whether `embedding` looks at the task, which only an oracle may.
    """

    sees_task: ClassVar[bool] = False

    warm_up: eqx.AbstractVar[bool]
    keep_all: eqx.AbstractVar[bool]
    learned_rates: eqx.AbstractVar[bool]
    adapts_policy: eqx.AbstractVar[bool]
    action_size: eqx.AbstractVar[int]
    embedding_size: eqx.AbstractVar[int]

    @property
    def noise_size(self) -> int:
        """Entries of the standard normal noise that is drawn once for every episode.

        Where there are some, they stand behind the observation in what the policy responds to.
        """
        return 0

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw the parameters of a fresh meta-learner."""

    @abc.abstractmethod
    def policy(self, adapted: PyTree, shared: PyTree) -> PyTree:
        """Return the policy, a `tesp.networks.policy.ConditionalPolicy`."""

    @abc.abstractmethod
    def embedding(
        self, adapted: PyTree, buffer: Episodes | None, task: Float[Array, " parameter"]
    ) -> Float[Array, " embedding"]:
        """Return what the policy is conditioned on.

        Args:
            adapted: The task's adapted parameters.
            buffer: The task's best episodes so far, (episode, step, …); None for algorithms without a
                warm-up round, which keep no buffer.
            task: The task itself; only an oracle may look at it.
        """

    def penalty(self, start: PyTree, embedding: Float[Array, " embedding"]) -> Float[Array, ""]:
        """Return what the meta-update adds to the loss of a task, with the weight η; by default the mean square.

        Args:
            start: What the fast-updates begin from, ``adapted`` of the parameters.
            embedding: What the policy is conditioned on after them.
        """
        return mean_square(start, embedding)


def rates_like(adapted: PyTree, initial_rate: float) -> PyTree:
    """α with one entry for every entry of ``adapted``, all equal to ``initial_rate``."""
    return jax.tree.map(lambda leaf: jnp.full_like(leaf, initial_rate), adapted)
