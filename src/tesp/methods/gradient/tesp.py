"""TESP: an adapted task encoder and a shared policy; and its five ablations."""

from jaxtyping import PRNGKeyArray

from tesp.methods.gradient.task_encoding import TaskEncoding
from tesp.networks.policy import CONDITIONINGS, ConditionalPolicy


class TESP(TaskEncoding):
    """Fast-updates change the task encoder; the policy is shared and conditioned on the embedding.

    ======================  ==========================================
    adapted                 the task encoder, θ_TE
    rates                   learned, one per parameter of the encoder
    policy conditioned on   h = mean over the buffer of g(τ; θ_TE)
    warm-up round           yes, with h = 0
    ======================  ==========================================

    Source: algorithm 1 of the paper. Its ablations (section 5.3): V1 is ``keep_all``, V2 ``adapts_policy``, V4 an
    ``initial_rate`` of 0 that is not learned, V5 any other that is not learned. V3 is a setting of the meta-update.
    """

    def draw_policy(self, key: PRNGKeyArray) -> ConditionalPolicy:
        """Draw one policy."""
        return CONDITIONINGS[self.conditioning].create(
            key, self.observation_size, self.embedding_size, self.action_size, self.policy_units, self.least_std
        )
