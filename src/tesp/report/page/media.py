"""The figures and films of a run, written into the page itself."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from tesp.errors import RunFolderError
from tesp.report.words import TASK_SETS

#: Formats that every browser shows without help, and how a page names them.
PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
    ".gif": "image/gif",
}
FILMS = {".mp4": "video/mp4", ".webm": "video/webm"}

#: A picture with a greater ratio of width to height keeps a readable size on a narrow screen, where it is scrolled; so
#: does a figure of this library of more pixels across, whose texts would be too small.
WIDE, READABLE = 1.6, 700

#: What the figures of this library show, in the order of the report.
CAPTIONS = {
    "learning_curves": "Learning curves: return after the last fast-update against training, on D, D′ and D″. Below, "
    "where it was recorded, what every round of the training returned.",
    "fast_updates": "What each fast-update gains: return after k fast-updates at the end of training.",
    "trajectories": "Paths of the latest adaptation, one panel for each round.",
    "task_paths": "Paths after all fast-updates, for many tasks at once.",
    "embeddings": "Task embeddings, one dot for each task.",
    "rates": "The rates of the fast-updates, as they were learned.",
    "dynamics_noise": "Return under noise on the state, of growing strength.",
    "still": "The body and its task.",
    "adaptation": "Film of the latest adaptation: one panel for each number of fast-updates.",
}


@dataclass(frozen=True)
class Medium:
    """A figure or a film.

    Attributes:
        name: Name of its file.
        caption: What it shows.
        source: The file itself as a ``data:`` address.
        is_video: Whether a browser plays it rather than shows it; a GIF is a picture.
        is_wide: Whether a picture keeps its size on a narrow screen, where it is scrolled.
    """

    name: str
    caption: str
    source: str
    is_video: bool = False
    is_wide: bool = False


def read_figures(paths: Iterable[Path]) -> list[Medium]:
    """Return the pictures that do not move, the known ones first; other files are passed over."""
    return [read_medium(path) for path in _sorted(paths) if path.suffix.lower() in PICTURES.keys() - {".gif"}]


def read_films(paths: Iterable[Path]) -> list[Medium]:
    """Return the films, animated pictures among them; other files are passed over."""
    return [read_medium(path) for path in _sorted(paths) if path.suffix.lower() in {".gif", *FILMS}]


def read_medium(path: Path) -> Medium:
    """Return a file that is known to be a picture or a film.

    Raises:
        RunFolderError: A picture is damaged.
    """
    ending = path.suffix.lower()
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    source = f"data:{(PICTURES | FILMS)[ending]};base64,{content}"
    return Medium(
        path.name, _caption(path.stem), source, ending in FILMS, ending not in {".svg", *FILMS} and _is_wide(path)
    )


def _caption(stem: str) -> str:
    """Return what a known file shows, the task of a film that `tesp render` made, or the name of any other file."""
    if stem in CAPTIONS:
        return CAPTIONS[stem]
    for task_set, title in TASK_SETS.items():
        if (number := stem.removeprefix(f"film-{task_set}-")) != stem:
            return f"{title}, task {number}: one panel for each number of fast-updates."
    words = stem.replace("_", " ").replace("-", " ").strip()
    return f"{words[:1].upper()}{words[1:]}."


def _is_wide(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.width > WIDE * picture.height or (path.stem in CAPTIONS and picture.width > READABLE)
    except UnidentifiedImageError as error:
        raise RunFolderError(f"{path} is not a picture that can be read; remove it or draw it again.") from error


def _sorted(paths: Iterable[Path]) -> list[Path]:
    known = list(CAPTIONS)
    shown = [path for path in paths if path.is_file() and not path.name.startswith(".")]
    return sorted(shown, key=lambda path: (known.index(path.stem) if path.stem in known else len(known), path.name))
