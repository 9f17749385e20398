"""MAESN: fast-updates change the distribution of a latent that is drawn once for every episode."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from tesp.distributions import Gaussian
from tesp.methods.gradient.algorithm import Algorithm, rates_like
from tesp.networks.policy import CONDITIONINGS, ConditionalPolicy
from tesp.types import Parameters


class LatentPolicy(ConditionalPolicy):
    """π(a | [s, ε], [μ, log σ]): a policy that is conditioned on z = μ + σ ∘ ε.

    ε is standard normal and the same in all steps of an episode. It stands behind the observation, so that gradients
    reach μ and σ through z.

    Attributes:
        policy: π(a | s, z).
        latent_size: Entries of z.
    """

    policy: ConditionalPolicy
    latent_size: int = eqx.field(static=True)

    def condition(self, embedding):
        """Return μ and σ."""
        mean, log_std = embedding[: self.latent_size], embedding[self.latent_size :]
        return mean, jnp.exp(log_std)

    def respond(self, observation, conditioned):
        """Respond to every observation under its own z."""
        mean, std = conditioned
        seen, noise = observation[..., : -self.latent_size], observation[..., -self.latent_size :]
        return self.policy.respond(seen, self.policy.condition(mean + std * noise))


class MAESN(Algorithm):
    """A shared policy that explores by a latent of its own in every episode, with a distribution for each task.

    ======================  ==========================================
    adapted                 μ and log σ of z ∈ R^d
    rates                   learned, one per entry of both
    policy conditioned on   z ~ N(μ, σ²), drawn once per episode
    warm-up round           no
    ======================  ==========================================

    z is drawn as μ + σ ∘ ε with one ε for an episode, and the policy gradient of the fast-updates goes through it. The
    penalty is the divergence of what they begin from, KL(N(μ¹, σ¹²) ‖ N(0, 1)), which is 0 in a fresh meta-learner.

    Source: Gupta, Mendonca, Liu, Abbeel and Levine (2018), with the fast-updates and meta-update of the TESP paper.
    """

    observation_size: int = eqx.field(static=True)
    action_size: int = eqx.field(static=True)
    latent_size: int = eqx.field(static=True)
    policy_units: tuple[int, ...] = eqx.field(static=True)
    initial_rate: float = eqx.field(static=True)
    embedding_size: int = eqx.field(static=True, init=False)
    warm_up: bool = eqx.field(static=True, default=False)
    keep_all: bool = eqx.field(static=True, default=False)
    learned_rates: bool = eqx.field(static=True, default=True)
    adapts_policy: bool = eqx.field(static=True, default=False)
    conditioning: str = eqx.field(static=True, default="concatenate")
    least_std: float = eqx.field(static=True, default=0.0)

    def __post_init__(self):
        self.embedding_size = 2 * self.latent_size

    @property
    def noise_size(self) -> int:
        """Entries of ε."""
        return self.latent_size

    def init(self, key: PRNGKeyArray) -> Parameters:
        """Draw the shared policy; the latent is N(0, 1), and every rate starts at ``initial_rate``."""
        policy = CONDITIONINGS[self.conditioning].create(
            key, self.observation_size, self.latent_size, self.action_size, self.policy_units, self.least_std
        )
        latent = Gaussian(jnp.zeros(self.latent_size), jnp.zeros(self.latent_size))
        return Parameters(latent, rates_like(latent, self.initial_rate), LatentPolicy(policy, self.latent_size))

    def policy(self, adapted, shared):
        """Return the shared policy."""
        return shared

    def embedding(self, adapted, buffer, task):
        """Return μ and log σ, one behind the other."""
        return jnp.concatenate(adapted)

    def penalty(self, start, embedding):
        """KL(N(μ¹, σ¹²) ‖ N(0, 1)) = Σ_j [ ½ (σ_j² + μ_j² − 1) − log σ_j ]."""
        return start.kl_divergence(Gaussian(*map(jnp.zeros_like, start)))
