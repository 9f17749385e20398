import io
import re

import pytest
from rich.console import Console

from tesp.cluster import board
from tesp.cluster.board import Board


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(board.time, "monotonic", lambda: now[0])
    return now


def happens(shown, clock):
    """Two of four runs are trained, one of them is lost and the other one fails; a third was done before."""
    with shown:
        shown.begun("a", "10.0.0.1", 0)
        shown.begun("b", "10.0.0.2", 4)
        for number in range(1, 5):
            clock[0] += 1.0
            shown.trained("a", number, -2.5)
            shown.show()
        shown.lost("a", "its machine is gone")
        shown.failed("b", "policy loss became NaN")
        shown.begun("a", "10.0.0.2", 3)
        clock[0] += 1.0
        shown.trained("a", 10, -1.25)
        shown.finished("a")
        shown.show()


def made(console):
    return Board(console, dict.fromkeys(("a", "b", "c", "d"), 10), {"c"})


def test_a_pipe_gets_plain_lines(clock):
    console = Console(file=io.StringIO(), width=200)
    happens(made(console), clock)
    lines = console.file.getvalue().splitlines()
    assert "a: begins on 10.0.0.1" in lines
    assert "b: goes on after 4 meta-updates on 10.0.0.2" in lines
    assert "a: lost on 10.0.0.1 after 4 meta-updates (its machine is gone); it goes on elsewhere" in lines
    assert "b: failed: policy loss became NaN" in lines
    assert "a: done" in lines
    # Three more in the three seconds since a's first, and 22 are left: what b did before counts as done, not as pace.
    assert "sweep: 18 of 40 meta-updates  1 of 4 runs done, 2 running; about 22 s left" in lines
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_has_a_table_with_what_runs_first(clock, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("TTY_INTERACTIVE", raising=False)
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    happens(made(console), clock)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())
    assert "b: failed: policy loss became NaN" in text
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows[-4:] == [
        ["b", "failed", "10.0.0.2", "4 of 10", ""],
        ["d", "waiting", "", "0 of 10", ""],
        ["a", "done", "10.0.0.2", "10 of 10", "−1.25"],
        ["c", "done", "", "10 of 10", ""],
    ]
    assert "2 of 4 runs done, 1 failed" in text


def test_a_table_is_no_higher_than_the_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("TTY_INTERACTIVE", raising=False)
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=14)
    with Board(console, {f"run{n}": 5 for n in range(30)}, set()) as shown:
        shown.begun("run29", "10.0.0.1", 0)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue()).splitlines()
    last = lines[max(n for n, line in enumerate(lines) if "┏" in line) :]
    assert len(last) < 14
    assert "run29" in last[3]
    assert "24 more waiting" in "".join(last)


def test_nowhere():
    with Board(None, {"a": 1}, set()) as shown:
        shown.say("nothing")
        shown.begun("a", "here", 0)
        shown.failed("a", "because")
        shown.show()
