"""Meta-updates over the hosts of a real cluster, machines of which are killed in every phase; and drivers."""

import io
import json
import signal
from contextlib import contextmanager

import pytest
from rich.console import Console

from helpers import clusters
from helpers.clusters import needs_nodes, wait_until
from helpers.running import assert_same_run, child, options, records, shared_learner, tiny_config, wait
from tesp import runs
from tesp.cluster.hosts import on_hosts
from tesp.cluster.pool import RayPool
from tesp.training.callbacks import Callback

pytestmark = [
    pytest.mark.cluster,
    needs_nodes,
    # Nodes are started while JAX runs; what is forked becomes another program at once.
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"),
]

#: No encoder, which takes long to compile; as many tasks in an evaluation as in a meta-update, for the same reason.
SMALL = {
    "algorithm": "meta-sgd",
    "fast_updates": 1,
    "tasks_per_update": 4,
    "evaluation_tasks": 4,
    "evaluate_every": 4,
}
#: What only a run over hosts has in its records.
OF_HOSTS = ("hosts", "hosts_lost", "megabytes_communicated")


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """The driver compiles what all runs here share."""
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)


@pytest.fixture(scope="module")
def nodes():
    with clusters.nodes_of(3) as made:
        yield made


class Disasters(Callback):
    """Machines are killed while hosts sample, in an epoch and between meta-updates; one joins."""

    def __init__(self, nodes, monkeypatch):
        self.nodes, self.pool, self.done, self.seen = nodes, None, 0, []
        call = RayPool.call

        def calling(pool, member, what, *given):
            result = call(pool, member, what, *given)
            # The second host of the first meta-update; the first one of the second, at its second question.
            self.seen.append((self.done, what))
            number = self.seen.count((self.done, what))
            if (self.done, what, number) in ((0, "sample", 2 + 3 * EVALUATED), (1, "ask", 3)):
                nodes.kill(member.name)
            return result

        monkeypatch.setattr(RayPool, "call", calling)

    def on_records(self, given):
        if given[0]["kind"] != "train":
            return
        self.done = given[0]["meta_update"]
        if self.done == 2:
            self.nodes.add()
            wait_until(lambda: self.pool.refresh() or len(self.pool.members) == 2)
        if self.done == 3:
            self.nodes.kill(self.pool.members[0].name)

    @contextmanager
    def elsewhere(self, begin, learner, family):
        with begin(learner, family) as executor:
            self.pool = executor.pool
            yield executor


#: Questions of hosts in the evaluation before training: one of each of three hosts, for each task set.
EVALUATED = 3


def without_hosts(folder):
    return [{n: x for n, x in r.items() if n not in OF_HOSTS} for r in records(folder)]


def assert_same(actual, expected, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("helpers.running.records", without_hosts)
        assert_same_run(actual, expected)


def test_killed_machines_and_one_that_joins_change_no_bit(nodes, tmp_path, monkeypatch):
    """From three hosts to two, to one, to two, and to one again."""
    config, shown = tiny_config("reacher2", **SMALL), io.StringIO()
    happening = Disasters(nodes, monkeypatch)
    begin = on_hosts(nodes.address, 3, Console(file=shown, width=200))
    runs.train(
        config, tmp_path / "run", callbacks=[happening], elsewhere=lambda *given: happening.elsewhere(begin, *given)
    )
    told = [[r[name] for name in ("hosts", "hosts_lost")] for r in records(tmp_path / "run", "train")]
    assert told == [[3, 1], [2, 1], [2, 0], [2, 1]], shown.getvalue()
    assert shown.getvalue().count("is lost; others do what it had to do") == 3
    runs.train(config, tmp_path / "alone")
    assert_same(tmp_path / "run", tmp_path / "alone", monkeypatch)


def test_a_killed_driver_goes_on_with_another_number_of_hosts(nodes, tmp_path, monkeypatch):
    """A family that MuJoCo steps; one host, then two."""
    nodes.add()
    output, config = tmp_path / "run", tiny_config("wheeled", **SMALL)
    driver = child(
        "tesp", "train", "wheeled", *options(**SMALL), "--ray", nodes.address, "--hosts", 1, "--output", output
    )
    try:
        wait_until(lambda: driver.poll() is not None or (output.exists() and len(records(output, "train")) > 1))
    finally:
        driver.send_signal(signal.SIGKILL)
        ended = wait(driver)
    assert ended.code == -signal.SIGKILL, ended
    runs.resume(output, elsewhere=on_hosts(nodes.address, 2))
    assert {r["hosts"] for r in records(output, "train")} == {1, 2}
    runs.train(config, tmp_path / "alone")
    assert_same(output, tmp_path / "alone", monkeypatch)


@pytest.mark.long
def test_as_users_compile_it(tmp_path, monkeypatch):
    """Without what makes tests quick to compile, which children and hosts inherit."""
    for name in ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS", "TESP_CPU_DEVICES"):
        monkeypatch.delenv(name)
    for name, words in (("alone", []), ("hosts", ["--ray", "--hosts", 2])):
        ended = wait(child("tesp", "train", "point", *options(**SMALL), *words, "--output", tmp_path / name))
        assert ended.code == 0, ended
    assert {r["hosts"] for r in records(tmp_path / "hosts", "train")} == {2}
    assert_same(tmp_path / "hosts", tmp_path / "alone", monkeypatch)
    evaluated = []
    for words in ([], ["--ray", "--hosts", 2]):
        ended = wait(child("tesp", "evaluate", tmp_path / "alone", "--checkpoint", "latest", *words))
        assert ended.code == 0, ended
        *_, found = (tmp_path / "alone" / "evaluations.jsonl").read_text().splitlines()
        evaluated.append({name: x for name, x in json.loads(found).items() if not name.startswith("seconds")})
    assert evaluated[0] == evaluated[1]
