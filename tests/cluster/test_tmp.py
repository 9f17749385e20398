import json
from contextlib import contextmanager
import pytest
from helpers.hosts import HostsHere
from helpers.running import records, shared_learner, tiny_config, timeless
from tesp import runs
from tesp.cluster import block_work
from tesp.cluster.hosts import HostsExecutor
from .test_cluster_hosts import SMALL, OF_HOSTS

@pytest.mark.parametrize("family", ["reacher2"])
def test_it(tmp_path, monkeypatch, family):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    config = tiny_config(family, **SMALL)
    @contextmanager
    def elsewhere(learner, fam):
        monkeypatch.setattr(block_work, "Learner", lambda *_: learner)
        yield HostsExecutor(HostsHere((fam, learner.method, learner.sampling), (1, 1, 1)), learner.method)
    runs.train(config, tmp_path / "run", elsewhere=elsewhere)
    runs.train(config, tmp_path / "alone")
    a, b = (timeless(records(tmp_path / x)) for x in ("run", "alone"))
    print(len(a), len(b))
    bad = 0
    for x, y in zip(a, b):
        for k in sorted(set(x) | set(y)):
            if x.get(k) != y.get(k) and k not in OF_HOSTS:
                bad += 1
                if bad < 40: print(x["kind"], x.get("meta_update"), x.get("task_set"), x.get("fast_update"), k, x.get(k), y.get(k))
    assert not bad
