"""What the record of a meta-update says, and what it must not hold."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from tesp.adaptation.meta_update import MetaUpdated
from tesp.adaptation.task_axis import map_over_tasks
from tesp.errors import NonFiniteError
from tesp.methods.base import Metrics


class Summary(NamedTuple):
    """What the record says of one task's rounds.

    Attributes:
        norms: Norms of the gradients of its fast-updates, before clipping.
        embedding: The embedding of the last round.
        log_std: Σ log σ over the steps of the last round and the entries of an action.
        entries: How many these are.
    """

    norms: Float[Array, "*batch fast_update"]
    embedding: Float[Array, "*batch embedding"]
    log_std: Float[Array, "*batch"]
    entries: Int[Array, "*batch"]


@partial(jax.jit, static_argnums=1)
def summaries(rounds: tuple, tasks_at_once: int) -> Summary:
    """Summarise the rounds of every task.

    Args:
        rounds: Norms of the gradients of each fast-update, (task,) each; the embedding of the last round, (task,
            embedding); log σ of its actions, (task, episode, step, action); and which of its steps took place.
        tasks_at_once: As for `map_over_tasks`.
    """

    def of_task(_, rounds) -> Summary:
        norms, embedding, log_std, valid = rounds
        return Summary(
            norms=jnp.stack(norms) if norms else jnp.zeros(0),
            embedding=embedding,
            log_std=jnp.sum(jnp.where(valid[..., None], log_std, 0.0)),
            entries=jnp.sum(valid) * log_std.shape[-1],
        )

    return map_over_tasks(of_task, None, rounds, tasks_at_once)


def require_finite(updated: MetaUpdated) -> None:
    """Refuse a meta-update in which any epoch met a number that is not finite."""
    run = int(updated.epochs_run)
    for name, table in updated.terms._asdict().items():
        finite = np.isfinite(np.asarray(table)[: run + 1])
        if not finite.all():
            epoch, task = np.argwhere(~finite)[0]
            raise NonFiniteError(name.replace("_", " "), int(task), f"in epoch {epoch}")
    norms = np.asarray(updated.gradient_norms)[:run]
    if not np.isfinite(norms).all():
        epoch, part = np.argwhere(~np.isfinite(norms))[0]
        name = ("adapted parameters", "rates", "shared parameters")[part]
        raise NonFiniteError(f"meta-gradient of the {name}", None, f"in epoch {epoch}")


def metrics_of(updated: MetaUpdated, summary: Summary) -> Metrics:
    """Return the columns of a meta-update's record; of terms and divergences those of the epoch that was kept."""
    terms = jax.tree.map(lambda table: np.asarray(table).mean(axis=1), updated.terms)
    kept = int(updated.epoch_kept)
    norms = np.nanmean(np.asarray(updated.gradient_norms), axis=0)
    embedding = summary.embedding
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(updated.parameters.rates)]
    rates = np.concatenate(leaves) if leaves else np.zeros(0)
    return {
        "policy_loss": float(terms.policy_loss[kept]),
        "embedding_mean_square": float(terms.penalty[kept]),
        "early_loss": float(terms.early_loss[kept]),
        "mean_kl": float(np.asarray(updated.kl)[kept]),
        "epoch_kept": kept,
        "epochs_run": int(updated.epochs_run),
        "gradient_norm_adapted": float(norms[0]),
        "gradient_norm_rates": float(norms[1]),
        "gradient_norm_shared": float(norms[2]),
        "gradient_norm_inner": float(summary.norms.mean()) if summary.norms.size else 0.0,
        "embedding_norm": float(np.linalg.norm(embedding, axis=-1).mean()),
        "embedding_rms": float(np.sqrt(np.mean(embedding**2))) if embedding.size else 0.0,
        "mean_absolute_rate": float(np.abs(rates).mean()) if rates.size else 0.0,
        "share_of_negative_rates": float((rates < 0).mean()) if rates.size else 0.0,
        "log_std": float(summary.log_std.sum() / summary.entries.sum()),
    }
