"""Run folders travel part by part, and can be resumed wherever that ends."""

import os
import shutil

import pytest

from helpers.running import files
from tesp.cluster import parcels
from tesp.cluster.parcels import Packer, Parcel, unpack
from tesp.errors import RunFolderError


def fill(folder, updates, checkpoint):
    """What a run holds after so many meta-updates, the last of them not yet a checkpoint."""
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    (folder / "checkpoints" / str(checkpoint) / "state" / "d").mkdir(parents=True)
    (folder / "checkpoints" / str(checkpoint) / "state" / "d" / "array").write_bytes(b"x" * checkpoint)
    (folder / "checkpoints" / str(checkpoint) / "_METADATA").write_text("{}")
    (folder / "checkpoints" / "newest.safetensors").write_bytes(b"y" * updates)
    (folder / "records.jsonl").write_text("record\n" * updates)
    (folder / "config.json").write_text("{}")


@pytest.fixture
def there(tmp_path):
    (tmp_path / "there").mkdir()
    fill(tmp_path / "there", 3, 2)
    return tmp_path / "there"


def test_everything_at_first_and_then_what_has_changed(there, tmp_path):
    packer, here = Packer(there), tmp_path / "here"
    first = packer.pack()
    assert first.parts.keys() == {"records.jsonl", "config.json", "checkpoints/newest.safetensors", "checkpoints/2"}
    unpack(first, here)
    assert files(here) == files(there)
    assert packer.pack() == Parcel()
    fill(there, 5, 4)
    (there / "checkpoints" / "newest.safetensors").unlink()
    second = packer.pack()
    assert second.gone == ("checkpoints/2", "checkpoints/newest.safetensors")
    assert "checkpoints/4" in second.parts
    unpack(second, here)
    assert files(here) == files(there)
    assert not (here / "checkpoints" / "2").exists()


def test_a_whole_run(run, tmp_path):
    unpack(Packer(run).pack(), tmp_path / "here")
    assert files(tmp_path / "here") == files(run)


def test_what_is_not_whole_yet_and_locks_stay_where_they_are(there):
    (there / ".lock").touch()
    (there / ".records-0011.jsonl").touch()
    unfinished = there / "checkpoints" / "4.orbax-checkpoint-tmp-0"
    unfinished.mkdir()
    (unfinished / "array").touch()
    assert len(Packer(there).pack().parts) == 4


def test_a_checkpoint_that_is_written_again_replaces_the_other_one(there, tmp_path):
    packer, here = Packer(there), tmp_path / "here"
    unpack(packer.pack(), here)
    shutil.rmtree(there / "checkpoints" / "2")
    (there / "checkpoints" / "2").mkdir()
    (there / "checkpoints" / "2" / "other").write_text("other")
    changed = packer.pack()
    assert changed == Parcel({"checkpoints/2": {"other": b"other"}})
    unpack(changed, here)
    assert files(here) == files(there)


@pytest.mark.parametrize("steps", range(8))
def test_wherever_it_ends_the_records_go_as_far_as_the_states(there, tmp_path, monkeypatch, steps):
    packer, here = Packer(there), tmp_path / "here"
    unpack(packer.pack(), here)
    fill(there, 5, 4)
    left = [steps]

    def interrupted(happens):
        def step(*arguments):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return happens(*arguments)

        return step

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted(os.replace))
        patch.setattr(parcels.Path, "rename", interrupted(parcels.Path.rename))
        patch.setattr(parcels.shutil, "rmtree", interrupted(shutil.rmtree))
        try:
            unpack(packer.pack(), here)
        except KeyboardInterrupt:
            pass
        else:
            assert steps >= 5
    recorded = (here / "records.jsonl").read_text().count("\n")
    states = [int(x.name) for x in (here / "checkpoints").iterdir() if x.is_dir()]
    states.append(len((here / "checkpoints" / "newest.safetensors").read_bytes()))
    assert states
    assert max(states) <= recorded
    for state in states[:-1]:
        assert (here / "checkpoints" / str(state) / "state" / "d" / "array").read_bytes() == b"x" * state
    # What it left beside goes with the next one.
    fill(there, 6, 6)
    unpack(Packer(there).pack(), here)
    assert not list(here.glob(".incoming-*"))


@pytest.mark.parametrize("path", ["../elsewhere", "/etc/passwd", "checkpoints/../../x"])
def test_nothing_leads_out_of_the_folder(tmp_path, path):
    for parcel in (Parcel({path: {"": b""}}), Parcel({"checkpoints/1": {path: b""}}), Parcel(gone=(path,))):
        with pytest.raises(RunFolderError, match="leads out of the run folder"):
            unpack(parcel, tmp_path / "here")
    assert not (tmp_path / "here").exists()
