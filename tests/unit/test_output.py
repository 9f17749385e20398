"""Output is plain text whatever files say, and never stops what it reports on."""

import contextlib
import io
import os
import subprocess
import sys

import pytest
from rich.table import Table

from helpers.running import assert_same_run, options, tesp
from tesp import cli
from tesp.output import open_console, printable
from tesp.progress import ProgressBar

HOSTILE = "[red]x[/red] [/nothing] :smile: \x1b[2J\x1b]0;title\x07 \u202egnp.exe \x9b31m"
SHOWN = "[red]x[/red] [/nothing] :smile: \\x1b[2J\\x1b]0;title\\x07 \\u202egnp.exe \\x9b31m"


@pytest.fixture
def shown(monkeypatch):
    """A console on the standard output, and what it shows."""
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    monkeypatch.setenv("COLUMNS", "200")
    return open_console(), text


def test_strings_are_shown_as_they_are(shown):
    console, text = shown
    console.print(HOSTILE)
    assert text.getvalue() == SHOWN + "\n"


def test_so_are_cells_and_titles_of_tables(shown):
    console, text = shown
    table = Table(title=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    console.print(table)
    assert text.getvalue().count(SHOWN) == 3
    assert "\x1b" not in text.getvalue()


def test_so_is_progress(shown):
    console, text = shown
    with ProgressBar(console, HOSTILE, 1) as bar:
        bar.advance(status=HOSTILE)
    assert text.getvalue() == f"{SHOWN}: 1 of 1  {SHOWN}\n"


def test_what_is_harmless_stays():
    assert printable("D′ −1.5 → α\n\ttab 日本") == "D′ −1.5 → α\n\ttab 日本"


class Breaking(io.StringIO):
    """A stream that is gone after some writes."""

    def __init__(self, writes, error):
        super().__init__()
        self._left, self._error = writes, error

    def write(self, text):
        self._left -= 1
        if self._left < 0:
            raise self._error
        return super().write(text)


@pytest.mark.parametrize(("writes", "error"), [(0, BrokenPipeError()), (3, OSError(5, "Input/output error"))])
def test_training_goes_on_without_whoever_watched(reference, tmp_path, error, writes):
    folder = tmp_path / "run"
    with contextlib.redirect_stdout(Breaking(writes, error)), contextlib.redirect_stderr(Breaking(0, error)):
        assert cli.main(["train", "point", *map(str, options()), "--output", str(folder)]) == 0
    assert_same_run(folder, reference.path)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_console_that_cannot_say_everything_says_what_it_can(run, encoding):
    raw = io.BytesIO()
    with contextlib.redirect_stdout(io.TextIOWrapper(raw, encoding)) as stream:
        assert cli.main(["evaluate", str(run)]) == 0
        stream.flush()
        stream.detach()
    assert "D? (new)" in raw.getvalue().decode(encoding)


def test_a_pipe_that_nobody_reads():
    command = f'{sys.executable} -m tesp list | true; exit "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_names_in_files_do_nothing_to_a_terminal(run):
    hostile = run.with_name("[bold]\x1b[2Jrun")
    run.rename(hostile)
    for command in (["list", hostile.parent], ["plot", hostile, "--no-details"], ["evaluate", hostile]):
        done = tesp(*command)
        assert done.code == 0, done.err
        assert "[bold]\\x1b[2Jrun" in done.out or command[0] == "evaluate"
        assert "\x1b" not in done.out + done.err
    assert os.path.isdir(hostile)
