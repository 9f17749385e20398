"""One small file of named arrays with a description: what a trained learner and an adapted agent are stored as."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tesp.errors import RunFolderError
from tesp.storage.files import written_beside
from tesp.types import PyTree

#: Version of the layout; a file of a later one is refused.
FORMAT = 1


def write(path: str | os.PathLike[str], kind: str, arrays: Mapping[str, np.ndarray], description: dict) -> Path:
    """Write a file beside its place and move it there, so that it is never half-written.

    Args:
        path: Where; the ending must be ``.safetensors``.
        kind: What the file holds, for instance ``adapted-agent``.
        arrays: The arrays by name.
        description: Everything else, JSON-able.

    Raises:
        RunFolderError: The ending is another one, or the file cannot be written.
    """
    target = Path(path)
    if target.suffix != ".safetensors":
        raise RunFolderError(f"{target} is not possible as a file of {_spoken(kind)}; its name ends in .safetensors.")
    metadata = {"format": str(FORMAT), "kind": kind, "description": json.dumps(description)}
    try:
        with written_beside(target) as beside:
            save_file({name: np.array(x, order="C") for name, x in arrays.items()}, beside, metadata)
            # The library lets the owner alone read what it writes.
            beside.chmod(0o644)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunFolderError(f"{target} cannot be written: {reason}. Give another file.") from error
    return target


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description of a file that `write` wrote.

    Raises:
        RunFolderError: There is no such file, or it is damaged, of another kind or of a later version.
    """
    source = Path(path)
    if not source.is_file():
        raise RunFolderError(f"There is no file {source}; give one that {_spoken(kind)} was saved to.")
    try:
        with safe_open(source, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
    except (SafetensorError, OSError) as error:
        raise RunFolderError(f"{source} is damaged or no safetensors file: {error}.") from error
    found = metadata.get("kind")
    if found != kind:
        raise RunFolderError(
            f"{source} holds {_spoken(found) if found else 'something that this library did not write'}; "
            f"give the file of {_spoken(kind)}."
        )
    try:
        later, description = int(metadata["format"]) > FORMAT, json.loads(metadata["description"])
    except (KeyError, ValueError) as error:
        raise RunFolderError(f"{source} is damaged: its description cannot be read ({error!r}).") from error
    if later:
        raise RunFolderError(f"{source} was written by a later version of tesp; update the library to read it.")
    return arrays, description


def _spoken(kind: str) -> str:
    return f"a{'n' * (kind[0] in 'aeio')} {kind.replace('-', ' ')}"


def named(prefix: str, tree: PyTree) -> dict[str, np.ndarray]:
    """Return the leaves of a tree by their path in it, like ``policy.hidden[0].weight``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {prefix + jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def filled(
    prefix: str, template: PyTree, arrays: Mapping[str, np.ndarray], source: str, any_shape: bool = False
) -> PyTree:
    """Return a tree like the template with the arrays that `named` gave names to.

    Args:
        prefix: What all names begin with.
        template: Arrays or shapes.
        arrays: The arrays by name.
        source: Where they are from, for errors.
        any_shape: Whether only the number of axes must be that of the template.

    Raises:
        RunFolderError: One is missing or has another shape.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    found = []
    for path, leaf in leaves:
        name = prefix + jax.tree_util.keystr(path)
        fits = name in arrays and (
            arrays[name].ndim == len(leaf.shape) if any_shape else arrays[name].shape == leaf.shape
        )
        if not fits:
            there = "is missing" if name not in arrays else f"has the shape {arrays[name].shape}"
            raise RunFolderError(
                f"{source} does not fit its own description: {name} {there}, and {leaf.shape} is what its "
                "configuration asks for. It is damaged, or an algorithm of that name was another one."
            )
        found.append(arrays[name])
    return jax.tree_util.tree_unflatten(structure, found)
