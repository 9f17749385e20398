"""One small file of named arrays with a description: what a trained learner and an adapted agent are stored as."""

import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tesp.errors import RunFolderError
from tesp.storage.files import written_beside
from tesp.storage.strict_json import dumps, loads
from tesp.types import PyTree

#: Version of the layout; a file of a later one is refused. The first had no digest.
FORMAT = 2


class UncheckedFileWarning(UserWarning):
    """A file of version 0.1 says nothing by which damage could be told."""


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
    try:
        write_plainly(target, kind, arrays, description)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunFolderError(f"{target} cannot be written: {reason}. Give another file.") from error
    return target


def write_plainly(target: Path, kind: str, arrays: Mapping[str, np.ndarray], description: dict[str, Any]) -> None:
    """Write a file as `write` does.

    Raises:
        OSError: It cannot be written.
        SafetensorError: Likewise, with the system's message.
    """
    metadata = {"format": str(FORMAT), "kind": kind, "description": dumps(description)}
    stored = {name: np.array(x, order="C") for name, x in arrays.items()}
    with written_beside(target) as beside:
        save_file(stored, beside, {**metadata, _DIGEST: _digest(metadata, stored)})
        # The library lets the owner alone read what it writes.
        beside.chmod(0o644)


def read(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description of a file that `write` wrote.

    Raises:
        RunFolderError: There is no such file, or it is damaged, of another kind or of a later version.

    Warns:
        UncheckedFileWarning: It was written before files had a digest.
    """
    source = Path(path)
    if not source.is_file():
        raise RunFolderError(f"There is no file {source}; give one that {_spoken(kind)} was saved to.")
    with _opened(source) as file:
        metadata = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
    found = metadata.get("kind")
    if found != kind:
        raise RunFolderError(
            f"{source} holds {_spoken(found) if found else 'something that this library did not write'}; "
            f"give the file of {_spoken(kind)}."
        )
    try:
        version, description = int(metadata["format"]), loads(metadata["description"])
        if not isinstance(description, dict):
            raise ValueError("it is no object")
    except (KeyError, ValueError) as error:
        raise RunFolderError(f"{source} is damaged: its description cannot be read ({error!r}).") from error
    if version > FORMAT:
        raise RunFolderError(f"{source} was written by a later version of tesp; update the library to read it.")
    digest = metadata.pop(_DIGEST, None)
    if digest is None and version == 1:
        # Said of one line of the caller, so that Python shows it once in a process.
        warnings.warn(
            f"{source} was written by version 0.1, which stored no digest, so damage to it would not be noticed; save "
            "it again to have one.",
            UncheckedFileWarning,
            stacklevel=2,
        )
    elif digest != _digest(metadata, arrays):
        raise RunFolderError(f"{source} is damaged: it does not hold what was written. Restore it or save it again.")
    return arrays, description


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """Return what kind of file `write` wrote there; None if it wrote another one.

    Raises:
        RunFolderError: It is damaged, or no such file.
    """
    with _opened(Path(path)) as file:
        return (file.metadata() or {}).get("kind")


@contextmanager
def _opened(source: Path) -> Iterator[Any]:
    try:
        with safe_open(source, framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise RunFolderError(f"{source} is damaged or no safetensors file: {error}.") from error


#: What the digest is called in a file's metadata.
_DIGEST = "sha256"


def _digest(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of all that a file says: the metadata, and every array with its name, kind and shape."""
    found = hashlib.sha256(dumps(sorted(metadata.items())).encode())
    for name, array in sorted(arrays.items()):
        found.update(dumps([name, array.dtype.str, array.shape]).encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _spoken(kind: str) -> str:
    return f"a{'n' * (kind[0] in 'aeio')} {kind.replace('-', ' ')}"


def named(prefix: str, tree: PyTree) -> dict[str, np.ndarray]:
    """Return the leaves of a tree by their path in it, like ``policy.hidden[0].weight``."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {prefix + jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def filled(
    prefix: str,
    template: PyTree,
    arrays: Mapping[str, np.ndarray],
    source: str,
    any_shape: bool = False,
    any_width: bool = False,
) -> PyTree:
    """Return a tree like the template with the arrays that `named` gave names to.

    Args:
        prefix: What all names begin with.
        template: Arrays or shapes.
        arrays: The arrays by name.
        source: Where they are from, for errors.
        any_shape: Whether only the number of axes and the kind of number must be those of the template.
        any_width: Whether only the kind of number must be that of the template, whatever its precision.

    Raises:
        RunFolderError: One is missing, has another shape or kind, or is not finite.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    found = []
    for path, leaf in leaves:
        name = prefix + jax.tree_util.keystr(path)
        if (wrong := _misfit(arrays.get(name), leaf, any_shape, any_shape or any_width)) is not None:
            raise RunFolderError(
                f"{source} does not fit its own description: {name} {wrong}, and its configuration asks for "
                f"{leaf.dtype} of the shape {leaf.shape}. It is damaged, or an algorithm of that name was another one."
            )
        found.append(arrays[name])
    return jax.tree_util.tree_unflatten(structure, found)


def _misfit(found: np.ndarray | None, wanted: Any, any_shape: bool, any_width: bool) -> str | None:
    """Say how an array is not the one that is wanted; None if it is."""
    if found is None:
        return "is missing"
    if found.ndim != len(wanted.shape) if any_shape else found.shape != wanted.shape:
        return f"has the shape {found.shape}"
    if found.dtype.kind != wanted.dtype.kind if any_width else found.dtype != wanted.dtype:
        return f"holds {found.dtype}"
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        return "holds NaN or infinite numbers"
    return None
