"""From the episodes of one task to their advantages: returns, baseline, GAE."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from tesp.estimators import linear_baseline
from tesp.estimators.returns import discounted_returns, generalised_advantages
from tesp.estimators.settings import EstimationSettings
from tesp.types import Episodes


def advantages(episodes: Episodes, settings: EstimationSettings) -> Float[Array, "episode step"]:
    """Advantages of the episodes of one task, zero in the padding.

    The baseline is fitted to the discounted returns of these same episodes and its predictions enter
    generalised advantage estimation. Computed in float64 under `jax.enable_x64`, because the baseline's
    normal equations are close to singular; returned in the rewards' own precision.
    """
    wide = jax.dtypes.canonicalize_dtype(jnp.float64)
    reward, observation = jnp.asarray(episodes.reward, wide), jnp.asarray(episodes.observation, wide)
    valid = jnp.asarray(episodes.valid)
    returns = jax.vmap(discounted_returns, in_axes=(0, 0, None))(reward, valid, settings.discount)
    feature = linear_baseline.features(observation)
    weights = linear_baseline.fit(feature.reshape(-1, feature.shape[-1]), returns.ravel(), valid.ravel())
    estimate = jax.vmap(generalised_advantages, in_axes=(0, 0, 0, None, None))(
        reward, feature @ weights, valid, settings.discount, settings.gae_lambda
    )
    if settings.normalise_advantages == "task":
        estimate = _standardise(estimate, valid)
    return estimate.astype(episodes.reward.dtype)


def _standardise(values, valid):
    """Shift and scale the valid entries to mean 0 and standard deviation 1 (not variance 1 by mistake)."""
    count = jnp.maximum(jnp.sum(valid), 1).astype(values.dtype)
    mean = jnp.sum(jnp.where(valid, values, 0.0)) / count
    centred = jnp.where(valid, values - mean, 0.0)
    return centred / (jnp.sqrt(jnp.sum(centred**2) / count) + 1e-8)
