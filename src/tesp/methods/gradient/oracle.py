"""The oracle: a policy that is told the task. The upper line that frames what adaptation can reach."""

from typing import ClassVar

import equinox as eqx
from jaxtyping import PRNGKeyArray

from tesp.methods.gradient.algorithm import Algorithm
from tesp.networks.policy import CONDITIONINGS
from tesp.types import Parameters


class Oracle(Algorithm):
    """The shared policy conditioned on the true task; nothing adapts, and nothing needs to.

    ======================  ==========================================
    adapted                 nothing
    rates                   none
    policy conditioned on   the task, for goals x and y in metres
    warm-up round           no
    ======================  ==========================================

    The embedding penalty has no gradient here, for a task is no parameter.
    """

    sees_task: ClassVar[bool] = True

    observation_size: int = eqx.field(static=True)
    action_size: int = eqx.field(static=True)
    task_size: int = eqx.field(static=True)
    policy_units: tuple[int, ...] = eqx.field(static=True)
    embedding_size: int = eqx.field(static=True, init=False)
    warm_up: bool = eqx.field(static=True, default=False)
    keep_all: bool = eqx.field(static=True, default=False)
    learned_rates: bool = eqx.field(static=True, default=False)
    adapts_policy: bool = eqx.field(static=True, default=False)
    conditioning: str = eqx.field(static=True, default="concatenate")
    least_std: float = eqx.field(static=True, default=0.0)

    def __post_init__(self):
        self.embedding_size = self.task_size

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw the shared policy, which is all there is."""
        return Parameters(
            (),
            (),
            CONDITIONINGS[self.conditioning].create(
                key, self.observation_size, self.task_size, self.action_size, self.policy_units, self.least_std
            ),
        )

    def policy(self, adapted, shared):
        """Return the shared policy."""
        return shared

    def embedding(self, adapted, buffer, task):
        """Return the task."""
        return task
