from collections import Counter
from importlib import resources

import numpy as np
import pytest

from helpers.stored import TASK_SETS, evaluations, read
from tesp.errors import ConfigurationError
from tesp.report.published import check_published, published_ant, published_curves

SIGMAS = (0.0, 0.01, 0.05, 0.1)


def run(family="ant", last=3, config=None, **other):
    return read(evaluations(0, 25, family=family, last=last, **other), family=family, **(config or {}))


def test_every_task_set_was_published_at_every_noise():
    curves = published_ant()
    assert set(curves) == {(task_set, sigma) for task_set in TASK_SETS for sigma in SIGMAS}
    # One evaluation every 25 meta-updates; on D and D′ the first was left out.
    for (task_set, _), (updates, returns) in curves.items():
        first = 25 if task_set == "out_of_distribution" else 50
        np.testing.assert_array_equal(updates, np.arange(first, 601, 25))
        assert ((returns < -10) & (returns > -200)).all()


def test_nothing_in_the_file_is_left_out():
    text = (resources.files("tesp.report") / "data" / "published_ant.csv").read_text(encoding="utf-8")
    lines = Counter(line.split(",")[0] for line in text.splitlines())
    points = Counter()
    for (task_set, _), curve in published_ant().items():
        points[task_set] += curve.shape[1]
    assert points == {task_set: lines[task_set] for task_set in TASK_SETS}


def test_the_curves_for_comparison_are_those_without_noise():
    curves = published_curves([run(), run(seed=1)])
    assert set(curves) == set(TASK_SETS)
    assert {name: curve[1, -1] for name, curve in curves.items()} == {
        "train": -13.2,
        "in_distribution": -14.6,
        "out_of_distribution": -42.5,
    }


@pytest.mark.parametrize("families", [["wheeled"], ["ant", "wheeled"]])
def test_other_families_are_refused_by_name(families):
    with pytest.raises(ConfigurationError, match=rf"family 'ant' only, .*{', '.join(families)}; leave out --published"):
        check_published([run(family) for family in families])


@pytest.mark.parametrize("other", [{"last": 2}, {"config": {"task": {"horizon": 100}}}])
def test_runs_of_another_kind_are_refused(other):
    with pytest.raises(
        ConfigurationError, match="episodes of 200 steps and of 3 fast-updates, which run 'run' has not"
    ):
        check_published([run(), run(seed=1, **other)])
