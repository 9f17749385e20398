"""Sending learners to Hugging Face and fetching them, against a stand-in for its package: nothing goes to a network."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

import tesp
from helpers.running import tesp as command
from tesp import hub
from tesp.errors import ConfigurationError, RunFolderError


@pytest.fixture
def there(monkeypatch, tmp_path):
    """The repositories of a stand-in, each a folder, with the part of the package's interface that is used."""
    repositories = tmp_path / "hub"

    class HfApi:
        def create_repo(self, repo_id, *, private, exist_ok):
            assert exist_ok
            (repositories / repo_id).mkdir(parents=True, exist_ok=True)
            (repositories / repo_id / ".private").write_text(str(private))
            return f"https://hub.example/{repo_id}"

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            assert commit_message
            for path in Path(folder_path).iterdir():
                (repositories / repo_id / path.name).write_bytes(path.read_bytes())

    def hf_hub_download(repo_id, filename, *, revision):
        if revision not in (None, "main"):
            raise LookupError(f"404 Client Error.\n\nRevision {revision} not found.")
        return str(repositories / repo_id / filename)

    module = ModuleType("huggingface_hub")
    module.HfApi, module.hf_hub_download = HfApi, hf_hub_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return repositories


def test_sent_and_fetched_it_is_the_same(there, reference, tmp_path):
    done = command("push", reference.path, "me/point", "--private")
    assert done.code == 0, done
    assert "sent: https://hub.example/me/point" in done.out
    assert sorted(path.name for path in (there / "me" / "point").iterdir()) == [
        ".private",
        "README.md",
        "learner.safetensors",
    ]
    assert (there / "me" / "point" / ".private").read_text() == "True"
    assert "\n# me/point\n" in (there / "me" / "point" / "README.md").read_text()
    done = command("pull", "me/point", "--output", tmp_path / "mine.safetensors", "--revision", "main")
    assert done.code == 0, done
    assert tesp.load(tmp_path / "mine.safetensors").config == tesp.load(reference.path).config
    assert tesp.load(hub.pull("me/point")).config == tesp.load(reference.path).config


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("name", ["point", "me/", "/point", "me/my/point"])
def test_what_is_no_repository(name, tmp_path):
    file = tesp.load("tesp/point").save(tmp_path / "point.safetensors")
    with pytest.raises(ConfigurationError, match="is not the name of a repository, which is USER/NAME"):
        hub.pull(name)
    with pytest.raises(ConfigurationError, match="is not the name of a repository"):
        hub.push(file, "", name)


@pytest.mark.usefixtures("there")
def test_what_the_hub_refuses_is_one_sentence(monkeypatch, tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"me/point has no learner.safetensors .*404 Client Error\. Revision v9 "
    ):
        hub.pull("me/point", revision="v9")
    file = tesp.load("tesp/point").save(tmp_path / "point.safetensors")

    def refuse(*_, **__):
        raise PermissionError("401 Client Error: Unauthorized.")

    monkeypatch.setattr(sys.modules["huggingface_hub"].HfApi, "create_repo", refuse)
    with pytest.raises(
        ConfigurationError, match=r"me/point cannot be written \(401 .* Unauthorized\)\. .*`hf auth login`"
    ):
        hub.push(file, "", "me/point")


def test_what_comes_is_checked(there, tmp_path):
    (there / "me" / "bad").mkdir(parents=True)
    (there / "me" / "bad" / hub.LEARNER).write_bytes(b"no learner")
    with pytest.raises(RunFolderError):
        hub.pull("me/bad", tmp_path / "bad.safetensors")
    assert not (tmp_path / "bad.safetensors").exists()
    with pytest.raises(RunFolderError, match=r"must end in \.safetensors"):
        hub.pull("me/bad", tmp_path / "bad.bin")
    with pytest.raises(RunFolderError, match="There is no file"):
        hub.push(tmp_path / "none.safetensors", "", "me/none")
    assert not (there / "me" / "none").exists()


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "install it with `pip install 'tesp[hub]'`" in command("pull", "me/point").sentence()
