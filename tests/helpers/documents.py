"""The README and the documentation, and what their examples need to run in seconds; a plugin of pytest."""

import re
from pathlib import Path
from unittest import mock

import pytest

import tesp
from helpers import running

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]

#: Replaces the numbers of every example that trains, so that it takes seconds.
TINY = running.TINY | {"meta_updates": 1, "evaluation_tasks": 0}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(page: Path, language: str) -> list[tuple[int, str]]:
    """The code blocks of a page in one language, each with the number of the line before it."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, block.start(1)), block[1]) for block in found]


def pages_with(language: str) -> list[Path]:
    return [page for page in PAGES if blocks_of(page, language)]


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A folder like the one that `make demo` leaves, from a tiny run."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    with mock.patch("tesp.building.build_learner", running.shared_learner):
        tesp.train(tesp.preset_config("point", "quick", **TINY), folder)
    return folder
