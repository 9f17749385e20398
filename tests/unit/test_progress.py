import io
import sys
import types

import pytest
from rich.console import Console

from tesp.progress import ProgressBar


@pytest.fixture
def pipe():
    return Console(file=io.StringIO(), width=40)


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("TTY_INTERACTIVE", raising=False)
    return Console(file=io.StringIO(), force_terminal=True, width=120)


def text(console):
    return console.file.getvalue()


def test_a_pipe_gets_a_line_for_each_of_a_few_steps(pipe):
    with ProgressBar(pipe, "evaluating", 3, "task sets") as bar:
        bar.advance(status="train")
        bar.advance(status="in_distribution")
        bar.advance()
    # Plain lines are never wrapped, and a status stays until there is another.
    assert text(pipe).splitlines() == [
        "evaluating: 1 of 3 task sets  train",
        "evaluating: 2 of 3 task sets  in_distribution",
        "evaluating: 3 of 3 task sets  in_distribution",
    ]


def test_a_pipe_gets_twenty_lines_of_many_steps(pipe):
    with ProgressBar(pipe, "drawing", 1000) as bar:
        for step in range(1, 1001):
            bar.update(step, f"step {step}")
    lines = text(pipe).splitlines()
    assert len(lines) == 20
    assert lines[0] == "drawing: 50 of 1000  step 50"
    assert lines[-1] == "drawing: 1000 of 1000  step 1000"


def test_a_pipe_gets_no_line_twice(pipe):
    with ProgressBar(pipe, "drawing", 40) as bar:
        bar.update(20)
        bar.update(20, "still there")
        bar.advance(1)
    assert text(pipe) == "drawing: 20 of 40\n"


def test_a_pipe_gets_plain_text(pipe):
    with ProgressBar(pipe, "a [bold]name[/bold]", 1) as bar:
        bar.advance(status="[red]x[/red]")
    assert text(pipe) == "a [bold]name[/bold]: 1 of 1  [red]x[/red]\n"


def test_a_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None)
    with ProgressBar(console, "drawing", 1) as bar:
        bar.advance()
    assert text(console) == "drawing: 1 of 1\n"


@pytest.mark.parametrize("keep", [False, True])
def test_a_terminal_gets_a_bar(terminal, keep):
    with ProgressBar(terminal, "evaluating [b]", 3, "task sets", keep=keep) as bar:
        bar.advance(2, "[train]")
    shown = text(terminal)
    assert "evaluating [b]" in shown
    assert "2 of 3 task sets" in shown
    assert "[train]" in shown
    erases_itself = "\x1b[2K" in shown.rpartition("2 of 3 task sets")[2]
    assert erases_itself is not keep


def test_bars_may_be_nested(terminal):
    with ProgressBar(terminal, "outer", 2) as outer:
        with ProgressBar(terminal, "inner", 5, keep=True) as inner:
            inner.advance(4)
        outer.advance()
    assert "4 of 5" in text(terminal)
    assert "1 of 2" in text(terminal)


def test_an_error_takes_the_bar_down(terminal):
    hides, shows = "\x1b[?25l", "\x1b[?25h"
    with pytest.raises(RuntimeError), ProgressBar(terminal, "drawing", 2):
        raise RuntimeError
    assert text(terminal).count(hides) == text(terminal).count(shows) == 1


def test_silent_without_a_console(capsys):
    with ProgressBar(None, "drawing", 2) as bar:
        bar.advance(status="x")
    assert capsys.readouterr() == ("", "")


def test_work_of_nothing(pipe):
    with ProgressBar(pipe, "drawing", 0) as bar:
        bar.update(0, "nothing to do")
    assert text(pipe) == ""


def test_in_a_notebook_one_line_changes(monkeypatch):
    shown = []

    class Handle:
        def update(self, data, raw):
            assert raw
            shown.append(data["text/plain"])

    def display(data, raw, display_id):
        assert (data, raw, display_id) == ({"text/plain": ""}, True, True)
        return Handle()

    modules = {"IPython": types.ModuleType("IPython"), "IPython.display": types.SimpleNamespace(display=display)}
    monkeypatch.setattr(sys, "modules", {**sys.modules, **modules})
    console = Console(file=io.StringIO(), force_jupyter=True)
    with ProgressBar(console, "adapting", 2, "episodes") as bar:
        bar.advance(status="one")
        bar.advance(status="two")
    assert shown == ["adapting: 1 of 2 episodes  one", "adapting: 2 of 2 episodes  two"]
