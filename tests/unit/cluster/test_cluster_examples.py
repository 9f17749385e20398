"""The examples of clusters: files are what they should be, and scripts do what they say, with programs played."""

import json
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers.documents import ROOT
from tesp.cluster.ray import _LEAST

yaml = pytest.importorskip("yaml")
EXAMPLES = ROOT / "examples" / "cluster"

#: Notes its arguments, what it reads and whether it has the token; whoever runs by ssh or srun runs it here.
PROGRAM = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> "$LOG"
[ -z "${RAY_AUTH_TOKEN:-}" ] || echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN" >> "$LOG.tokens"
case "$(basename "$0")" in
    ssh) unset RAY_AUTH_TOKEN RAY_AUTH_MODE; shift; bash -c "$*" ;;
    srun) while [ "$1" != ray ]; do shift; done; "$@" ;;
    scontrol) printf 'first\\nsecond\\n' ;;
    hostname) echo "10.0.0.1 192.168.0.1" ;;
    ray) [ "$1" != symmetric-run ] || { while [ "$1" != -- ]; do shift; done; shift; "$@"; } ;;
    tesp) exit 3 ;;
esac
"""


@pytest.fixture
def played(tmp_path):
    """Run a script of the examples where other programs are played; return its exit code and what was called."""
    place = tmp_path / "programs"
    place.mkdir()
    for name in ("ssh", "srun", "scontrol", "hostname", "ray", "tesp"):
        (place / name).write_text(PROGRAM)
        (place / name).chmod(0o755)
    log = tmp_path / "log"

    def run(script, *words, **environment):
        path = os.pathsep.join([str(place), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "LOG": str(log), **environment}
        command = ["bash", EXAMPLES / script, *map(str, words)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        tokens = set(Path(f"{log}.tokens").read_text().splitlines())
        assert len(tokens) == 1
        assert re.fullmatch("token [0-9a-f]{64}", token := tokens.pop())
        assert token.split()[1] not in log.read_text() + done.stdout
        return done.returncode, log.read_text().splitlines()

    return run


def test_a_list_of_machines(played):
    code, called = played("machines.sh", EXAMPLES / "machines.txt", "tesp", "sweep", "x.toml")
    assert code == 3
    rays = [line for line in called if line.startswith("ray ")]
    assert rays[0].startswith("ray start --head --node-ip-address=10.0.0.1 --port=6379 --num-cpus=0 ")
    json.loads(re.search(r"--system-config=(.*)$", rays[0])[1])
    joined = ["ray start --address=10.0.0.1:6379"] * 3
    assert rays[1:] == [*joined, *["ray stop"] * 4]
    assert [line.split()[1] for line in called if line.startswith("ssh ")] == [
        "worker-1",
        "worker-2",
        "ada@worker-3",
    ] * 2
    assert "tesp sweep x.toml --ray 10.0.0.1:6379" in called
    assert called.index("tesp sweep x.toml --ray 10.0.0.1:6379") > called.index("ray start --address=10.0.0.1:6379")


def test_slurm(played):
    job = {"SLURM_JOB_NODELIST": "x", "SLURM_JOB_ID": "412345", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "16"}
    code, called = played("slurm.sbatch", "x.toml", "--max-concurrent", "5", **job)
    assert code == 3
    assert called[-1] == "tesp sweep x.toml --ray first:22345 --max-concurrent 5"
    assert any(line.startswith("ray symmetric-run --address first:22345 --num-cpus=16 ") for line in called)
    assert subprocess.run(["bash", EXAMPLES / "slurm.sbatch"], capture_output=True, check=False).returncode == 1


def test_kubernetes():
    cluster, claim = yaml.safe_load_all((EXAMPLES / "kuberay.yaml").read_text(encoding="utf-8"))
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    spec = cluster["spec"]
    assert tuple(map(int, spec["rayVersion"].split(".")[:2])) >= _LEAST
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    (workers,) = spec["workerGroupSpecs"]
    assert workers["minReplicas"] <= workers["replicas"] <= workers["maxReplicas"]
    for group in (spec["headGroupSpec"], workers):
        pod = group["template"]["spec"]
        assert pod["containers"][0]["volumeMounts"] == [{"name": "runs", "mountPath": "/runs"}]
        assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_a_cloud():
    cluster = yaml.safe_load((EXAMPLES / "cloud.yaml").read_text(encoding="utf-8"))
    assert cluster["available_node_types"]["spot"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in cluster["available_node_types"][cluster["head_node_type"]]["node_config"]
    assert "--env RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    if find_spec("ray") is not None:
        schema = Path(find_spec("ray").origin).parent / "autoscaler" / "ray-schema.json"
        pytest.importorskip("jsonschema").validate(cluster, json.loads(schema.read_text(encoding="utf-8")))


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed here")
@pytest.mark.parametrize("script", ["machines.sh", "slurm.sbatch"])
def test_shellcheck_finds_nothing(script):
    found = subprocess.run(["shellcheck", EXAMPLES / script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
