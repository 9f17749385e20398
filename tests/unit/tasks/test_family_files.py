import hashlib
import json
import sys

import pytest

from helpers.running import options, records, tesp, tiny_config
from tesp.building import build_family
from tesp.compare import default_output
from tesp.config import Config, from_json, preset_config, to_json
from tesp.errors import ConfigurationError
from tesp.runs import load_run, resume, train
from tesp.tasks import family_files
from tesp.tasks.family_files import FamilyFileWarning
from tesp.tasks.point import PointFamily
from tesp.tasks.registry import make_family

FILE = """
from beside_the_file import HORIZON
from tesp.tasks.point import PointFamily
from tesp.tasks.family import Family

class Mine(PointFamily):
    pass

class Plain(Family):
    name, observation_size, action_size, task_size, presets = "plain", 2, 2, 2, {}

    def __init__(self, horizon=4):
        self.horizon = horizon

    @property
    def options(self):
        return {"horizon": self.horizon}

    def sample_task_sets(self, seed):
        return PointFamily().sample_task_sets(seed)

    def simulate(self, count, threads=0):
        return PointFamily().simulate(count)

def making(horizon=3, colour="red"):
    return PointFamily(horizon=horizon)

def needing(something):
    return PointFamily()

def making_none():
    return None

point_like = PointFamily(horizon=HORIZON)
plain = Plain(5)
number = 3
_hidden = PointFamily()
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file with families, in the folder ``code``; the working directory is beside it."""
    monkeypatch.setattr(family_files, "_MODULES", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "beside_the_file", raising=False)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "beside_the_file.py").write_text("HORIZON = 9\n")
    path = tmp_path / "code" / "my_family.py"
    path.write_text(FILE)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return path


class TestMaking:
    def test_an_instance(self, file):
        assert make_family("../code/my_family.py:point_like") == PointFamily(horizon=9)
        changed = make_family(f"{file}:point_like", spacing=0.05, tasks_per_set=7, horizon=None)
        assert changed == PointFamily(horizon=9, spacing=0.05, tasks_per_set=7)

    def test_classes_and_functions(self, file):
        assert type(make_family(f"{file}:Mine", horizon=5)).__name__ == "Mine"
        assert make_family(f"{file}:making").horizon == 3
        assert make_family(f"{file}:making", horizon=5).horizon == 5

    def test_an_instance_that_is_no_dataclass_is_made_anew_from_its_options(self, file):
        assert make_family(f"{file}:plain").horizon == 5
        assert make_family(f"{file}:plain", horizon=8).horizon == 8

    def test_a_file_is_imported_once(self, file):
        family = make_family("../code/my_family.py:point_like")
        assert make_family(f"{file}:point_like") is family

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("my_family.py:point_like", "cannot be found: there is no file .*work/my_family.py"),
            ("/nowhere/my_family.py:point_like", "no file /nowhere/my_family.py"),
            (
                "../code/my_family.py",
                "defines no family ''.*Mine, Plain, making, needing, making_none, point_like, plain",
            ),
            ("../code/my_family.py:other", "defines no family 'other'.*point_like"),
            ("../code/my_family.py:number", "is 3; it must be a Family"),
            ("../code/my_family.py:needing", "cannot make a family: TypeError.*something"),
            ("../code/my_family.py:making_none", "returned None; it must return a Family"),
            ("my_family", "FILE.py:NAME"),
        ],
    )
    def test_refused(self, file, name, words):
        with pytest.raises(ConfigurationError, match=words):
            make_family(name)

    def test_unknown_options(self, file):
        with pytest.raises(ConfigurationError, match=r"no option 'horizn' \(did you mean 'horizon'\?\).*tasks_per_set"):
            make_family(f"{file}:point_like", horizn=3)
        with pytest.raises(ConfigurationError, match=r"no option 'spacing'.*horizon, colour"):
            make_family(f"{file}:making", spacing=3)
        with pytest.raises(ConfigurationError, match="horizon is 0"):
            make_family(f"{file}:point_like", horizon=0)

    def test_a_file_that_cannot_be_imported(self, file):
        bad = file.with_name("bad.py")
        bad.write_text("import json\nimport no_such_module\n")
        for _ in range(2):
            with pytest.raises(ConfigurationError, match=r"cannot be imported: ModuleNotFoundError.*bad.py, line 2"):
                make_family(f"{bad}:any")
        bad.write_text("def broken(:\n")
        with pytest.raises(ConfigurationError, match="SyntaxError"):
            make_family(f"{bad}:any")
        assert not [name for name in sys.modules if name.startswith("tesp_family_file_bad")]


class TestConfiguration:
    def test_the_file_is_kept_apart_from_the_name(self, file):
        config = preset_config("../code/my_family.py:point_like", "quick", horizon=6)
        assert (config.family, config.family_file) == ("point_like", str(file))
        assert config.family_reference == f"{file}:point_like"
        assert from_json(to_json(config)) == config
        assert build_family(config) == PointFamily(horizon=6)
        assert default_output("../code/my_family.py:point_like", "quick").name == "compare-point_like-quick"
        with pytest.raises(ConfigurationError, match=r"my_family.py:point_like' has no preset 'fast'"):
            preset_config("../code/my_family.py:point_like", "fast")

    def test_configurations_from_before_families_had_files(self):
        stored = json.loads(to_json(Config()))
        del stored["family_file"]
        assert from_json(json.dumps(stored)) == Config()


def test_a_run(file, monkeypatch, tmp_path):
    done = tesp("train", "../code/my_family.py:point_like", *options(meta_updates=1))
    assert done.code == 0, done.err
    folder = tmp_path / "work" / "runs" / "point_like-tesp-quick-seed0"
    assert {record["family"] for record in records(folder)} == {"point_like"}
    assert f"tesp train {file}:point_like" in done.out
    assert "point_like" in tesp("list").out
    # From another working directory, and after the file is gone: a run has what it needs.
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    file.unlink()
    family_files._MODULES.clear()
    done = tesp("evaluate", folder)
    assert done.code == 0, done.err
    assert f"running the code of {folder / 'family.py'}, which your own training wrote" in done.err
    assert load_run(folder).family.horizon == 6


class TestCopy:
    @pytest.fixture
    def folder(self, file, tmp_path):
        """A run that did nothing yet."""
        folder = tmp_path / "work" / "run"
        train(tiny_config(f"{file}:point_like", meta_updates=0, evaluation_tasks=1), folder)
        return folder

    def forget(self, monkeypatch):
        """Go on as another process would."""
        family_files._MODULES.clear()
        monkeypatch.setattr(sys, "path", [place for place in sys.path if not place.endswith("/code")])
        monkeypatch.delitem(sys.modules, "beside_the_family", raising=False)
        monkeypatch.delitem(sys.modules, "beside_the_file", raising=False)

    def rewrite(self, file, text):
        """Change the file as for another process."""
        file.write_text(text)
        family_files._MODULES.clear()

    def test_the_file_and_its_hash_lie_in_the_run(self, folder):
        assert (folder / "family.py").read_text() == FILE
        digest, name = (folder / "family.sha256").read_text().split()
        assert (digest, name) == (hashlib.sha256(FILE.encode()).hexdigest(), "family.py")
        # The same file gives no warning, which would be an error here.
        assert load_run(folder, "latest").family.horizon == 6
        assert resume(folder).family.horizon == 6

    def test_it_is_what_was_imported_even_if_the_file_has_changed_since(self, file, tmp_path):
        config = tiny_config(f"{file}:point_like", meta_updates=0, evaluation_tasks=1)
        file.write_text("changed = 1\n")
        folder = train(config, tmp_path / "run").folder
        assert (folder.path / "family.py").read_text() == FILE
        with pytest.warns(FamilyFileWarning):
            assert load_run(folder.path, "latest").family.horizon == 6

    @pytest.mark.parametrize("again", [lambda folder: load_run(folder, "latest"), resume], ids=["load_run", "resume"])
    def test_another_file_gives_one_warning(self, folder, file, again):
        self.rewrite(file, "import no_such_module\n")
        with pytest.warns(FamilyFileWarning) as caught:
            assert again(folder).family.horizon == 6
        (said,) = [str(warning.message) for warning in caught]
        assert said.startswith(f"{file} is not what it was when the run {folder} began")
        assert f"goes on with the file as it was, {folder / 'family.py'}" in said

    def test_what_lies_beside_the_original_is_found_from_the_copy(self, file, tmp_path, monkeypatch):
        (file.parent / "beside_the_family.py").write_text("HORIZON = 4\n")
        (file.parent / "spacing.txt").write_text("0.05")
        own = file.with_name("own.py")
        own.write_text(
            "from pathlib import Path\n"
            "from tesp.tasks.point import PointFamily\nfrom beside_the_family import HORIZON\n"
            "SPACING = float(Path(__file__).with_name('spacing.txt').read_text())\n"
            "mine = PointFamily(horizon=HORIZON, spacing=SPACING)\n"
        )
        folder = train(
            tiny_config(f"{own}:mine", meta_updates=0, evaluation_tasks=1, horizon=4), tmp_path / "run"
        ).folder
        self.forget(monkeypatch)
        assert load_run(folder.path, "latest").family.horizon == 4

    def test_runs_from_before_there_were_copies(self, folder, file):
        for name in ("family.py", "family.sha256"):
            (folder / name).unlink()
        family_files._MODULES.clear()
        with pytest.raises(ConfigurationError, match=f"no copy of the file .* trust {file}, copy it to {folder}"):
            load_run(folder, "latest")

    def test_families_with_a_name_have_none(self, tmp_path):
        folder = tmp_path / "folder"
        folder.mkdir()
        family_files.store_copy("point", folder)
        assert list(folder.iterdir()) == []
