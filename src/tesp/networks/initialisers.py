"""How weights are drawn."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def unit_columns(key: PRNGKeyArray, inputs: int, outputs: int, norm: float = 1.0) -> Float[Array, "inputs outputs"]:
    """Draw normal weights, scaled so that the weights into each output unit have Euclidean norm ``norm``."""
    weights = jax.random.normal(key, (inputs, outputs))
    return norm * weights / jnp.linalg.norm(weights, axis=0, keepdims=True)
