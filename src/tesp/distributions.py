"""The diagonal Gaussian over actions.

Everything sums over action dimensions: the log-probability of an action vector is the **sum** of the log
densities of its entries, never their mean.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

_LOG_2PI = 1.8378770664093453


def log_probability(
    mean: Float[Array, "*batch action"],
    log_std: Float[Array, "*batch action"],
    action: Float[Array, "*batch action"],
) -> Float[Array, "*batch"]:
    """Log density of an action under N(mean, diag(exp(log_std))²).

    log π(a) = −Σⱼ [ ½((aⱼ − μⱼ)/σⱼ)² + log σⱼ + ½ log 2π ]
    """
    standardised = (action - mean) * jnp.exp(-log_std)
    return -jnp.sum(0.5 * standardised**2 + log_std + 0.5 * _LOG_2PI, axis=-1)


def kl_divergence(
    mean: Float[Array, "*batch action"],
    log_std: Float[Array, "*batch action"],
    other_mean: Float[Array, "*batch action"],
    other_log_std: Float[Array, "*batch action"],
) -> Float[Array, "*batch"]:
    """KL(p ‖ q) of two diagonal Gaussians, p the first pair of arguments and q the second.

    KL = Σⱼ [ log σ_q − log σ_p + (σ_p² + (μ_p − μ_q)²) / (2σ_q²) − ½ ]
    """
    variance_ratio = jnp.exp(2.0 * (log_std - other_log_std))
    squared_shift = ((mean - other_mean) * jnp.exp(-other_log_std)) ** 2
    return jnp.sum(other_log_std - log_std + 0.5 * (variance_ratio + squared_shift - 1.0), axis=-1)


class Gaussian(NamedTuple):
    """N(μ, diag(exp(log σ))²) over actions, for any leading axes.

    Attributes:
        mean: μ.
        log_std: log σ.
    """

    mean: Float[Array, "*batch action"]
    log_std: Float[Array, "*batch action"]

    def sample(self, noise: Float[Array, "*batch action"]) -> Float[Array, "*batch action"]:
        """Return μ + exp(log σ) ∘ noise."""
        return self.mean + jnp.exp(self.log_std) * noise

    def mode(self) -> Float[Any, "*batch action"]:
        """Return the most probable action, μ."""
        return self.mean

    def log_probability(self, action: Float[Array, "*batch action"]) -> Float[Array, "*batch"]:
        """Return the log density of an action; see `log_probability`."""
        return log_probability(*self, action)

    def entropy(self) -> Float[Array, "*batch"]:
        """Return the entropy, Σⱼ [ log σⱼ + ½ log 2πe ]."""
        return jnp.sum(self.log_std + 0.5 * (_LOG_2PI + 1.0), axis=-1)

    def kl_divergence(self, other: "Gaussian") -> Float[Array, "*batch"]:
        """Return KL(self ‖ other); see `kl_divergence`."""
        return kl_divergence(*self, *other)
