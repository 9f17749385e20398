"""What this machine is: its memory, or what a container leaves of it."""

import pytest

from tesp import machine

UNLIMITED = "9223372036854771712"


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/job/step\n", {"job/memory.max": "2048\n", "job/step/memory.max": "max\n"}, [2048]),
        ("0::/job/step\n", {"memory.max": "4096\n"}, [4096]),
        ("4:memory:/a\n1:cpu:/a\n", {"memory/a/memory.limit_in_bytes": "1024\n", "a/memory.max": "7\n"}, [1024]),
        ("4:memory:/a\n0::/\n", {"memory/memory.limit_in_bytes": UNLIMITED}, [int(UNLIMITED)]),
        ("0::/\n", {"memory.max": "much\n"}, []),
        ("nonsense\n", {}, []),
    ],
)
def test_limits_of_control_groups(tmp_path, groups, files, limits):
    (tmp_path / "groups").write_text(groups)
    for name, text in files.items():
        path = tmp_path / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert machine.group_limits(tmp_path / "groups", tmp_path / "mounted") == limits


def test_no_groups_at_all(tmp_path):
    assert machine.group_limits(tmp_path / "none", tmp_path) == []


def test_the_least_counts(monkeypatch):
    there = machine.memory_bytes()
    monkeypatch.setattr(machine, "group_limits", lambda: [int(UNLIMITED), 2**20])
    assert machine.memory_bytes() == 2**20
    monkeypatch.setattr(machine, "group_limits", lambda: [int(UNLIMITED)])
    assert machine.memory_bytes() <= int(UNLIMITED)
    assert there is None or there > 2**20
