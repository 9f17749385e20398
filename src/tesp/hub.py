"""Trained learners on Hugging Face: a repository holds the file of one learner and its card, and no code."""

import os
import tempfile
from pathlib import Path
from types import ModuleType

from tesp.errors import ConfigurationError, RunFolderError
from tesp.storage import tensor_files
from tesp.storage.files import written_beside

#: What a repository holds.
LEARNER, CARD = "learner.safetensors", "README.md"

#: What the file of a learner says that it is.
_KIND = "trained-learner"


def push(
    learner: str | os.PathLike[str], card: str, repository: str, *, private: bool = False, message: str = ""
) -> str:
    """Send the file of a learner and its card to a repository, which is made if there is none; return its address.

    Who sends it is what the package ``huggingface_hub`` knows from ``hf auth login`` or ``HF_TOKEN``.

    Args:
        learner: The file, as ``tesp export`` writes it.
        card: The text of the card.
        repository: ``USER/NAME``.
        private: Whether nobody else sees a repository that is made.
        message: What the change is called there.

    Raises:
        ConfigurationError: The name is no repository's, the package is missing, or the hub refuses it.
        RunFolderError: There is no such file, or it holds something else.
    """
    _require_repository(repository)
    learner = Path(learner)
    tensor_files.read(learner, _KIND)
    hub = _imported()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / LEARNER).write_bytes(learner.read_bytes())
        (Path(folder) / CARD).write_text(card, encoding="utf-8")
        try:
            api = hub.HfApi()
            address = api.create_repo(repository, private=private, exist_ok=True)
            told = message or "A learner trained with tesp, and its card"
            api.upload_folder(repo_id=repository, folder_path=folder, commit_message=told)
        except Exception as error:
            raise _refused(f"{repository} cannot be written", error) from error
    return str(address)


def pull(repository: str, output: str | os.PathLike[str] | None = None, *, revision: str | None = None) -> Path:
    """Fetch the learner of a repository; return its file, which `tesp.load` reads.

    Args:
        repository: ``USER/NAME``.
        output: File to write, NAME.safetensors; by default it stays in the cache of the package ``huggingface_hub``.
        revision: A branch, a tag or a commit; by default the newest.

    Raises:
        ConfigurationError: The name is no repository's, the package is missing, or the hub has no such learner.
        RunFolderError: What came is damaged, holds something else, or cannot be written.
    """
    _require_repository(repository)
    if output is not None and Path(output).suffix != ".safetensors":
        raise RunFolderError(f"{output} is not possible; the name of the file must end in .safetensors.")
    hub = _imported()
    try:
        found = Path(hub.hf_hub_download(repository, LEARNER, revision=revision))
    except Exception as error:
        raise _refused(f"{repository} has no {LEARNER} that can be fetched", error) from error
    tensor_files.read(found, _KIND)
    if output is None:
        return found
    output = Path(output)
    try:
        with written_beside(output) as beside:
            beside.write_bytes(found.read_bytes())
    except OSError as error:
        raise RunFolderError(f"{output} cannot be written: {error.strerror}. Give another file.") from error
    return output


def _require_repository(name: str) -> None:
    if len(parts := name.split("/")) != 2 or not all(parts):
        raise ConfigurationError(f"{name!r} is not the name of a repository, which is USER/NAME.")


def _imported() -> ModuleType:
    try:
        import huggingface_hub  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigurationError(
            "The package huggingface_hub is not installed; install it with `pip install 'tesp[hub]'`."
        ) from error
    return huggingface_hub


def _refused(what: str, error: Exception) -> ConfigurationError:
    said = " ".join(str(error).split()).rstrip(".")[:300] or type(error).__name__
    return ConfigurationError(f"{what} ({said}). Look at the name and the network, and call `hf auth login`.")
