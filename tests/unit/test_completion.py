"""TAB completes commands, options and values."""

import shutil
import subprocess

import pytest

from helpers.running import tesp
from tesp.commands.completion import options, script
from tesp.methods.registry import absent_from

CASES = [
    ("tesp ev", "evaluate", "resume"),
    ("tesp train wh", "wheeled", "point"),
    ("tesp train point --preset ", "quick", "wheeled"),
    ("tesp train point --algorithm tesp-", "tesp-v1", "maml"),
    ("tesp compare point --algorithms m", "meta-sgd", "tesp"),
    ("tesp train point --learning-rate-", "--learning-rate-schedule", "--seed"),
    ("tesp train point --fr", "--from", "--seed"),
    ("tesp adapt runs/x --film ", "gif", "mp3"),
    ("tesp resume runs/x --tr", "--trust", "--no-trust"),
    ("tesp completion ", "fish", "tcsh"),
]


def bash(words):
    body = (
        f"{script('bash')}\nCOMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}\n"
        '_tesp; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return subprocess.run(["bash", "-c", body], capture_output=True, text=True, check=True).stdout.split()


def fish(words):
    body = f"{script('fish')}\ncomplete -C {' '.join(words)!r}"
    told = subprocess.run(["fish", "-c", body], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line.split("\t")[0] for line in told]


@pytest.mark.parametrize("shell", [bash, fish], ids=["bash", "fish"])
@pytest.mark.parametrize(("line", "offered", "not_offered"), CASES, ids=[case[0] for case in CASES])
def test_offers(shell, line, offered, not_offered):
    if shutil.which(shell.__name__) is None:
        pytest.skip(f"{shell.__name__} is not installed here")
    found = shell(line.split(" "))
    assert offered in found
    assert not_offered not in found


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed here")
def test_zsh_takes_the_functions_of_bash():
    body = f"autoload -U compinit && compinit -u -D; {script('zsh')}\nwhence -w _tesp"
    done = subprocess.run(["zsh", "-f", "-c", body], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "_tesp: function", "")


def test_knows_every_option_that_help_shows():
    """Of every command, and no other."""
    for command, known in options().items():
        words = ["point"] if command in ("train", "compare") else []
        shown = tesp(command, *words, "--help").out
        named = {word.strip(",│` ") for line in shown.splitlines() for word in line.split() if word.startswith("--")}
        # What is rules of the table, and the options of other methods and of `tesp train`.
        named = {name for name in named if name.strip("-")}
        absent = [name.replace("_", "-") for name in absent_from("tesp")]
        others = {"train": {f"--{no}{name}" for name in absent for no in ("", "no-")}, "compare": known.keys()}
        assert named <= known.keys(), command
        assert known.keys() - named <= others.get(command, set()), command


def test_the_script_is_written_to_the_standard_output():
    assert tesp("completion", "bash").out == script("bash")
    assert tesp("completion", "csh").code == 2
