"""AdaptSV: fast-updates change a single vector that conditions a shared policy."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from tesp.methods.gradient.algorithm import Algorithm, rates_like
from tesp.networks.policy import CONDITIONINGS
from tesp.types import Parameters


class AdaptSV(Algorithm):
    """TESP with its encoder replaced by one variable z, whose meta-learned start is zero before training.

    ======================  ==========================================
    adapted                 z ∈ R^d
    rates                   learned, one per entry of z
    policy conditioned on   z
    warm-up round           no
    ======================  ==========================================

    The embedding penalty falls on the mean square of the adapted z.

    With ``learned_rates`` off there is one rate for all entries; if the start is not learned either, so that every task
    begins from z = 0, it is CAVIA.

    Source: section 5.1 of the TESP paper, after the latent variable of MAESN (Gupta et al. 2018). CAVIA: Zintgraf,
    Shiarlis, Kurin, Hofmann and Whiteson (2019), with the fast-updates and meta-update of the TESP paper.
    """

    observation_size: int = eqx.field(static=True)
    action_size: int = eqx.field(static=True)
    embedding_size: int = eqx.field(static=True)
    policy_units: tuple[int, ...] = eqx.field(static=True)
    initial_rate: float = eqx.field(static=True)
    warm_up: bool = eqx.field(static=True, default=False)
    keep_all: bool = eqx.field(static=True, default=False)
    learned_rates: bool = eqx.field(static=True, default=True)
    adapts_policy: bool = eqx.field(static=True, default=False)
    conditioning: str = eqx.field(static=True, default="concatenate")
    least_std: float = eqx.field(static=True, default=0.0)

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw the shared policy; z is zero. α starts at ``initial_rate``, and is one scalar if it is not learned."""
        policy = CONDITIONINGS[self.conditioning].create(
            key, self.observation_size, self.embedding_size, self.action_size, self.policy_units, self.least_std
        )
        z = jnp.zeros(self.embedding_size)
        rates = rates_like(z, self.initial_rate) if self.learned_rates else jnp.full((), self.initial_rate, float)
        return Parameters(z, rates, policy)

    def policy(self, adapted, shared):
        """Return the shared policy."""
        return shared

    def embedding(self, adapted, buffer, task):
        """Return z itself."""
        return adapted
