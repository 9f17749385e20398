"""E-MAML: what is sampled before the fast-updates is credited with what it leads to."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from tesp.adaptation.task_objective import Past
from tesp.estimators.returns import discounted_returns
from tesp.types import Episodes


def credited(
    rounds: Sequence[Past], last: Past, weights: Float[np.ndarray, " round"], credit: float, discount: float
) -> tuple[Past, ...]:
    """Return rounds whose actions are credited with the last round's return.

    The last round's expected return depends on θ in two ways: through the adapted policy that samples it, and through
    the policy that sampled what was adapted to,

        ∇ E[R(τ^{K+1})] = E[ R(τ^{K+1}) (∇ log π(τ^{K+1}; θ^{K+1}) + Σ_k ∇ log π(τ^k; θ^k)) ].

    The second sum is a policy gradient on the rounds before the last, with the same advantage for all of their actions.
    So in the place of Â_t these rounds have

        w_k Â_t + c (R_i − mean over tasks of R_j),   R_i the mean of the discounted returns of the task's last round,

    where w_k Â_t is what the loss on every round gives them, and their losses have weight 1.

    Args:
        rounds: The rounds before the last, with leading axis ``task``.
        last: The last round, likewise.
        weights: w_k of these rounds.
        credit: c.
        discount: γ.

    Source: Stadie et al. 2018; formulation I of Rothfuss et al. 2019. The mean over tasks is a baseline, which lowers
    the variance.
    """
    returns = mean_return(last.batch.episodes, discount)
    worth = credit * (returns - jnp.mean(returns))

    def one(past: Past, weight) -> Past:
        valid, own = past.batch.episodes.valid, past.batch.advantages
        advantages = jnp.where(valid, weight * own + worth[:, None, None], 0.0)
        return past._replace(batch=past.batch._replace(advantages=advantages.astype(own.dtype)))

    return tuple(one(past, weight) for past, weight in zip(rounds, weights, strict=True))


@partial(jax.jit, static_argnums=1)
def mean_return(episodes: Episodes, discount: float) -> Float[Array, " task"]:
    """Mean over the episodes of every task of the discounted return; those that did not take place are left out."""
    valid = jnp.asarray(episodes.valid)
    of_steps = jax.vmap(jax.vmap(discounted_returns, in_axes=(0, 0, None)), in_axes=(0, 0, None))
    exists = valid[..., 0]
    total = jnp.sum(jnp.where(exists, of_steps(jnp.asarray(episodes.reward), valid, discount)[..., 0], 0.0), axis=-1)
    return total / jnp.maximum(jnp.sum(exists, axis=-1), 1).astype(total.dtype)
