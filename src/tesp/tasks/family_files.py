"""Families that stand in a Python file of the user's own, given as ``path/to/my_family.py:my_family``.

A file that a user names is run because they name it. Of a stored run only the copy in its own folder is ever run, and
only with consent (see `tesp.trust`), unless the same contents have run in this process already.
"""

import importlib.util
import inspect
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from tesp import trust
from tesp.errors import ConfigurationError, describe_error

#: What was imported and the file's contents then, by its resolved path: a file is run once in a process.
_MODULES: dict[Path, tuple[ModuleType, bytes]] = {}

#: The SHA-256 of a run's copy of the file that defines its family, in the format of ``sha256sum``.
_DIGEST = "family.sha256"


class FamilyFileWarning(UserWarning):
    """A family's file is not what it was when the run that began with it did."""


def is_reference(name: str) -> bool:
    """Tell whether a family is given by a file: ``FILE.py:NAME``, or ``FILE.py`` where the name was forgotten."""
    return _split(name)[0].endswith(".py")


def parts(name: str) -> tuple[str | None, str]:
    """Return the file of a family, as an absolute path, and what it is called there; None and the name for others.

    Folders, records and tables use the latter alone. A path that leads nowhere stays as it
    is, so that the error names what was given.
    """
    file, attribute = _split(name)
    if not attribute:
        return None, name
    path = Path(file).expanduser()
    return str(path.resolve()) if path.is_file() else file, attribute


def load(reference: str) -> Any:
    """Return what a file calls NAME, after importing the file if this process has not yet.

    A relative path counts from the working directory.

    Args:
        reference: ``FILE.py:NAME``.

    Raises:
        ConfigurationError: There is no such file, importing it fails, or it does not define the name.
        UntrustedError: It is the copy in the folder of a stored run, and the user has not consented to running it.
    """
    file, attribute = _split(reference)
    module, _ = _import(_find(file, reference))
    if not attribute or not hasattr(module, attribute):
        raise ConfigurationError(
            f"{file} defines no family {attribute!r}; give FILE.py:NAME with a name that it defines: "
            f"{', '.join(_offered(module)) or 'there is none yet'}."
        )
    return getattr(module, attribute)


def store_copy(reference: str, folder: Path) -> None:
    """Write a family's file as this process imported it, and its SHA-256, into a folder; nothing for other families.

    Raises:
        ConfigurationError: There is no such file, or importing it fails.
        OSError: The folder cannot be written.
    """
    if not is_reference(reference):
        return
    _, contents = _import(_find(_split(reference)[0], reference))
    (folder / trust.COPY).write_bytes(contents)
    (folder / _DIGEST).write_text(f"{trust.sha256(contents)}  {trust.COPY}\n", encoding="utf-8")


def remember(reference: str, folder: Path) -> None:
    """Remember that this user's own training wrote the copy in a run's folder, if there is one."""
    if is_reference(reference):
        path = _find(_split(reference)[0], reference)
        trust.remember(folder / trust.COPY, trust.sha256(_import(path)[1]), trust.original_of(path) or str(path))


def is_copied(reference: str, folder: Path) -> bool:
    """Tell whether a run began with a family's file as it is now; families without a file have no copy."""
    wanted = trust.sha256(_import(_find(_split(reference)[0], reference))[1]) if is_reference(reference) else None
    return trust.digest_of(folder) == wanted


def shown(reference: str) -> str:
    """Return the reference by which a user knows a family, where it leads to the copy in a stored run's folder."""
    file, attribute = _split(reference)
    return f"{trust.shown(file)}:{attribute}" if attribute else reference


def warn_if_changed(reference: str) -> None:
    """Warn if the file that a run's copy was made of has become another one.

    Warns:
        FamilyFileWarning: It has.
    """
    copy = Path(_split(reference)[0])
    original = trust.original_of(copy)
    if original is not None and Path(original).is_file() and not trust.is_same(Path(original), copy):
        warnings.warn(
            f"{original} is not what it was when the run {copy.parent} began. The run goes on with the file as it was, "
            f"{copy}; a new run takes the new one.",
            FamilyFileWarning,
            stacklevel=2,
        )


def _split(reference: str) -> tuple[str, str]:
    file, colon, attribute = reference.rpartition(":")
    return (file, attribute) if colon and file.endswith(".py") else (reference, "")


def _find(file: str, reference: str) -> Path:
    given = Path(file).expanduser()
    if not given.is_file() and (original := trust.original_of(given)) is not None:
        raise ConfigurationError(
            f"The run {given.parent} has no copy of the file that defines its family. If you trust {original}, copy it "
            f"to {given} and give --trust."
        )
    if given.is_file():
        return given.resolve()
    raise ConfigurationError(
        f"The family {reference!r} cannot be found: there is no file {given.absolute()}. Give the path of the "
        "file, from the working directory or absolute."
    )


def _import(path: Path) -> tuple[ModuleType, bytes]:
    if path in _MODULES:
        return _MODULES[path]
    original = None
    try:
        contents = path.read_bytes()
        if trust.original_of(path) is not None:
            same = next((found for found in _MODULES.values() if found[1] == contents), None)
            if same is not None:
                return _MODULES.setdefault(path, same)
            original = trust.consented(path, contents)
        module = _run(path, contents, original)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from error
    # Processes that environments run in cannot import the module by its made-up name.
    cloudpickle.register_pickle_by_value(module)
    return _MODULES.setdefault(path, (module, contents))


def _run(path: Path, contents: bytes, original: Path | None) -> ModuleType:
    """Run a file's contents as a module. Of a copy, what it reads and imports lies beside the original."""
    name = f"tesp_family_file_{path.stem}_{trust.sha256(str(path).encode())[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    home = original if original is not None and original.parent.is_dir() else path
    module.__file__ = str(home)
    # What lies beside the file can be imported, as if the file were run; at the end, so that it hides nothing.
    if str(home.parent) not in sys.path:
        sys.path.append(str(home.parent))
    sys.modules[name] = module
    try:
        exec(compile(contents, str(path), "exec"), module.__dict__)
    except ConfigurationError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigurationError(
            f"{path} cannot be imported: {describe_error(error)}. Mend the file; `python {path}` shows the whole error."
        ) from error
    return module


def _offered(module: ModuleType) -> list[str]:
    """Return the names of families, and of what may make some, that a file defines itself."""
    from tesp.tasks.family import Family

    def is_own(value: Any) -> bool:
        made_here = getattr(value, "__module__", None) == module.__name__
        maker = inspect.isfunction(value) or (inspect.isclass(value) and issubclass(value, Family))
        return isinstance(value, Family) or (maker and made_here)

    return [name for name, value in vars(module).items() if not name.startswith("_") and is_own(value)]
