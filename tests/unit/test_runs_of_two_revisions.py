"""Runs that were stored before an option existed, beside runs that have it."""

import csv
import functools
import json
from dataclasses import replace

import pytest

from helpers.reported import make_run
from helpers.running import as_json, tesp, tiny_config
from tesp.compare import write_comparison
from tesp.config import of_today
from tesp.errors import ConfigurationError
from tesp.report.seeds import group_runs
from tesp.runs.stored import run_of_today
from tesp.task_sets import TASK_SETS

#: An option that came late. With its default everything is as it was before.
LATE, DEFAULT, OTHER = "rates_gradient", "every_epoch", "first_epoch"


def forget(folder, *groups, option=LATE, default=DEFAULT):
    """Make a run as it would have been stored before there was an option."""
    stored = json.loads((folder / "config.json").read_text())
    group = functools.reduce(dict.__getitem__, groups, stored)
    assert group.pop(option) == default
    (folder / "config.json").write_text(json.dumps(stored))


@pytest.fixture
def two(tmp_path):
    """A run that never heard of the option, and one of another seed that has it."""
    folders = [make_run(tmp_path / f"seed{seed}", seed=seed) for seed in (0, 1)]
    forget(folders[0], "method", "meta")
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


@pytest.mark.parametrize("named", [[], ["--oracle"]], ids=["beside", "named"])
def test_their_oracles_are_of_two_revisions_too(two, tmp_path, named):
    folder = tmp_path if not named else tmp_path / "elsewhere"
    oracles = [make_run(folder / f"oracle{seed}", last=0, seed=seed, algorithm="oracle") for seed in (0, 1)]
    forget(oracles[1], "method", "network", option="least_std", default=0.0)
    # Of the tasks as well, by which a run finds its oracle.
    forget(oracles[0], "task", option="when_unhealthy", default=None)
    words = [word for oracle in oracles for word in ("--oracle", oracle)] if named else []
    finished = tesp("report", *two, *words, "--output", tmp_path / "report.html")
    assert finished.code == 0, finished
    # In the table of both, and in that of each.
    assert (tmp_path / "report.html").read_text().count("<td>oracle (knows the task)") == 3 * len(TASK_SETS)
    assert tesp("plot", *two, *words, "--output", tmp_path / "figures").code == 0


def test_a_comparison_has_both_and_says_so(two, tmp_path):
    write_comparison(two, tmp_path / "comparison")
    with (tmp_path / "comparison" / "comparison.csv").open(encoding="utf-8") as table:
        counted = {row["seeds"] for row in csv.DictReader(table) if row["method"] == "tesp"}
    assert counted == {"2"}


def test_the_run_has_the_option_at_its_default(two):
    assert run_of_today(two[0]).config["method"]["meta"][LATE] == DEFAULT


def test_what_cannot_be_read_here_stays_as_it_is():
    stored = as_json(tiny_config()) | {"algorithm": "mine"}
    assert of_today(stored) is stored


def test_groups_of_one_name_inside_others_are_told_apart(two):
    one, other = (replace(run_of_today(folder), config={"seed": seed}) for seed, folder in enumerate(two))
    for run, width in ((one, 1), (other, 2)):
        run.config["method"] = {"actor": {"net": {"width": width}}, "critic": {"net": {"width": 3}}}
    with pytest.raises(ConfigurationError, match="differ in width, not"):
        group_runs([one, other])
