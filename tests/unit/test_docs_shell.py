"""What the README and the documentation show for the shell works.

A shell runs the blocks as they stand, with loops, quotes and patterns. Every ``tesp`` in them is called in this process
with the arguments that the shell makes of them. What is trained must be possible as it stands, and is then trained at a
tiny size on the point, once for every method. Other programs are not run but looked at: targets of ``make`` must exist,
and so must scripts with the options that they are given.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from helpers import pictures, running
from helpers.documents import ROOT, TINY, blocks_of, name_of, pages_with
from tesp import building, compare, config, runs
from tesp.config import override
from tesp.runs.scores import checked_episodes
from tesp.tasks.registry import families

pytestmark = [
    pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning"),
]

#: Programs of a block, made functions of the shell that ask this process to act and wait for the exit code.
ASK = """
set -eu
shopt -u failglob nullglob
ask() { printf '%s\\0' "$@" > request; read -r code < reply; return "$code"; }
for program in tesp make pip python; do eval "$program() { ask $program \\"\\$@\\"; }"; done
"""


def tiny(given):
    """A configuration that was parsed in full, at a size that takes seconds, on the family that needs no engine."""
    plain = replace(given, family="point", family_file=None, task=config.FamilySettings())
    return override(plain, **running.tiny_values(given.algorithm, TINY | running.TINY_OF_OTHERS))


@pytest.fixture(scope="module")
def trained() -> dict[str, Path]:
    """Runs by family and method: one training is enough, for what options do is tested elsewhere."""
    return {}


@pytest.fixture
def tiny_runs(trained, monkeypatch):
    """Whatever is trained is tiny, and a comparison trains its first method alone; films are blank like figures.

    That figures and films are what they should be is tested elsewhere; here they would take most of the time.
    """
    train, compare_all = runs.train, compare.compare
    # The paper's curves are laid over runs with episodes of its own length only.
    monkeypatch.setattr("tesp.report.published.HORIZON", TINY["horizon"])
    monkeypatch.setattr("tesp.building.build_learner", running.shared_learner)
    monkeypatch.setattr("tesp.report.films.filming.write_film", lambda path, *_: pictures.blank(path))
    image = np.zeros((48, 64, 3), np.uint8)
    monkeypatch.setattr("tesp.tasks.mujoco.rendering.SceneRenderer.image", lambda *_, **__: image)

    def train_tiny(given, output, console=None, *, start=None, trust=False, elsewhere=None, **other):
        output = Path(output or runs.default_output(given))
        assert start is None or Path(start).exists()
        assert not trust
        assert elsewhere is None, "hosts are for blocks of text"
        building.build_method(given, building.build_family(given))
        wanted = override(given, **TINY | other) if other else tiny(given)
        key = f"{wanted.family} {wanted.algorithm} {other}"
        if key not in trained:
            trained[key] = Path(output).resolve()
            return train(wanted, output, console)
        shutil.copytree(trained[key], output)
        for name in ("config.json", "records.jsonl"):
            text = (output / name).read_text(encoding="utf-8")
            (output / name).write_text(re.sub(r'"seed": \d+', f'"seed": {wanted.seed}', text), encoding="utf-8")
        return runs.load_run(output, "latest")

    def compare_one(configs, output, console=None, _work=None, *, episodes):
        for given in configs:
            building.build_method(given, building.build_family(given))
        assert checked_episodes(episodes) == list(episodes)
        return compare_all([tiny(configs[0])], output, console, episodes=())

    monkeypatch.setattr(runs, "train", train_tiny)
    monkeypatch.setattr(compare, "compare", compare_one)


@contextmanager
def requests(folder: Path, script: str):
    """Run a script of the shell; yield its requests, and answer each with the code that is sent back."""
    for name in ("request", "reply"):
        os.mkfifo(folder / name)
    process = subprocess.Popen(["bash", "-c", ASK + script], cwd=folder, stdout=sys.stderr, stderr=sys.stderr)
    # When the shell ends, whoever waits for its next request must be woken.
    threading.Thread(target=lambda: (process.wait(), (folder / "request").write_bytes(b"")), daemon=True).start()

    def each():
        while words := (folder / "request").read_bytes().decode().split("\0")[:-1]:
            yield words
            (folder / "reply").write_text("0\n")

    try:
        yield each()
    except BaseException:
        # The shell waits for an answer that never comes.
        process.kill()
        raise
    assert process.wait() == 0
    for name in ("request", "reply"):
        (folder / name).unlink()


def look_at(words: list[str]) -> None:
    program, *rest = words
    if program == "make":
        done = subprocess.run(["make", "-n", *rest], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    elif program == "pip":
        assert rest[0] == "install", words
        extras = re.findall(r"\[(\w+)\]", rest[-1])
        text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        assert all(re.search(rf"^{extra} = \[", text, re.MULTILINE) for extra in extras), words
    else:
        script = ROOT / rest[0]
        shown = help_of(script)
        for word in rest[1:]:
            assert not word.startswith("--") or word in shown, f"{script} has no option {word}"


@cache
def help_of(script: Path) -> str:
    shown = subprocess.run([sys.executable, script, "--help"], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return shown.stdout


def with_runs(words: list[str], demo: Path) -> list[str]:
    """Make the runs that a command reads and no command of the page has made; return the words with their names."""
    named = []
    for word in words:
        path = Path(word.replace("*", "0"))
        reads = words[0] not in ("train", "compare") and path.parts[:1] == ("runs",) and len(path.parts) == 2
        if not reads or list(Path().glob(word)):
            named += sorted(map(str, Path().glob(word))) if reads else [word]
            continue
        named.append(str(path))
        family = path.name.split("-")[0]
        if family in families() and family != "point":
            runs.train(config.preset_config(family), path, meta_updates=0)
        else:
            shutil.copytree(demo, path)
    return named


@pytest.mark.parametrize("page", pages_with("sh"), ids=name_of)
def test_commands_run(page, demo, tiny_runs, tmp_path, monkeypatch):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for line, block in blocks_of(page, "sh"):
        with requests(tmp_path, block) as asked:
            for program, *words in asked:
                if program != "tesp":
                    look_at([program, *words])
                    continue
                words = with_runs(words, demo)
                finished = running.tesp(*words)
                assert finished.code == 0, f"line {line} and following: tesp {' '.join(words)}: {finished}"


def test_a_wrong_command_is_found(tmp_path):
    with requests(tmp_path, "for n in 1 2; do tesp train 'two words' $n; done") as asked:
        assert list(asked) == [["tesp", "train", "two words", "1"], ["tesp", "train", "two words", "2"]]
    with pytest.raises(AssertionError, match="No rule to make target"):
        look_at(["make", "nonsense"])
    with pytest.raises(AssertionError, match="has no option --nonsense"):
        look_at(["python", "benchmarks/floor.py", "wheeled", "--nonsense"])
