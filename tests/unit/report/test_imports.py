"""Figures work without a screen: none of them goes through pyplot, which would choose a window system."""

import subprocess
import sys

CODE = """
import importlib, pkgutil, sys
import tesp.report
for module in pkgutil.walk_packages(tesp.report.__path__, "tesp.report."):
    importlib.import_module(module.name)
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules
"""


def test_no_figure_goes_through_pyplot():
    subprocess.run([sys.executable, "-c", CODE], check=True)
