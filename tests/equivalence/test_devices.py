"""Tasks spread over several devices give the same results as on one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from helpers import meta_update_on_devices

TESTS = Path(__file__).parents[1]


def test_two_devices_equal_one(tmp_path):
    path = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-m", "helpers.meta_update_on_devices", str(tmp_path / "two.npz")],
        env={**os.environ, "PYTHONPATH": path, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2"], "the tasks were spread over both devices"
    one = meta_update_on_devices.results()
    with np.load(tmp_path / "two.npz") as two:
        assert set(two) == set(one)
        for name, value in one.items():
            np.testing.assert_allclose(two[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
