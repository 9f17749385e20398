"""What the README and the documentation show works: code runs, links lead somewhere."""

import re
import shutil
from pathlib import Path

import jax
import pytest

import tesp
from tesp import config
from tesp.algorithms import registry as algorithm_registry
from tesp.tasks import registry

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

#: Replaces the numbers of every example that trains, so that it takes seconds. D is as large as one
#: meta-update, so that training and evaluation share what is compiled.
TINY = {
    "meta_updates": 1,
    "tasks_per_set": 2,
    "tasks_per_update": 2,
    "episodes_per_round": 2,
    "buffer_size": 2,
    "horizon": 5,
    "policy_units": (8,),
    "encoder_units": 8,
    "epochs": 1,
}


def name_of(page):
    return str(page.relative_to(ROOT))


def examples(page):
    """Compiled blocks of a page; line numbers of errors are those of the page."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start(1))
        yield compile("\n" * line + block[1], str(page), "exec")


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs(tmp_path_factory):
    """Keep what is compiled, because the examples compile the same programs again and again."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder like the one that `make demo` leaves, from a tiny run."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    tesp.train(tesp.preset_config("point", "quick", **TINY), folder)
    return folder


@pytest.mark.parametrize("page", [p for p in PAGES if BLOCK.search(p.read_text(encoding="utf-8"))], ids=name_of)
def test_examples_run(page, request, tmp_path, monkeypatch):
    if "runs/demo" in "".join(BLOCK.findall(page.read_text(encoding="utf-8"))):
        shutil.copytree(request.getfixturevalue("demo"), tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    preset_config = config.preset_config
    monkeypatch.setattr(tesp, "preset_config", lambda *args, **values: preset_config(*args, **{**values, **TINY}))
    # What an example registers is forgotten after it.
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    algorithms = dict(config.ALGORITHMS)
    for module in (config, algorithm_registry):
        monkeypatch.setattr(module, "ALGORITHMS", algorithms)
    namespace = {"__name__": "example"}
    for example in examples(page):
        exec(example, namespace)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page):
    targets = [target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))]
    relative = {target for target in targets if target and "://" not in target}
    missing = sorted(target for target in relative if not (page.parent / target).exists())
    assert not missing


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if page.name not in navigation] == []


def test_examples_are_found():
    assert list(examples(ROOT / "README.md"))
