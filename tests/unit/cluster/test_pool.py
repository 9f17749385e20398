"""The hosts that Ray gives, without a Ray that runs."""

from types import SimpleNamespace

import pytest

from tesp.cluster import pool
from tesp.cluster.pool import Member, NoHostsError, RayPool
from tesp.cluster.ray import UnfitError

exceptions = pytest.importorskip("ray.exceptions")


def given(error=None):
    """A pool of which nothing is there but what is asked here; its Ray answers with an error."""

    def get(_):
        raise error

    made = object.__new__(RayPool)
    made._ray, made._tell, made.told = SimpleNamespace(get=get), lambda line: made.told.append(line), []
    made.members, made._coming, made._refused, made._had_some = [], {}, {}, False
    made._start, made._adopt = lambda: None, lambda **_: None
    return made


def test_a_machine_without_a_package_is_refused_by_name():
    error = exceptions.RayTaskError("begin", "the traceback", ModuleNotFoundError("No module named 'robots'"))
    made = given(error)
    made._take_in("call", Member("10.0.0.7", 4, None, "node"))
    assert not made.members
    refused = made._refused["node"]
    assert isinstance(refused, UnfitError)
    assert str(refused).startswith("The machine 10.0.0.7 cannot make a host (")
    assert "No module named 'robots'" in str(refused)
    assert made.told == [f"host 10.0.0.7 is refused: {refused}"]
    with pytest.raises(NoHostsError, match=r"The machine 10\.0\.0\.7 cannot make a host"):
        made.refresh()


def test_once_there_were_hosts_others_are_waited_for(monkeypatch):
    """A machine that was refused long ago is not why there are none now."""
    monkeypatch.setattr(pool, "_PATIENCE", 0.05)
    made = given()
    made._refused, made._had_some = {"node": UnfitError("has other versions")}, True
    waited = []
    made._adopt = lambda wait: waited.append(wait)
    with pytest.raises(NoHostsError, match="No host has come up within 0 s"):
        made.refresh()
    assert len(waited) > 1
