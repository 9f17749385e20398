"""The examples over Gymnasium's own MuJoCo environments: rewards, tasks, presets, and that they are trained."""

from pathlib import Path

import numpy as np
import pytest

from helpers.running import lines_of, options, tesp
from tesp.config import preset_config
from tesp.presets import presets_of
from tesp.tasks.registry import make_family

EXAMPLES = Path(__file__).parents[2] / "examples"
CHEETAH = f"{EXAMPLES / 'half_cheetah_velocity.py'}:half_cheetah_velocity"
ANT = f"{EXAMPLES / 'ant_direction.py'}:ant_direction"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    # MuJoCo writes what it warns of to a file in the working directory.
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("reference", "sizes"), [(CHEETAH, (17, 6, 1, 200)), (ANT, (27, 8, 2, 200))], ids=["cheetah", "ant"]
)
class TestBoth:
    def test_sizes_and_presets(self, reference, sizes):
        family = make_family(reference)
        assert (family.observation_size, family.action_size, family.task_size, family.horizon) == sizes
        for preset in presets_of(family):
            assert preset_config(reference, preset).preset == preset
        assert reference.endswith(f":{family.name}")

    def test_the_task_changes_rewards_and_is_not_observed(self, reference, sizes):
        family = make_family(reference)
        tasks = family.sample_task_sets(0)["train"].tasks[:2]
        environments = [family.environment(task) for task in tasks]
        first = [environment.reset(seed=3)[0] for environment in environments]
        np.testing.assert_array_equal(*first)
        action = np.full(family.action_size, 0.3, np.float32)
        one, other = [environment.step(action) for environment in environments]
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1] != other[1]

    def test_nothing_is_said_when_environments_are_made(self, reference, sizes, capfd, tmp_path):
        make_family(reference).simulate(2).close()
        assert capfd.readouterr() == ("", "")
        assert list(tmp_path.iterdir()) == []


def test_reward_of_the_cheetah():
    environment = make_family(CHEETAH).environment([1.25])
    environment.reset(seed=0)
    action = np.array([1.0, -0.5, 0.25, 0.0, 1.0, -1.0], np.float32)
    before = environment.unwrapped.data.qpos[0]
    _, reward, terminated, _, info = environment.step(action)
    velocity = (environment.unwrapped.data.qpos[0] - before) / 0.05
    gap = abs(velocity - 1.25)
    assert info["distance"] == pytest.approx(gap)
    assert info["distance_reward"] == pytest.approx(-gap)
    assert reward == pytest.approx(-gap - 0.05 * 3.3125)
    assert not terminated


def test_targets_of_the_cheetah():
    sets = make_family(CHEETAH).sample_task_sets(0)
    for name in ("train", "in_distribution"):
        assert sets[name].tasks.min() >= 0
        assert 1.5 < sets[name].tasks.max() <= 2
    assert sets["out_of_distribution"].tasks.min() >= 2
    assert sets["out_of_distribution"].tasks.max() <= 3


def test_reward_of_the_ant():
    backwards = make_family(ANT).environment([-0.6, 0.8])
    backwards.reset(seed=0)
    action = np.full(8, 0.5, np.float32)
    body = backwards.unwrapped
    before = body.data.body(1).xpos[:2].copy()
    _, reward, terminated, _, info = backwards.step(action)
    velocity = (body.data.body(1).xpos[:2] - before) / body.dt
    along = velocity @ [-0.6, 0.8]
    assert info["distance_reward"] == pytest.approx(along)
    # Gymnasium's: 1 for every step upright, 0.5·‖a‖² for actions, and the forces of contacts.
    contact = 5e-4 * np.sum(np.square(body.contact_forces))
    assert reward == pytest.approx(along + 1 - 0.5 * 2 - contact)
    assert info["healthy"]
    assert not terminated


def test_directions_of_the_ant():
    sets = make_family(ANT).sample_task_sets(0)
    angles = {name: np.arctan2(*one.tasks.T[::-1]) % (2 * np.pi) for name, one in sets.items()}
    assert all(np.allclose(np.hypot(*one.tasks.T), 1) for one in sets.values())
    assert max(angles["train"].max(), angles["in_distribution"].max()) < 1.5 * np.pi
    assert angles["train"].min() < 0.3
    assert angles["out_of_distribution"].min() >= 1.5 * np.pi


def test_the_cheetah_is_trained_by_the_command_line(tmp_path):
    done = tesp("train", CHEETAH, *options(meta_updates=1, evaluate_every=1, evaluation_tasks=2))
    assert done.code == 0, done.err
    records = tmp_path / "runs" / "half_cheetah_velocity-tesp-quick-seed0" / "records.jsonl"
    kinds = [record["kind"] for record in lines_of(records)]
    assert set(kinds) == {"train", "evaluation", "reference"}
