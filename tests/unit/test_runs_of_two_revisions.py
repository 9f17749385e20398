"""Runs that were stored before an option existed, beside runs that have it."""

import json

import pytest

from helpers.reported import make_run
from helpers.running import as_json, tesp, tiny_config
from tesp.config import of_today
from tesp.runs.stored import run_of_today

#: An option that came late. With its default everything is as it was before.
LATE, DEFAULT, OTHER = "rates_gradient", "every_epoch", "first_epoch"


@pytest.fixture
def two(tmp_path):
    """A run that never heard of the option, and one of another seed that has it."""
    folders = [make_run(tmp_path / f"seed{seed}", seed=seed) for seed in (0, 1)]
    stored = json.loads((folders[0] / "config.json").read_text())
    assert stored["method"]["meta"].pop(LATE) == DEFAULT
    (folders[0] / "config.json").write_text(json.dumps(stored))
    return folders


@pytest.mark.parametrize(("command", "shown"), [("plot", "figures"), ("report", "report.html")])
def test_they_are_drawn_together(two, tmp_path, command, shown):
    finished = tesp(command, *two, "--output", tmp_path / shown)
    assert finished.code == 0, finished
    assert LATE not in (two[0] / "config.json").read_text(), "what is stored stays as it is"


def test_another_value_of_the_option_is_refused_by_its_name(two, tmp_path):
    (two[1] / "config.json").write_text((two[1] / "config.json").read_text().replace(DEFAULT, OTHER))
    refused = tesp("plot", *two, "--output", tmp_path / "shown").sentence()
    assert f"differ in {LATE}, not in the seed alone" in refused
    assert not (tmp_path / "shown").exists()


def test_the_run_has_the_option_at_its_default(two):
    assert run_of_today(two[0]).config["method"]["meta"][LATE] == DEFAULT


def test_what_cannot_be_read_here_stays_as_it_is():
    stored = as_json(tiny_config()) | {"algorithm": "mine"}
    assert of_today(stored) is stored
