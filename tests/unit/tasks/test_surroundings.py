"""What surrounds a program: a notebook's settings, files of other editors, names as long as they can be."""

import os
import subprocess
import sys

import numpy as np
import pytest

import tesp
from helpers.running import options, records
from helpers.running import tesp as command
from tesp.errors import ConfigurationError
from tesp.storage.files import write_whole
from tesp.tasks.mujoco.model import load_model

from .cart import MODEL as XML


@pytest.mark.parametrize("backend", ["nonsense"])
def test_the_backend_of_a_notebook(backend, reference, tmp_path):
    environment = os.environ | {"MPLBACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-m", "tesp", "plot", str(reference.path), "--no-details", "--output", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "learning_curves.png").is_file()


class TestModels:
    def test_a_byte_order_mark(self, tmp_path):
        path = tmp_path / "marked.xml"
        path.write_text("\ufeff" + XML, encoding="utf-8")
        for source in (path, str(path), "\ufeff" + XML, "\n \ufeff" + XML):
            assert load_model(source).nu == load_model(XML).nu

    def test_a_long_text(self):
        long = XML.replace("<worldbody>", "<worldbody>" + "<!-- a long comment -->" * 2000, 1)
        assert load_model(long).nu == load_model(XML).nu

    @pytest.mark.parametrize("source", ["mujoco " * 2000, "a\0b", "x" * 300, "no.xml"])
    def test_what_is_neither_a_text_nor_a_file(self, source):
        with pytest.raises(ConfigurationError, match="There is no MJCF file") as error:
            load_model(source)
        assert len(str(error.value)) < 700


def test_names_as_long_as_they_can_be(tmp_path):
    name = "r" * 255
    done = command("train", "point", *options(meta_updates=1), "--output", tmp_path / name)
    assert done.code == 0, done.err
    assert [record["meta_update"] for record in records(tmp_path / name, "train")] == [1]
    assert [path.name for path in tmp_path.iterdir()] == [name]
    write_whole(tmp_path / ("é" * 120 + ".html"), "x")
    with pytest.raises(tesp.RunFolderError, match="File name too long"):
        tesp.train(tesp.preset_config("point", "quick"), tmp_path / ("r" * 256))


def test_a_family_with_a_long_name(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        f"from tesp.tasks.point import PointFamily\n{'f' * 255} = PointFamily(horizon=6)\n"
    )
    monkeypatch.chdir(tmp_path)
    refused = command("train", f"own.py:{'f' * 255}", *options(meta_updates=0)).sentence()
    assert "File name too long" in refused
    assert "--output" in refused
    assert np.array_equal(sorted(path.name for path in tmp_path.iterdir() if path.name != "runs"), ["own.py"])
