import ast
import sys
from pathlib import Path

import pytest

import tesp.plotting

MODULES = sorted(Path(tesp.plotting.__file__).parent.glob("*.py"))
ALLOWED = {"numpy", "scipy", "matplotlib", "rich", *sys.stdlib_module_names}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_figures_need_neither_jax_nor_pyplot_nor_another_room(module):
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            assert not name.startswith("matplotlib.pyplot"), name
            assert name.split(".")[0] in ALLOWED or name.startswith(("tesp.errors.", "tesp.files.", "tesp.plotting")), (
                name
            )
