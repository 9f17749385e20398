"""Meta-SGD: fast-updates change the whole policy, at learned rates."""

import equinox as eqx
from jaxtyping import PRNGKeyArray

from tesp.methods.gradient.algorithm import rates_like
from tesp.methods.gradient.policy_adaptation import PolicyAdaptation
from tesp.types import Parameters


class MetaSGD(PolicyAdaptation):
    """MAML that learns a rate, with its sign, for every parameter.

    ======================  ==========================================
    adapted                 the whole policy
    rates                   learned, one per parameter of the policy
    policy conditioned on   nothing
    warm-up round           no
    ======================  ==========================================

    With ``learned_rates`` off, and so all rates equal for ever, it is MAML.

    Source: Li, Zhou, Chen and Li (2017), with the fast-updates and meta-update of the TESP paper.
    """

    learned_rates: bool = eqx.field(static=True, default=True)

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw the policy; every rate starts at ``initial_rate``."""
        policy = self.draw_policy(key)
        return Parameters(policy, rates_like(policy, self.initial_rate), ())
