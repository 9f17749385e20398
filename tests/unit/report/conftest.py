import pytest

from tesp.report.figures import style


@pytest.fixture
def unsaved(monkeypatch):
    """Figures are made and looked at, and not written, which takes most of their time; one test writes them all."""
    monkeypatch.setattr(style, "save", lambda _, output: style.check_output(output))
