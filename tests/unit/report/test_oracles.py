import pytest
from matplotlib.figure import Figure

from helpers.stored import evaluation, evaluations, read, reference, write_run
from tesp.errors import TespError
from tesp.report.figures.reference_lines import draw_references
from tesp.report.oracles import oracle_beside, oracle_folders, oracle_records, oracles_of
from tesp.report.records import read_run
from tesp.report.words import TOLD

TASK = {"tasks_per_set": 6, "spacing": 0.1}
CONFIG = {"algorithm": "tesp", "seed": 0, "task": TASK}
ORACLE = CONFIG | {"algorithm": "oracle", "schedule": {"meta_updates": 0}}


def tesp(parent, name="tesp", seed=0):
    """The folder of a run, and the run."""
    folder = write_run(parent / name, evaluations(0, seed=seed), **CONFIG | {"seed": seed})
    return folder, read_run(folder)


def oracle(parent, name, records=None, **config):
    if records is None:
        records = evaluations(0, algorithm="oracle")
    return write_run(parent / name, records, **ORACLE | config)


def test_the_oracle_beside_a_run_has_its_family_seed_and_tasks(tmp_path, monkeypatch):
    folder, run = tesp(tmp_path)
    oracle(tmp_path, "an oracle")
    found = oracle_beside(folder, run)
    assert found.name == "an oracle"
    assert found.is_oracle
    assert not run.is_oracle
    monkeypatch.chdir(folder)
    assert oracle_beside(".", run).name == "an oracle"


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"family": "ant"}, {"task": TASK | {"spacing": 0.2}}, {"task": {}}, {"algorithm": "maml"}],
    ids=["seed", "family", "option", "no option", "algorithm"],
)
def test_an_oracle_of_other_tasks_is_passed_over(tmp_path, other):
    folder, run = tesp(tmp_path)
    oracle(tmp_path, "another", **other)
    assert oracle_beside(folder, run) is None
    oracle(tmp_path, "right")
    assert oracle_beside(folder, run).name == "right"


def test_damaged_unfinished_and_hidden_folders_are_passed_over(tmp_path):
    folder, run = tesp(tmp_path)
    for name, text in (("a", b"{"), ("b", b"[]"), ("c", b'{"algorithm": "oracle"}'), ("d", b"\xff")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_bytes(text)
    (oracle(tmp_path, "e") / "records.jsonl").unlink()
    (oracle(tmp_path, "f") / "records.jsonl").write_text('{"kind": "eval\n{}\n')
    oracle(tmp_path, "g", [])
    oracle(tmp_path, "h", [reference()])
    oracle(tmp_path, ".hidden")
    (tmp_path / "i").mkdir()
    (tmp_path / "j").touch()
    assert oracle_beside(folder, run) is None
    oracle(tmp_path, "k")
    assert oracle_beside(folder, run).name == "k"


def test_an_oracle_that_was_stopped_is_no_reference(tmp_path):
    folder, run = tesp(tmp_path)
    oracle(tmp_path, "stopped", schedule={"meta_updates": 25})
    assert oracle_beside(folder, run) is None


def test_of_several_oracles_the_one_most_like_the_run_counts(tmp_path):
    folder = write_run(tmp_path / "tesp", evaluations(0), **CONFIG | {"network": {"policy_units": [8, 8]}})
    oracle(tmp_path, "a", network={"policy_units": [64, 64]})
    oracle(tmp_path, "b", network={"policy_units": [8, 8]})
    oracle(tmp_path, "c", network={"policy_units": [4, 4]})
    assert oracle_beside(folder, read_run(folder)).name == "b"


def test_runs_of_one_seed_count_once():
    axes = Figure().subplots()
    same = [read([reference(average_return=-150.0) | {"seed": 0}, *evaluations(0)]) for _ in range(3)]
    draw_references(axes, [*same, read([reference(average_return=-170.0) | {"seed": 1}])], [], "train")
    assert axes.lines[0].get_ydata()[0] == -160.0


def test_a_run_that_does_not_say_its_tasks_has_no_oracle(tmp_path):
    folder, _ = tesp(tmp_path)
    oracle(tmp_path, "oracle")
    assert oracle_beside(folder, read(evaluations(0))) is None


def test_runs_of_one_seed_share_their_oracle(tmp_path):
    oracle(tmp_path, "oracle 0")
    oracle(tmp_path, "oracle 1", seed=1)
    oracle(tmp_path, "oracle 2", seed=2)
    folders, runs = zip(tesp(tmp_path, "a"), tesp(tmp_path, "b"), tesp(tmp_path, "c", seed=1), strict=True)
    assert [found.name for found in oracles_of(folders, runs)] == ["oracle 0", "oracle 1"]


def test_oracles_of_one_name_in_two_folders_are_two(tmp_path):
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        oracle(tmp_path / str(seed), "oracle", seed=seed)
    folders, runs = zip(*(tesp(tmp_path / str(seed), seed=seed) for seed in (0, 1)), strict=True)
    assert [found.config["seed"] for found in oracles_of(folders, runs)] == [0, 1]


def test_no_oracle_is_sought_where_one_is_given(tmp_path):
    folder = oracle(tmp_path, "oracle")
    folders, runs = zip(tesp(tmp_path), (folder, read_run(folder)), strict=True)
    assert oracles_of(folders[:1], runs[:1])
    assert oracles_of(folders, runs) == []


class TestNamed:
    """What --oracle names, as often as there are seeds, or the folder that holds all of them."""

    @pytest.fixture
    def runs(self, tmp_path):
        """Runs of two seeds, with an oracle for each elsewhere, among other things."""
        (tmp_path / "elsewhere").mkdir()
        for seed in (0, 1):
            records = evaluations(0, algorithm="oracle", seed=seed)
            oracle(tmp_path / "elsewhere", f"oracle{seed}", records, seed=seed)
        write_run(tmp_path / "elsewhere" / "other", evaluations(0), **CONFIG)
        (tmp_path / "elsewhere" / "damaged").mkdir()
        (tmp_path / "elsewhere" / "damaged" / "config.json").write_text("{")
        return tuple(zip(*(tesp(tmp_path, f"tesp{seed}", seed) for seed in (0, 1)), strict=True))

    @pytest.mark.parametrize("names", [("oracle0", "oracle1"), ("oracle1", "oracle0"), ("",), ("", "oracle0")])
    def test_each_run_has_the_one_of_its_seed(self, tmp_path, runs, names):
        named = [tmp_path / "elsewhere" / name for name in names]
        assert [found.name for found in oracles_of(*runs, named)] == ["oracle0", "oracle1"]
        assert [found.name for found in oracle_folders(*runs, named)] == ["oracle0", "oracle1"]
        folders, records = runs
        assert oracle_beside(folders[1], records[1], [tmp_path / "elsewhere"]).name == "oracle1"

    def test_it_goes_before_one_that_lies_beside(self, tmp_path, runs):
        folders, records = runs
        oracle(tmp_path, "beside")
        assert oracle_beside(folders[0], records[0]).name == "beside"
        assert oracle_beside(folders[0], records[0], [tmp_path / "elsewhere"]).name == "oracle0"

    @pytest.mark.parametrize(
        ("names", "said"),
        [
            (
                ("oracle0",),
                "No run that --oracle names is a finished oracle of the tasks of .*tesp1; give one for each",
            ),
            (("oracle0", "oracle1", "other"), "other is no finished oracle of the tasks of .*tesp0, .*tesp1; give"),
            (("oracle0", "damaged"), "damaged"),
            (("oracle0", "none"), "none is not a folder"),
        ],
    )
    def test_what_is_of_no_use_is_refused(self, tmp_path, runs, names, said):
        named = [tmp_path / "elsewhere" / name for name in names]
        with pytest.raises(TespError, match=said):
            oracles_of(*runs, named)

    def test_a_folder_without_an_oracle_is_refused(self, tmp_path, runs):
        with pytest.raises(TespError, match="is not a run folder"):
            oracles_of(*runs, [tmp_path])

    def test_an_oracle_needs_none(self, tmp_path, runs):
        place = tmp_path / "elsewhere" / "oracle0"
        with pytest.raises(TespError, match="oracle0 is an oracle itself"):
            oracles_of([*runs[0], place], [*runs[1], read_run(place)], [place])


def test_what_the_oracle_returns_is_the_last_round_of_its_last_complete_evaluation():
    run = read([*evaluations(0, 25, algorithm="oracle"), evaluation(50, 1, -1.0)])
    assert {name: record["average_return"] for name, record in oracle_records(run).items()} == {
        "train": -65.0,
        "in_distribution": -65.0,
        "out_of_distribution": -65.0,
    }


def test_two_dashed_lines_at_the_means_of_the_runs_that_have_them():
    axes = Figure().subplots()
    runs = [read([reference(average_return=value)]) for value in (-150.0, -170.0)] + [read(evaluations(0))]
    oracles = [read(evaluations(25, algorithm="oracle", seed=seed, shift=4.0 * seed)) for seed in (0, 1)]
    draw_references(axes, runs, oracles, "train")
    still, told = axes.lines
    assert (still.get_label(), list(still.get_ydata())) == ("standing still", [-160.0, -160.0])
    # −100 + 25 + 10·1, and 4 more for the other
    assert (told.get_label(), list(told.get_ydata())) == (TOLD, [-63.0, -63.0])
    assert [line.get_linestyle() for line in axes.lines] == ["--", "--"]
    assert [list(line.get_xdata()) for line in axes.lines] == [[0, 1]] * 2
    assert still.get_color() != told.get_color()


def test_what_is_not_known_is_not_drawn():
    axes = Figure().subplots()
    draw_references(axes, [read([reference("train")])], [], "in_distribution")
    draw_references(axes, [read(evaluations(0))], [read([evaluation(0, 0, -9.0)])], "in_distribution")
    assert not axes.lines
