"""What the README and the documentation show in Python works, and links lead somewhere."""

import re
import shutil

import jax
import pytest

import tesp
from helpers.documents import PAGES, ROOT, TINY, blocks_of, name_of, pages_with
from helpers.running import TINY_OF_OTHERS, shared_learner, tiny_values
from tesp import building, config, registering
from tesp.methods import registry as method_registry
from tesp.runs import stored
from tesp.tasks import registry

BUILT_IN = frozenset(registry.families())
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

pytestmark = [
    # Two episodes of five steps change nothing.
    pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning"),
]


def examples(page):
    """Compiled blocks of a page; line numbers of errors are those of the page."""
    return [compile("\n" * line + block, str(page), "exec") for line, block in blocks_of(page, "python")]


@pytest.mark.parametrize("page", pages_with("python"), ids=name_of)
def test_examples_run(page, request, tmp_path, monkeypatch):
    if any("runs/demo" in block for _, block in blocks_of(page, "python")):
        shutil.copytree(request.getfixturevalue("demo"), tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    preset_config = config.preset_config

    def tiny_preset(family, preset="paper", algorithm="tesp", **values):
        known = tiny_values(algorithm, {**values, **TINY, **TINY_OF_OTHERS})
        return preset_config(family, preset, algorithm, **known)

    monkeypatch.setattr(tesp, "preset_config", tiny_preset)
    # Pages train the same tiny runs, but for families of their own.
    build_learner = building.build_learner
    monkeypatch.setattr(
        building,
        "build_learner",
        lambda *given: (shared_learner if given[0].family in BUILT_IN else build_learner)(*given),
    )
    # What an example registers is forgotten after it.
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    methods = dict(method_registry.METHODS)
    for module in (config, method_registry, registering, stored):
        monkeypatch.setattr(module, "METHODS", methods)
    namespace = {"__name__": "example"}
    # Examples run in JAX as users have it.
    with jax.numpy_dtype_promotion("standard"):
        for example in examples(page):
            exec(example, namespace)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_somewhere(page):
    targets = [target.partition("#")[0] for target in LINK.findall(page.read_text(encoding="utf-8"))]
    relative = {target for target in targets if target and "://" not in target}
    missing = sorted(target for target in relative if not (page.parent / target).exists())
    assert not missing


def test_every_page_is_in_the_navigation_once():
    navigation = re.findall(r"(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(navigation) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:])


def test_examples_are_found():
    assert len(examples(ROOT / "docs" / "adapting.md")) > 5


def test_the_home_page_claims_what_the_readme_does():
    claims = [
        re.search(r"\| Claim \|.*\n(?:\|.*\n)+", (ROOT / page).read_text(encoding="utf-8"))[0]
        for page in ("README.md", "docs/index.md")
    ]
    assert claims[0].replace("(docs/", "(") == claims[1]
