"""The loop when something happens to it: interrupts, numbers that are not finite, a full disk."""

import errno
import gc
import json
import os
import resource
import shutil
import signal
import sys
from dataclasses import replace
from unittest import mock

import jax
import numpy as np
import pytest
from orbax.checkpoint._src.path import atomicity

from helpers.running import TINY, assert_same_run, checkpoint_folders, child, options, records, state, tesp
from tesp.episodes import rollout
from tesp.evaluation.protocol import Evaluator
from tesp.methods.gradient.method import GradientMethod
from tesp.signals import uninterrupted
from tesp.storage.checkpoint import Checkpoints
from tesp.tasks import registry
from tesp.tasks.point import PointFamily, PointSimulation
from tesp.training.callbacks import WriteRecords

EVALUATION_ROWS = 3 * 4


#: More tasks than a meta-update takes, so that its rounds differ from those of an evaluation.
MORE_TASKS = {"tasks_per_set": 6, "tasks_per_update": 2}


def train(folder, family="point", **overrides):
    return tesp("train", family, *options(**overrides), "--output", folder)


@pytest.fixture
def interruptible():
    """Ctrl-C raises KeyboardInterrupt, also where a shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def before_call(monkeypatch, owner, name, happen, when):
    """Make something happen before the calls of a method whose arguments fulfil ``when``."""
    original = getattr(owner, name)

    def replacement(*arguments):
        if when(*arguments):
            happen()
        return original(*arguments)

    monkeypatch.setattr(owner, name, replacement)


def holds(kind, meta_update):
    return lambda _, rows: any(r["kind"] == kind and r["meta_update"] == meta_update for r in rows)


def assert_resumes(folder, reference):
    assert tesp("resume", folder).code == 0
    assert_same_run(folder, reference.path)


@pytest.mark.usefixtures("interruptible")
class TestInterrupt:
    def test_in_an_evaluation(self, reference, tmp_path, monkeypatch):
        folder = tmp_path / "run"
        with monkeypatch.context() as patch:
            before_call(patch, Evaluator, "evaluate", press_ctrl_c, lambda _, __, meta_update: meta_update == 2)
            assert train(folder).code == 130
        assert [r["meta_update"] for r in records(folder, "train")] == [1, 2]
        assert len(records(folder, "evaluation")) == EVALUATION_ROWS
        assert "2" in checkpoint_folders(folder)
        # The checkpoint had no score when it was written; now it gets one, and is the best as without interrupt.
        assert state(reference.path, "best").meta_update == 2
        assert_resumes(folder, reference)

    def test_in_an_evaluation_and_killed_before_it_has_a_checkpoint(self, reference, tmp_path, monkeypatch):
        folder = tmp_path / "run"
        with monkeypatch.context() as patch:
            before_call(patch, Evaluator, "evaluate", press_ctrl_c, lambda _, __, meta_update: meta_update == 2)
            assert train(folder).code == 130
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save", mock.Mock(side_effect=RuntimeError))
            with pytest.raises(RuntimeError):
                tesp("resume", folder)
        # The evaluation is recorded, but its checkpoint still has no score: it is done again, and recorded once.
        assert len(records(folder, "evaluation")) == 2 * EVALUATION_ROWS
        assert_resumes(folder, reference)

    @pytest.mark.parametrize(("kind", "last"), [("evaluation", 2), ("train", 3)])
    def test_while_records_are_written(self, reference, tmp_path, monkeypatch, kind, last):
        folder = tmp_path / "run"
        with monkeypatch.context() as patch:
            before_call(patch, WriteRecords, "on_records", press_ctrl_c, holds(kind, last))
            assert train(folder).code == 130
        assert records(folder)[-1]["meta_update"] == last
        assert records(folder)[-1]["kind"] == kind
        assert str(last) in checkpoint_folders(folder)
        assert_resumes(folder, reference)

    def test_while_a_checkpoint_is_written(self, reference, tmp_path, monkeypatch):
        folder = tmp_path / "run"
        with monkeypatch.context() as patch:
            finalised = atomicity.AtomicRenameTemporaryPath
            before_call(patch, finalised, "finalize", press_ctrl_c, lambda self: self.get_final().name == "3")
            assert train(folder).code == 130
        assert set(checkpoint_folders(folder)) == {"2", "3"}
        assert_resumes(folder, reference)

    def test_is_held_back_and_not_forgotten(self):
        reached = []

        def write():
            with uninterrupted():
                press_ctrl_c()
                reached.append(True)

        with pytest.raises(KeyboardInterrupt):
            write()
        assert reached
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


class BrokenSimulation(PointSimulation):
    """Its observations of one task are NaN at the second step of the first round of meta-update 3."""

    rounds_of_two_meta_updates = 2 * 5
    spoilt_goals: list

    def __init__(self, family, count):
        super().__init__(family, count)
        self.rounds = self.steps = 0
        self.training = count == MORE_TASKS["tasks_per_update"] * TINY["episodes_per_round"]

    def reset(self, tasks):
        self.rounds, self.steps = self.rounds + 1, 0
        return super().reset(tasks)

    def step(self, ids, actions):
        self.steps += 1
        done = super().step(ids, actions)
        if self.training and self.rounds == self.rounds_of_two_meta_updates + 1 and self.steps == 2:
            spoilt = ids >= TINY["episodes_per_round"]
            self.spoilt_goals.append(self.goals[ids[spoilt][0]])
            done = replace(done, observation=np.where(spoilt[:, None], np.nan, done.observation))
        return done


class BrokenFamily(PointFamily):
    def simulate(self, count, threads=0):
        return BrokenSimulation(self, count)


@pytest.fixture
def broken_family(monkeypatch):
    BrokenSimulation.spoilt_goals = []
    monkeypatch.setattr(registry, "_FACTORIES", dict(registry._FACTORIES))
    registry.register_family("broken", BrokenFamily)
    return "broken"


def index_of(goal, folder):
    """The place of a goal in D."""
    tasks = np.array(json.loads((folder / "tasks.json").read_text())["train"])
    return int(np.flatnonzero((tasks == goal).all(axis=1))[0])


def assert_good(folder, meta_update):
    """The last checkpoint is that of a meta-update, with parameters that are finite."""
    last = state(folder)
    assert last.meta_update == meta_update
    assert [r["meta_update"] for r in records(folder, "train")] == list(range(1, meta_update + 1))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(last.method.parameters))


def with_entry(table, place, value):
    changed = table.copy()
    changed[place] = value
    return changed


class TestNotFinite:
    def test_observation(self, broken_family, tmp_path):
        folder = tmp_path / "run"
        stopped = train(folder, broken_family, **MORE_TASKS)
        assert stopped.code == 1
        blamed = index_of(BrokenSimulation.spoilt_goals[0], folder)
        goal = ", ".join(f"{x:g}" for x in BrokenSimulation.spoilt_goals[0])
        assert stopped.line() == (
            f"tesp: observation became NaN or infinite in task {blamed} (at control step 1 of episode 0, in the "
            f"warm-up round on the task ({goal}), in meta-update 3; the "
            "last good checkpoint is that of meta-update 2).\n"
        )
        assert_good(folder, 2)

    def test_reward(self, tmp_path, monkeypatch):
        collect, drawn = rollout.collect, []

        def spoilt(simulation, act, tasks, noise, stopwatch, seeds):
            episodes, outcomes = collect(simulation, act, tasks, noise, stopwatch, seeds)
            if len(tasks) == MORE_TASKS["tasks_per_update"]:
                drawn.append(tasks)
                if len(drawn) == 7:
                    episodes.reward[1] = np.inf
            return episodes, outcomes

        monkeypatch.setattr(rollout, "collect", spoilt)
        stopped = train(tmp_path / "run", **MORE_TASKS)
        assert stopped.code == 1
        blamed = index_of(drawn[-1][1], tmp_path / "run")
        assert f"gradient of the fast-update became NaN or infinite in task {blamed} (in fast-update 1 on the task" in (
            stopped.line()
        )
        assert_good(tmp_path / "run", 1)

    @pytest.mark.parametrize(
        ("spoil", "said"),
        [
            (
                lambda u: u._replace(
                    terms=u.terms._replace(policy_loss=with_entry(u.terms.policy_loss, (1, 1), np.nan))
                ),
                "policy loss became NaN or infinite in task {} (in epoch 1, in meta-update 2;",
            ),
            (
                lambda u: u._replace(gradient_norms=with_entry(u.gradient_norms, (0, 2), np.inf)),
                "meta-gradient of the shared parameters became NaN or infinite (in epoch 0, in meta-update 2;",
            ),
        ],
        ids=["loss", "gradient"],
    )
    def test_meta_update(self, tmp_path, monkeypatch, spoil, said):
        adapt, optimised, drawn, results = rollout.Learner.adapt, GradientMethod._optimised, [], []

        def noting(self, parameters, simulation, tasks, *rest, **options):
            drawn.append(tasks)
            return adapt(self, parameters, simulation, tasks, *rest, **options)

        def spoilt(self, *arguments):
            results.append(optimised(self, *arguments))
            return spoil(results[-1]) if len(results) == 2 else results[-1]

        monkeypatch.setattr(rollout.Learner, "adapt", noting)
        monkeypatch.setattr(GradientMethod, "_optimised", spoilt)
        stopped = train(tmp_path / "run")
        assert stopped.code == 1
        blamed = index_of(drawn[-1][1], tmp_path / "run")
        assert said.format(blamed) in stopped.line()
        assert_good(tmp_path / "run", 1)

    def test_evaluation_names_the_task_set(self, tmp_path, monkeypatch):
        calls = []

        def spoil(simulation, act, tasks, noise, stopwatch, seeds):
            episodes, outcomes = collect(simulation, act, tasks, noise, stopwatch, seeds)
            calls.append(tasks)
            if len(calls) == 8:
                episodes.reward[4] = np.nan
            return episodes, outcomes

        collect = rollout.collect
        monkeypatch.setattr(rollout, "collect", spoil)
        stopped = train(tmp_path / "run", **MORE_TASKS)
        assert stopped.code == 1
        assert "in task 4 (in fast-update 2 on the task (" in stopped.line()
        assert "), in the set in_distribution, in the evaluation after 0 meta-updates;" in stopped.line()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_whatever_asks_it_to_end_leaves_a_checkpoint_and_says_how_to_go_on(
    reference, tmp_path, monkeypatch, name, code
):
    folder = tmp_path / "a run"
    number = getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)
    try:
        with monkeypatch.context() as patch:
            one, other = (lambda: signal.raise_signal(number)), []

            def twice():
                # What comes while the end is under way changes nothing.
                patch.setattr(Checkpoints, "save", lambda *_: other.append(signal.raise_signal(number)))
                one()

            before_call(patch, GradientMethod, "meta_update", twice, lambda _, __, ___, done, ____: done == 2)
            ended = train(folder)
        assert ended.code == code
        assert other == [None]
        assert ended.err == f"tesp: interrupted. `tesp resume '{folder}'` continues the run from its last checkpoint.\n"
        assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
    finally:
        signal.signal(number, before)
    assert state(folder).meta_update == 2
    assert_resumes(folder, reference)


class TestTheFolder:
    """Training does not go on into nothing, nor beside another process."""

    def interfering(self, monkeypatch, folder, happen, meta_update=2):
        with monkeypatch.context() as patch:
            when = lambda _, __, ___, done, ____: done == meta_update  # noqa: E731
            before_call(patch, GradientMethod, "meta_update", happen, when)
            return train(folder)

    def test_is_gone(self, tmp_path, monkeypatch, reference):
        folder, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
        said = self.interfering(monkeypatch, folder, lambda: folder.rename(elsewhere)).sentence()
        assert f"{folder / 'records.jsonl'} is gone, so training has stopped" in said
        assert not (folder / "records.jsonl").exists()
        shutil.rmtree(folder, ignore_errors=True)
        elsewhere.rename(folder)
        assert state(folder).meta_update == 2
        assert_resumes(folder, reference)

    def test_lost_its_lock_and_gets_another(self, tmp_path, monkeypatch, reference):
        folder = tmp_path / "run"
        assert self.interfering(monkeypatch, folder, (folder / ".lock").unlink).code == 0
        assert_same_run(folder, reference.path)

    def test_lost_its_lock_to_another_process(self, tmp_path, monkeypatch, reference):
        folder = tmp_path / "run"
        stolen = []

        def steal():
            (folder / ".lock").unlink()
            stolen.append(child("helpers.holding", folder / ".lock"))
            assert stolen[0].stdout.readline() == "held\n"

        said = self.interfering(monkeypatch, folder, steal).sentence()
        assert f"Another process is training {folder}" in said
        stolen[0].kill()
        stolen[0].communicate(timeout=60)
        assert state(folder).meta_update == 2
        assert_resumes(folder, reference)

    def test_lies_where_there_are_no_locks(self, run, monkeypatch):
        def refuse(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("filelock.FileLock.acquire", refuse)
        said = tesp("resume", run).sentence()
        assert f"{run} cannot be locked against a second process that trains it: No locks available" in said

    @pytest.mark.skipif(sys.platform != "linux", reason="counts what this process has open")
    # What the library of checkpoints was about to do stays undone.
    @pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
    def test_few_file_descriptors(self, tmp_path, reference):
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        there = len(os.listdir("/proc/self/fd"))
        folder = tmp_path / "run"
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (there + 3, limits[1]))
            done = train(folder)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        gc.collect()
        assert done.code in (0, 2)
        assert done.code == 0 or "Too many open files" in done.sentence()
        if folder.exists():
            assert_resumes(folder, reference)
        else:
            assert train(folder).code == 0


class TestFullDisk:
    @pytest.fixture
    def full(self):
        def fail():
            raise OSError(errno.ENOSPC, "No space left on device")

        return fail

    def test_while_records_are_written(self, full, reference, tmp_path, monkeypatch):
        folder = tmp_path / "run"
        with monkeypatch.context() as patch:
            before_call(patch, WriteRecords, "on_records", full, holds("train", 3))
            stopped = train(folder)
        assert "the disk is full" in stopped.sentence()
        assert_good(folder, 2)
        assert_resumes(folder, reference)

    def test_while_a_checkpoint_is_written(self, full, reference, tmp_path, monkeypatch):
        folder = tmp_path / "run"
        with monkeypatch.context() as patch:
            finalised = atomicity.AtomicRenameTemporaryPath
            before_call(patch, finalised, "finalize", full, lambda self: self.get_final().name == "3")
            stopped = train(folder)
        assert "the disk is full" in stopped.sentence()
        assert f"`tesp resume {folder}` continues" in stopped.sentence()
        # The newest state was stored before.
        assert state(folder).meta_update == 3
        assert_resumes(folder, reference)

    def test_before_the_run_folder_is_whole(self, full, tmp_path):
        with mock.patch("tesp.storage.run_folder.versions", side_effect=full):
            stopped = train(tmp_path / "run")
        assert "cannot be written: No space left on device" in stopped.sentence()
        assert list(tmp_path.iterdir()) == []
