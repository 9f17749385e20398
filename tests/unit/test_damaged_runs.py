"""Whatever is wrong with a file of a run is said in one sentence that names it, and harms no other run."""

import json
import shutil

import pytest

from helpers.fuzzing import damaged_json, refusal
from helpers.running import rewrite_json, shared_learner, tesp, tiny_config
from tesp import runs
from tesp.errors import RunFolderError
from tesp.runs.stored import stored_config
from tesp.storage.records import append_records, read_records
from tesp.storage.run_folder import RunFolder

#: The parts of a run, and what reads each.
READERS = {
    "config.json": stored_config,
    "tasks.json": RunFolder.read_task_sets,
    "interface.json": RunFolder.read_interface,
    "versions.json": RunFolder.versions_differ,
}
PARTS = tuple(READERS)


@pytest.fixture(autouse=True)
def _shared(monkeypatch):
    monkeypatch.setattr("tesp.building.build_learner", shared_learner)


@pytest.mark.parametrize("part", PARTS)
def test_damaged_parts(run, part):
    """Reading says what is wrong, or nothing was; it never fails otherwise."""
    path = run / part
    told = 0
    for text in damaged_json(path.read_text(), 50, 0):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        if (said := refusal(lambda: READERS[part](RunFolder.open(run)))) is not None:
            assert part in said or str(run) in said
            assert "\n" not in said
            assert len(said) < 2000
            told += 1
    # What versions there were is told to whoever asks, and stops nobody.
    assert told > 25 or part == "versions.json"


def test_one_bad_run_never_breaks_a_list(reference, tmp_path):
    shutil.copytree(reference.path, tmp_path / "runs" / "good")
    for part in ("config.json", "records.jsonl"):
        lines = (reference.path / part).read_text().splitlines(keepends=True)
        text = "".join(lines) if part == "config.json" else lines[-1]
        for number, damaged in enumerate(damaged_json(text, 12, 1)):
            bad = tmp_path / "runs" / f"bad{number}-{part}"
            bad.mkdir()
            for name in ("config.json", "tasks.json", "records.jsonl"):
                shutil.copy(reference.path / name, bad)
            whole = damaged if part == "config.json" else "".join(lines[:-1]) + damaged + "\n"
            (bad / part).write_bytes(whole.encode("utf-8", "surrogatepass"))
    listed = tesp("list", tmp_path / "runs")
    assert (listed.code, listed.err) == (0, "")
    assert "good" in listed.out
    assert "\x1b" not in listed.out


@pytest.mark.parametrize("name", ["records.jsonl", "evaluations.jsonl"])
def test_damaged_records_are_named_by_line_and_field(run, name, tmp_path):
    path = run / name
    shutil.copy(run / "records.jsonl", tmp_path / "before")
    lines = (tmp_path / "before").read_text().splitlines()
    for place in (1, len(lines) - 1):
        for number, text in enumerate(damaged_json(lines[place], 12, place)):
            if "\n" in text:
                continue
            changed = [*lines[:place], text, *lines[place + 1 :]]
            path.write_bytes("".join(f"{line}\n" for line in changed).encode("utf-8", "surrogatepass"))
            for command in [["export", run], ["plot", run, "--no-details"]][: 2 if number % 4 == 0 else 1]:
                done = tesp(*command)
                assert done.code in (0, 2)
                if done.code == 2:
                    assert str(run) in done.sentence()


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A run of another seed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tesp.building.build_learner", shared_learner)
        return runs.train(tiny_config(seed=1), tmp_path_factory.mktemp("other") / "run").folder.path


class TestMixedUp:
    """Parts of another run of the same shapes are told from the run's own."""

    @pytest.mark.parametrize("part", ["tasks.json", "interface.json", "records.jsonl", "config.json", "checkpoints"])
    def test_refused_by_name(self, run, other, part):
        if part == "checkpoints":
            shutil.rmtree(run / part)
            shutil.copytree(other / part, run / part)
        else:
            shutil.copy(other / part, run)
        with pytest.raises(RunFolderError, match=r"was written by another run than its config\.json"):
            runs.resume(run)

    @pytest.mark.parametrize("part", ["evaluations.jsonl", "adaptations.jsonl", "details.jsonl"])
    def test_what_was_measured_later_too(self, run, other, part):
        shutil.copy(other / "records.jsonl", run / part)
        with pytest.raises(RunFolderError, match="was written by another run"):
            read_records(run / part)

    def test_a_checkpoint_that_the_records_know_nothing_of(self, run):
        folder = RunFolder(run)
        folder.keep_records(lambda record: record.get("meta_update", 0) < 3)
        kept = folder.records.read_bytes()
        with pytest.raises(RunFolderError, match=r"that of meta-update 4, and .*records\.jsonl ends at 2"):
            runs.resume(run)
        assert folder.records.read_bytes() == kept

    def test_all_parts_carry_the_same_random_name(self, run, other):
        def names(folder):
            found = {json.loads((folder / part).read_text())["run"] for part in PARTS}
            return found | {json.loads((folder / "records.jsonl").read_text().splitlines()[0])["run"]}

        assert len(names(run)) == len(names(other)) == 1
        assert names(run) != names(other)
        assert RunFolder(run).identity in names(run)


class TestValues:
    @pytest.mark.parametrize("value", [None, 1e308, "0.5", [0.5], float("nan"), True])
    def test_of_tasks(self, run, value):
        tasks = json.loads((run / "tasks.json").read_text())
        tasks["train"][0][0] = value
        (run / "tasks.json").write_text(json.dumps(tasks))
        with pytest.raises(RunFolderError, match=r"tasks\.json is damaged"):
            RunFolder.open(run).read_task_sets()

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"observation_shape": "4"}, "observation_shape"),
            ({"observation_shape": [-1]}, "observation_shape"),
            ({"action_low": [None, 0]}, "action_low"),
            ({"action_low": [2, 2]}, "action_low"),
            ({"action_high": {"a": 1}}, "action_high"),
            ({"task_size": 2.5}, "task_size"),
            ({"horizon": 0}, "horizon"),
            ({"horizon": None}, "horizon"),
            ({"colour": 1}, "colour"),
        ],
    )
    def test_of_an_interface(self, run, changes, field):
        rewrite_json(run / "interface.json", **changes)
        with pytest.raises(RunFolderError, match=rf"interface\.json is damaged: .*{field}"):
            RunFolder.open(run).read_interface()

    def test_tasks_of_another_size_than_agents_know(self, run):
        rewrite_json(run / "interface.json", task_size=3)
        with pytest.raises(RunFolderError, match=r"tasks\.json is damaged.*as many finite parameters"):
            RunFolder.open(run).read_task_sets()


def test_nothing_that_is_written_holds_nan_or_infinity(tmp_path):
    """A family that tells no distances has no final distance; that is null, and NaN again where it is read."""
    path = tmp_path / "records.jsonl"
    record = {"kind": "train", "meta_update": 1, "final_distance": float("nan"), "round_returns": [float("-inf"), 1.0]}
    append_records(path, [record])

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(path.read_text(), parse_constant=refuse)["final_distance"] is None
    (found,) = read_records(path)
    assert str(found["final_distance"]) == "nan"
    assert str(found["round_returns"]) == "[nan, 1.0]"
    # Earlier versions wrote NaN itself.
    path.write_text('{"kind": "train", "meta_update": 1, "final_distance": NaN}\n')
    assert str(read_records(path)[0]["final_distance"]) == "nan"


def test_symbolic_links_are_not_written_through(run, tmp_path):
    target = tmp_path / "target"
    target.write_text("mine")
    for name in ("evaluations.jsonl", "adaptations.jsonl"):
        (run / name).symlink_to(target)
    for command in (["evaluate", run], ["adapt", run, "--goal", "0.5", "0.5", "--film", "none"], ["resume", run]):
        assert "is a symbolic link" in tesp(*command).sentence()
    assert target.read_text() == "mine"
