"""Learned rates as records, one for every array of them."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from tesp.types import PyTree

#: Shares of the rates, in per cent, below which the stored quantiles lie.
QUANTILES = (0, 5, 25, 50, 75, 95, 100)


def rate_records(rates: PyTree, fresh: PyTree, learned: bool, bound: float) -> Iterator[dict[str, Any]]:
    """Yield one record for every array of rates.

    Args:
        rates: α.
        fresh: α before any training.
        learned: Whether the rates are trained.
        bound: What they are clipped to.
    """
    there, before = (jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (rates, fresh))
    for (path, leaf), (_, beginning) in zip(there, before, strict=True):
        values = np.asarray(leaf, np.float64).ravel()
        quantiles = np.percentile(values, QUANTILES)
        yield {
            "kind": "rates",
            "layer": _layer(rates, path),
            "learned": learned,
            "entries": len(values),
            "quantiles": {str(q): float(f"{x:.6g}") for q, x in zip(QUANTILES, quantiles, strict=True)},
            "negative": float(np.mean(values < 0)),
            "at_bound": float(np.mean(np.abs(values) >= np.float32(bound))),
            "bound": bound,
            "initial_rate": float(f"{np.mean(np.asarray(beginning, np.float64)):.6g}"),
        }


def _layer(tree: PyTree, path: tuple[Any, ...]) -> str:
    """Return a name for people of a leaf of the rates, such as ``GRU input weight`` or ``hidden layer 2 bias``."""
    words: list[str] = []
    part: Any = tree
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            words.append(key.name)
            part = getattr(part, key.name)
        elif isinstance(key, jax.tree_util.SequenceKey):
            # Parts of several kinds are called by their kind, those of one kind are counted.
            kinds = {type(child) for child in part}
            part = part[key.idx]
            words.append(type(part).__name__ if len(kinds) > 1 else f"layer {key.idx + 1}")
        else:
            words.append(str(key.key))
            part = part[key.key]
    if not words:
        return "all parameters" if np.ndim(part) == 0 else "adapted vector"
    names = {
        "TaskEncoder": "encoder",
        "Policy": "policy",
        "ModulatedPolicy": "policy",
        "gru": "GRU",
        "output": "output layer",
    }
    return " ".join(names[word] if word in names else word.replace("_", " ") for word in words)
