"""The linear feature baseline of Duan et al. 2016, fitted anew for every task and round."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

_RIDGE = 1e-5
_TRIES = 5


def features(observation: Float[Array, "*batch step observation"]) -> Float[Array, "*batch step feature"]:
    """Features of every step: [s̄, s̄², t/100, (t/100)², (t/100)³, 1] with s̄ = clip(s, −10, 10)."""
    clipped = jnp.clip(observation, -10.0, 10.0)
    time = jnp.arange(observation.shape[-2], dtype=observation.dtype)[:, None] / 100.0
    polynomial = jnp.concatenate([time, time**2, time**3, jnp.ones_like(time)], axis=-1)
    polynomial = jnp.broadcast_to(polynomial, (*observation.shape[:-1], 4))
    return jnp.concatenate([clipped, clipped**2, polynomial], axis=-1)


def fit(
    feature: Float[Array, "row feature"], target: Float[Array, " row"], valid: Bool[Array, " row"]
) -> Float[Array, " feature"]:
    """Ridge regression by the normal equations, (ΦᵀΦ + ρI) w = Φᵀy over the valid rows.

    ρ starts at 1e-5 and is multiplied by 10 while the solution is not finite, at most five tries in all.
    The features are collinear by construction (cos² + sin² = 1), so call this in float64.
    """
    rows = jnp.where(valid[:, None], feature, 0.0)
    gram = rows.T @ rows
    moment = rows.T @ jnp.where(valid, target, 0.0)
    identity = jnp.eye(gram.shape[0], dtype=gram.dtype)

    def solve(tried):
        ridge = _RIDGE * 10.0 ** tried.astype(gram.dtype)
        return jnp.linalg.solve(gram + ridge * identity, moment)

    def again(state):
        tried, weights = state
        return (tried < _TRIES) & ~jnp.all(jnp.isfinite(weights))

    first = solve(jnp.zeros((), jnp.int32))
    one = jnp.ones((), jnp.int32)
    _, weights = jax.lax.while_loop(again, lambda s: (s[0] + one, solve(s[0])), (one, first))
    return weights
