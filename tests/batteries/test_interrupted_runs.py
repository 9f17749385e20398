"""Runs that are killed, interrupted or out of space: resumed they end as if nothing had happened, bit for bit."""

import shutil
import signal
import subprocess

import pytest

from helpers import broken_run
from helpers.running import assert_same_run, checkpoint_folders, child, files, options, records, state, tesp, wait
from tesp.episodes import rollout

#: The last checkpoint of a run that ended in a meta-update, and of one that ended while storing a checkpoint.
LAST, LAST_STORED = (str(number - 1) for number in (broken_run.META_UPDATE, broken_run.CHECKPOINT))


def broken(what, folder):
    """A process to which something happens while it trains in a folder, or goes on with what is there."""
    command = ("resume", folder) if folder.exists() else ("train", "point", *options(), "--output", folder)
    return child("helpers.broken_run", what, *command)


def trained(folder):
    return [record["meta_update"] for record in records(folder, "train")]


@pytest.fixture(scope="module")
def killed_while_sampling(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed") / "run"
    assert wait(broken("kill_while_sampling", folder)).code == -signal.SIGKILL
    return folder


@pytest.fixture(scope="module")
def killed_while_storing(killed_while_sampling, tmp_path_factory):
    """The same run, resumed by another process, which is killed too."""
    folder = shutil.copytree(killed_while_sampling, tmp_path_factory.mktemp("killed again") / "run")
    assert wait(broken("kill_while_storing", folder)).code == -signal.SIGKILL
    return folder


@pytest.fixture
def copy_of(tmp_path):
    return lambda folder: shutil.copytree(folder, tmp_path / "run")


def test_killed_in_a_meta_update(killed_while_sampling, copy_of, reference):
    folder = copy_of(killed_while_sampling)
    assert trained(folder) == [1, 2]
    assert max(checkpoint_folders(folder)) == LAST
    assert tesp("resume", folder).code == 0
    assert_same_run(folder, reference.path)


def test_resumed_by_another_process_and_killed_while_writing_a_checkpoint(killed_while_storing, copy_of, reference):
    folder = copy_of(killed_while_storing)
    unfinished = [name for name in checkpoint_folders(folder) if not name.isdecimal()]
    # The state of the meta-update is in the file of the newest, though its checkpoint is not whole.
    assert sorted(unfinished)[1:] == ["newest.safetensors"]
    assert unfinished[0].startswith(f"{broken_run.CHECKPOINT}.")
    assert state(folder).meta_update == broken_run.CHECKPOINT
    assert trained(folder) == [1, 2, 3, 4]
    assert LAST_STORED in checkpoint_folders(folder)
    assert tesp("resume", folder).code == 0
    assert_same_run(folder, reference.path)


def test_whoever_only_reads_leaves_an_unfinished_checkpoint_alone(killed_while_storing, copy_of):
    folder = copy_of(killed_while_storing)
    before = files(folder / "checkpoints")
    evaluated = tesp("evaluate", folder, "--checkpoint", "latest")
    assert evaluated.code == 0
    assert f"meta-update {broken_run.CHECKPOINT} " in evaluated.out
    assert files(folder / "checkpoints") == before


def test_records_torn_by_a_crash_are_mended(killed_while_sampling, copy_of, reference):
    folder = copy_of(killed_while_sampling)
    with (folder / "records.jsonl").open("a") as file:
        file.write('{"kind": "train", "meta_upd')
    assert tesp("resume", folder).code == 0
    assert_same_run(folder, reference.path)


def test_killed_before_the_first_checkpoint(killed_while_sampling, copy_of, reference):
    folder = copy_of(killed_while_sampling)
    shutil.rmtree(folder / "checkpoints")
    assert tesp("resume", folder).code == 0
    assert_same_run(folder, reference.path)


def test_interrupt_from_the_keyboard(reference, tmp_path):
    folder = tmp_path / "run"
    process = broken("wait_while_sampling", folder)
    try:
        assert "waiting\n" in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGINT)
        interrupted = wait(process)
    finally:
        process.kill()
    assert interrupted.code == 130
    assert "tesp resume" in interrupted.line()
    assert trained(folder) == [1, 2]
    assert max(checkpoint_folders(folder)) == LAST
    assert tesp("resume", folder).code == 0
    assert_same_run(folder, reference.path)


@pytest.fixture
def small_disk(tmp_path):
    """A disk with a little more room than a run asks for at its start."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no command that mounts a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=72m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_fills_up(small_disk, reference, monkeypatch):
    folder, filler = small_disk / "run", small_disk / "filler"
    collect, calls = rollout.collect, []

    def filling(*arguments):
        calls.append(arguments)
        if len(calls) == 2 * 3 * broken_run.ROUNDS + 2 * broken_run.ROUNDS + 1:
            fill(filler)
        return collect(*arguments)

    monkeypatch.setattr(rollout, "collect", filling)
    full = tesp("train", "point", *options(), "--output", folder)
    assert "the disk is full" in full.sentence()
    filler.unlink()
    assert tesp("resume", folder).code == 0
    assert_same_run(folder, reference.path)


def test_a_disk_without_room_for_a_run(small_disk):
    (small_disk / "filler").write_bytes(bytes(10 * 2**20))
    refused = tesp("train", "point", *options(), "--output", small_disk / "deeper" / "run")
    assert "is full" in refused.sentence()
    assert not (small_disk / "deeper" / "run").exists()


def fill(path):
    """Write until nothing more fits."""
    block = bytes(2**16)
    with path.open("wb", buffering=0) as file:
        try:
            while file.write(block):
                pass
        except OSError:
            return
