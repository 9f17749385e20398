"""Meta-SGD: fast-updates change the whole policy, at learned rates."""

import equinox as eqx
from jaxtyping import PRNGKeyArray

from tesp.algorithms.base import rates_like
from tesp.algorithms.policy_adaptation import PolicyAdaptation
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

    observation_size: int = eqx.field(static=True)
    action_size: int = eqx.field(static=True)
    policy_units: tuple[int, ...] = eqx.field(static=True)
    initial_rate: float = eqx.field(static=True)
    embedding_size: int = eqx.field(static=True, default=0, init=False)
    warm_up: bool = eqx.field(static=True, default=False)
    keep_all: bool = eqx.field(static=True, default=False)
    learned_rates: bool = eqx.field(static=True, default=True)
    adapts_policy: bool = eqx.field(static=True, default=True)

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw the policy; every rate starts at ``initial_rate``."""
        policy = self.draw_policy(key)
        return Parameters(policy, rates_like(policy, self.initial_rate), ())
