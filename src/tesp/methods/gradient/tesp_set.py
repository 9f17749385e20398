"""TESP with a set of shared policies."""

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray

from tesp.methods.gradient.task_encoding import TaskEncoding
from tesp.networks.policy import CONDITIONINGS, ConditionalPolicy
from tesp.networks.policy_set import PolicySet


class TESPSet(TaskEncoding):
    """TESP whose one shared policy is J, mixed by weights that the task embedding gives.

    ======================  ==========================================
    adapted                 the task encoder, θ_TE
    rates                   learned, one per parameter of the encoder
    policy conditioned on   h = mean over the buffer of g(τ; θ_TE), which also mixes the policies
    warm-up round           yes, with h = 0
    ======================  ==========================================

    With ``policies`` = 1 it is TESP.

    Source: the future work of the TESP paper ("a set of shared conditional policies"), after Frans et al. (2018), whose
    sub-policies are chosen by a policy of their own for each task.
    """

    policies: int = eqx.field(static=True, default=4)

    def draw_policy(self, key: PRNGKeyArray) -> ConditionalPolicy:
        """Draw J policies with a shared trunk."""
        outputs = self.policies * self.action_size
        trunk = CONDITIONINGS[self.conditioning].create(
            key, self.observation_size, self.embedding_size, outputs, self.policy_units, self.least_std
        )
        return PolicySet.create(jax.random.fold_in(key, 1), trunk, self.embedding_size, self.policies)
