"""Figures work without a screen: none of them goes through pyplot, which would choose a window system."""

from pathlib import Path

import tesp.report


def test_no_figure_goes_through_pyplot():
    modules = list(Path(tesp.report.__file__).parent.rglob("*.py"))
    assert len(modules) > 20
    assert not [module for module in modules if "pyplot" in module.read_text(encoding="utf-8")]
