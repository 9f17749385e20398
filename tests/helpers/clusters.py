"""Real clusters of Ray on this machine: nodes with addresses of their own, which can be killed."""

import importlib.util
import os
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from unittest import mock

import pytest

from tesp.cluster.ray import fork_allowed, reread_environment

#: Found dead after three times half a second.
QUICKLY = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 3,
}
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
#: Bytes of shared memory of a node, the least that Ray takes.
STORE = 80 * 2**20

needs_nodes = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("ray") is None,
    reason="Ray is not installed, or there are no addresses 127.0.0.2, 127.0.0.3, … as Linux has them",
)


class Nodes:
    """A cluster whose head has no cores. Its nodes are called by their addresses."""

    def __init__(self, folder):
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "_system_config": QUICKLY, "include_dashboard": False, "temp_dir": folder}
        self._addresses = iter(range(2, 250))
        with fork_allowed():
            self._cluster = Cluster(initialize_head=True, head_node_args={**head, **self._own()})
        self._nodes = {}

    def _own(self):
        return {"node_ip_address": f"127.0.0.{next(self._addresses)}", "object_store_memory": STORE}

    @property
    def address(self) -> str:
        return self._cluster.address

    def add(self, cores=1, **environment) -> str:
        with fork_allowed():
            node = self._cluster.add_node(num_cpus=cores, env_vars=environment, **self._own())
        self._nodes[node.node_ip_address] = node
        return node.node_ip_address

    def kill(self, address: str) -> None:
        self._cluster.remove_node(self._nodes.pop(address), allow_graceful=False)

    def end(self) -> None:
        self._cluster.shutdown()


@contextmanager
def nodes_of(count: int):
    """A cluster with nodes of one core each."""
    folder = tempfile.mkdtemp(prefix="tesp-nodes-", dir="/tmp")
    with mock.patch.dict(os.environ, TOKEN):
        reread_environment()
        nodes = Nodes(folder)
        try:
            for _ in range(count):
                nodes.add()
            yield nodes
        finally:
            nodes.end()
            shutil.rmtree(folder, ignore_errors=True)


def wait_until(true, seconds=120.0):
    """Wait until something is true, and return it."""
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, "it did not become true"
        time.sleep(0.02)
    return found


#: The point, whose rounds wait from the ninth of a process on until there is a file: after the oracle's second
#: meta-update.
GATED = """
import time
from pathlib import Path
from tesp.tasks.point import PointFamily

OPEN, ROUNDS = Path({gate!r}), []


class Gated(PointFamily):
    def simulate(self, count, threads=0):
        made = super().simulate(count, threads)
        reset = made.reset

        def waiting(tasks):
            ROUNDS.append(tasks)
            while len(ROUNDS) > 8 and not OPEN.exists():
                time.sleep(0.02)
            return reset(tasks)

        made.reset = waiting
        return made


gated = Gated()
"""
