"""What `tesp compare` refuses before anything is trained, and what its options become."""

import json

import pytest

from helpers.comparing import compare, going_wrong
from helpers.running import files, tesp


def test_equal_experience(tmp_path, monkeypatch):
    """Only the stored configurations are looked at: no run is trained."""
    names = ("tesp", "tesp-v2", "maml", "meta-sgd", "adapt-sv", "oracle")
    going_wrong(monkeypatch, *((name, 0) for name in names))
    given = {}
    for word in ("--equal-experience", "--no-equal-experience"):
        compare(tmp_path / word, word, algorithms=names[:-1], seeds=(0,))
        stored = {name: json.loads((tmp_path / word / f"{name}-seed0" / "config.json").read_text()) for name in names}
        given[word] = [name for name in names if stored[name]["method"].get("experience", {}).get("extra_episodes")]
    assert given == {"--equal-experience": ["maml", "meta-sgd", "adapt-sv"], "--no-equal-experience": []}


def test_an_option_without_a_meaning_for_a_method_leaves_it_as_it_is(tmp_path, monkeypatch):
    names = ("tesp", "tesp-v3", "maml", "oracle")
    going_wrong(monkeypatch, *((name, 0) for name in names))
    words = ("--fast-updates", "2", "--early-loss-weight", "0.5", "--embedding-penalty", "0.25")
    compare(tmp_path / "point", *words, algorithms=names[:-1], seeds=(0,))
    files = {name: (tmp_path / "point" / f"{name}-seed0" / "config.json").read_text() for name in names}
    stored = {name: json.loads(text)["method"] for name, text in files.items()}
    updates = {name: config["fast"]["fast_updates"] for name, config in stored.items()}
    assert updates == dict.fromkeys(names, 2) | {"oracle": 0}
    weights = {name: config["meta"].get("early_loss_weight") for name, config in stored.items()}
    assert weights == dict.fromkeys(names, 0.5) | {"oracle": None}
    penalties = {name: config["meta"].get("embedding_penalty") for name, config in stored.items()}
    assert penalties == {"tesp": 0.25, "tesp-v3": 0.0, "maml": None, "oracle": None}


def test_an_option_that_none_of_the_methods_has_is_refused(tmp_path):
    refused = compare(tmp_path / "point", "--encoder-units", "3", algorithms=("maml", "adapt-sv"))
    assert "encoder_units is no option of the algorithm 'maml'" in refused.sentence()


class TestRefuses:
    def test_what_is_no_run(self, tmp_path):
        folder = tmp_path / "point" / "oracle-seed1"
        folder.mkdir(parents=True)
        assert f"{folder} is not a run folder" in compare(tmp_path / "point").sentence()
        assert files(tmp_path) == {}

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--tasks-per-update", "7"], "tasks_per_update = 7 is not possible with 4 training tasks"),
            (["--algorithms", "maml", "dreamer"], "no algorithm 'dreamer'; known are: tesp, maml, "),
            (["--algorithms"], "needs one algorithm and one seed or more"),
            (["--seeds"], "needs one algorithm and one seed or more"),
            (["--seeds", "0", "-1"], "seed = -1 is not possible"),
            (["--evaluation-episodes", "1", "0"], "evaluation_episodes is 0; it must be an integer of at least 1"),
            (["--seed", "1"], "takes --algorithms and --seeds, not --algorithm and --seed"),
            (["--seed=0"], "takes --algorithms and --seeds, not --algorithm and --seed"),
            (["--buffer", "all"], "takes ablations by name"),
            (["--no-fast-update"], "takes ablations by name"),
            (["--extra-episodes"], "--equal-experience instead of --extra-episodes"),
            (["--algorithm", "maml"], "takes --algorithms and --seeds, not --algorithm and --seed"),
            (["--preset", "fast"], "no preset 'fast'; known are: paper, quick"),
            (["--engine", "closed-form"], "'point' has no option 'engine'"),
        ],
    )
    def test_what_is_not_possible_for_one_of_them(self, tmp_path, arguments, said):
        refused = compare(tmp_path / "point", *arguments)
        assert said in refused.sentence()
        assert "run 1 of" not in refused.out
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "needs the name of a family first"),
            (["--seeds", "0"], "needs the name of a family first"),
            (["pont"], "no family 'pont' (did you mean 'point'?)"),
        ],
    )
    def test_no_family(self, arguments, said):
        assert said in tesp("compare", *arguments).sentence()

    def test_options_that_do_not_exist(self, tmp_path):
        refused = compare(tmp_path / "point", "--colour", "red")
        assert refused.code == 2
        assert "--colour" in refused.err
        assert "Traceback" not in refused.err
        assert list(tmp_path.iterdir()) == []
