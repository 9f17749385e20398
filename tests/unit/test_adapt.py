import json

import numpy as np
import pytest

from helpers.running import TINY, shared_learner
from tesp.agents.given_task import TaskWarning
from tesp.agents.records import adaptation_records
from tesp.errors import ConfigurationError
from tesp.runs import load_run

GOAL = (0.5, -0.25)

pytestmark = pytest.mark.filterwarnings("ignore::tesp.AdaptationWarning")


@pytest.fixture
def loaded(reference, monkeypatch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)
    return load_run(reference.path, "latest")


def adapt(run, goal=GOAL, seed=0):
    agent = run.adapt(goal, seed=seed)
    return adaptation_records([(r.fast_update, r.outcomes) for r in agent.history], run.family, goal)


def without_identifier(records):
    return [{name: value for name, value in r.items() if name != "adaptation_id"} for r in records]


def test_one_record_a_round_with_the_paths_of_its_episodes(loaded):
    records = adapt(loaded)
    assert [record["fast_update"] for record in records] == [-1, 0, 1, 2, 3]
    assert len({record["adaptation_id"] for record in records}) == 1
    for record in records:
        assert (record["kind"], record["family"], record["goal"]) == ("adaptation", "point", list(GOAL))
        assert (record["tasks"], record["episodes_per_task"]) == (1, TINY["episodes_per_round"])
        assert len(record["episodes"]) == TINY["episodes_per_round"]
        assert record["environment_steps"] == sum(len(episode["position"]) for episode in record["episodes"])
        assert record["average_return"] == pytest.approx(np.mean([e["average_return"] for e in record["episodes"]]))
        for episode in record["episodes"]:
            distance = np.linalg.norm(np.array(episode["position"]) - GOAL, axis=1)
            assert episode["average_return"] == pytest.approx(-distance.sum(), abs=1e-3)
    json.dumps(records)


def test_the_seed_decides(loaded):
    once, again, other = adapt(loaded), adapt(loaded), adapt(loaded, seed=1)
    assert without_identifier(once) == without_identifier(again)
    assert once[0]["adaptation_id"] != again[0]["adaptation_id"]
    assert once[0]["average_return"] != other[0]["average_return"]


def test_a_goal_far_from_all_others_is_questioned(loaded):
    with pytest.warns(TaskWarning, match="The goal .1e.06, 0. lies"):
        loaded.adapt((1e6, 0.0), 0)


@pytest.mark.parametrize("goal", [(0.5,), (0.1, 0.2, 0.3), (np.nan, 0.0), (np.inf, 0.0)])
def test_goals_that_are_not_possible(loaded, goal):
    with pytest.raises(ConfigurationError, match="a task of 'point' has 2 finite numbers"):
        adapt(loaded, goal)
