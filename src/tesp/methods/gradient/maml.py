"""MAML: fast-updates change the whole policy, at one fixed rate."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from tesp.methods.gradient.policy_adaptation import PolicyAdaptation
from tesp.types import Parameters


class MAML(PolicyAdaptation):
    """A start from which a few gradient steps suffice on every task.

    ======================  ==========================================
    adapted                 the whole policy
    rates                   one number, fixed
    policy conditioned on   nothing
    warm-up round           no
    ======================  ==========================================

    Source: Finn, Abbeel and Levine (2017), with the fast-updates and meta-update of the TESP paper.
    """

    learned_rates: bool = eqx.field(static=True, default=False)

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw the policy; nothing is shared, and the rate is ``initial_rate`` for ever."""
        return Parameters(self.draw_policy(key), jnp.full((), self.initial_rate, float), ())
