"""`tesp report`: what stands in the page, what is refused, and that the file is whole or not there."""

import base64
import errno
import hashlib
import json
import math
import os
import re

import numpy as np
import pytest
from PIL import Image

from helpers.reported import Page, adaptation, draw, evaluation, film, make_run, rate_details, task_details
from helpers.running import files, tesp
from tesp.config import preset_config
from tesp.report.page.media import CAPTIONS
from tesp.report.page.tables import ADAPTATIONS
from tesp.report.results import interval_over_tasks
from tesp.storage.records import append_records
from tesp.tasks import registry
from tesp.tasks.point import PointFamily

#: What is drawn of the records that every run has.
DRAWN = ("learning_curves", "fast_updates")


@pytest.fixture(autouse=True)
def _quick_figures(monkeypatch):
    """Figures take seconds each, and here only matters that they are there; the test in a browser draws them."""

    def save(_figure, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 4)).save(path)

    monkeypatch.setattr("tesp.report.figures.style.save", save)


def report(*folders, output) -> Page:
    written = tesp("report", *folders, "--output", output)
    assert (written.code, written.err) == (0, "")
    return Page(output.read_text(encoding="utf-8"))


def rows_of(page, table, group):
    """Return the rows of a group of a table, by their first cell."""
    rows = iter(page.tables[table])
    assert any(row == [group] for row in rows), page.tables[table]
    found = {}
    for row in rows:
        if len(row) == 1:
            break
        found[row[0]] = row[1:]
    return found


class TestIntervalOverTasks:
    def test_is_the_normal_approximation_with_the_deviation_of_n_minus_1(self):
        returns = np.random.default_rng(0).normal(-10.0, 3.0, 17)
        mean, low, high = interval_over_tasks(
            {"average_return": returns.mean(), "average_return_std": returns.std(), "tasks": 17}
        )
        half = 1.959964 * returns.std(ddof=1) / math.sqrt(17)
        np.testing.assert_allclose([mean, low, high], returns.mean() + np.array([0, -half, half]), rtol=1e-6)

    @pytest.mark.parametrize("tasks", [{}, {"tasks": 1}])
    def test_is_unknown_of_one_task_or_of_an_unknown_number(self, tasks):
        mean, low, high = interval_over_tasks({"average_return": -1.0, "average_return_std": 0.0} | tasks)
        assert mean == -1.0
        assert math.isnan(low)
        assert math.isnan(high)


class TestOneRun:
    def test_the_table_holds_the_last_evaluation_with_intervals_over_tasks(self, tmp_path):
        page = report(make_run(tmp_path / "run"), output=tmp_path / "r.html")
        # 1.96·4/√(5 − 1) = 3.92
        common = ["25 %", "0.500", "6", "4.0", "5"]
        assert rows_of(page, 0, "New tasks D′") == {
            "standing still": ["−150.0 [−153.9, −146.1]", *common],
            "before any fast-update": ["−96.0 [−99.9, −92.1]", *common],
            "after 1 fast-update": ["−86.0 [−89.9, −82.1]", *common],
            "after 2 fast-updates": ["−76.0 [−79.9, −72.1]", *common],
        }
        for said in ("seed 0 for 4 meta-updates", "4,000 environment steps and 4.0 minutes", "normal approximation"):
            assert said in page.text

    def test_the_oracle_beside_it_frames_the_table(self, tmp_path):
        make_run(tmp_path / "oracle", shift=50.0, last=0, algorithm="oracle")
        page = report(make_run(tmp_path / "run"), output=tmp_path / "r.html")
        rows = rows_of(page, 0, "Outside the distribution D″")
        assert list(rows)[:2] == ["standing still", "oracle (knows the task)"]
        assert rows["oracle (knows the task)"][0] == "−46.0 [−49.9, −42.1]"
        assert "−46.0 oracle" in page.text

    def test_a_family_that_cannot_tell_success_or_distance_gets_dashes(self, tmp_path):
        folder = make_run(tmp_path / "run")
        records = (folder / "records.jsonl").read_text()
        for stored in ('"success_rate": 0.25', '"final_distance": 0.5'):
            records = records.replace(stored, f"{stored.partition(':')[0]}: NaN")
        (folder / "records.jsonl").write_text(records)
        page = report(folder, output=tmp_path / "r.html")
        assert rows_of(page, 0, "Training tasks D")["standing still"][1:3] == ["–", "–"]
        assert "arrive" not in page.text

    def test_a_run_that_was_stopped_or_not_begun_says_so(self, tmp_path):
        page = report(make_run(tmp_path / "a", updates=(0, 2)), output=tmp_path / "a.html")
        assert "It has not reached the end of its schedule, 4 meta-updates." in page.text
        page = report(make_run(tmp_path / "b", updates=(0,)), output=tmp_path / "b.html")
        assert "it has not been trained" in page.text

    def test_configuration_versions_and_differences(self, tmp_path):
        page = report(make_run(tmp_path / "run"), output=tmp_path / "r.html")
        differences, everything = page.tables[1:3]
        preset = preset_config("point", "quick")
        assert ["buffer_size", str(preset.method.experience.buffer_size), "2"] in differences
        assert "discount" not in [row[0] for row in differences]
        assert ["discount", str(preset.method.estimation.discount)] in everything
        assert ["seed", "0"] in everything
        versions = json.loads((tmp_path / "run" / "versions.json").read_text())
        assert all(name in page.text and version in page.text for name, version in versions.items() if name != "run")


class TestSeveralRuns:
    def test_means_over_seeds_have_bootstrap_intervals(self, tmp_path):
        folders = [make_run(tmp_path / str(seed), shift=10.0 * seed, seed=seed) for seed in (0, 1)]
        page = report(*folders, output=tmp_path / "r.html")
        rows = rows_of(page, 0, "New tasks D′")
        # Of two seeds the interval is their range.
        assert rows["after 2 fast-updates"][0] == "−71.0 [−76.0, −66.0]"
        assert rows["after 2 fast-updates"][-1] == "2"
        assert "bootstrap" in page.text
        assert rows_of(page, 1, "New tasks D′")["after 2 fast-updates"][0] == "−76.0 [−79.9, −72.1]"

    def test_methods_are_named_and_a_single_seed_has_no_interval(self, tmp_path):
        folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", shift=5.0, algorithm="maml")]
        page = report(*folders, output=tmp_path / "r.html")
        rows = rows_of(page, 0, "Training tasks D")
        assert rows["TESP after 2 fast-updates"][0] == "−76.0"
        assert rows["MAML after 2 fast-updates"][0] == "−71.0"
        assert "MAML −71.0; TESP −76.0" in page.text

    def test_oracles_beside_them_join_unless_they_do_not_fit(self, tmp_path):
        folders = [make_run(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
        for seed in (0, 1):
            make_run(tmp_path / f"oracle{seed}", shift=50.0, last=0, algorithm="oracle", seed=seed)
        page = report(*folders, output=tmp_path / "r.html")
        assert rows_of(page, 0, "Training tasks D")["oracle (knows the task)"][0] == "−46.0 [−46.0, −46.0]"
        config = json.loads((tmp_path / "oracle1" / "config.json").read_text())
        config["method"]["meta"]["learning_rate"] *= 2
        (tmp_path / "oracle1" / "config.json").write_text(json.dumps(config))
        page = report(*folders, output=tmp_path / "r.html")
        assert "oracle (knows the task)" not in rows_of(page, 0, "Training tasks D")

    @pytest.mark.parametrize("folder", [False, True])
    def test_oracles_may_be_named_one_for_each_seed_or_by_their_folder(self, tmp_path, folder):
        folders = [make_run(tmp_path / "runs" / str(seed), seed=seed) for seed in (0, 1)]
        told = [
            make_run(tmp_path / "told" / str(seed), shift=50.0 + seed, last=0, algorithm="oracle", seed=seed)
            for seed in (0, 1)
        ]
        named = [word for place in ([tmp_path / "told"] if folder else told) for word in ("--oracle", place)]
        page = report(*folders, *named, output=tmp_path / "r.html")
        name, group = "oracle (knows the task)", "Training tasks D"
        assert [rows_of(page, table, group)[name][0].split()[0] for table in (0, 1, 4)] == ["−45.5", "−46.0", "−45.0"]
        assert tesp("plot", *folders, *named, "--output", tmp_path / "figures").code == 0
        refused = tesp("plot", *folders, "--oracle", told[0], "--output", tmp_path / "none")
        assert f"of the tasks of {folders[1]}; give one for each seed" in refused.sentence()
        assert not (tmp_path / "none").exists()

    def test_each_run_has_its_command_and_all_share_one_figure(self, tmp_path):
        folders = [make_run(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
        page = report(*folders, output=tmp_path / "r.html")
        for seed in (0, 1):
            assert f"--preset quick --seed {seed} " in page.text
        # The combined figure, then learning curves and fast-updates of each run.
        assert len(page.sources("img")) == 1 + 2 * 2


class TestReproducing:
    def test_a_report_knows_a_family_from_a_file(self, own_families, tmp_path):
        page = report(make_run(tmp_path / "run", family=f"{own_families}:wheeled"), output=tmp_path / "r.html")
        assert f"tesp train '{own_families}:wheeled' --preset quick" in page.text
        differences = [row[0] for row in page.tables[1]]
        assert "buffer_size" in differences
        assert not {"family", "family_file"} & set(differences)

    def test_a_family_that_is_not_known_here_has_no_command(self, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setitem(registry._FACTORIES, "gone", PointFamily)
            folder = make_run(tmp_path / "run", family="gone")
        page = report(folder, output=tmp_path / "r.html")
        assert "There is no command for this run." in page.text
        assert "no family 'gone'" in page.text
        assert rows_of(page, 0, "Training tasks D")


class TestPage:
    def test_nothing_is_loaded_from_elsewhere_and_no_script_runs(self, tmp_path):
        folder = make_run(tmp_path / "run")
        film(folder / "figures" / "film-goal.mp4")
        page = report(folder, output=tmp_path / "r.html")
        addresses = [
            attributes[name] for _, attributes in page.elements for name in ("src", "href") if name in attributes
        ]
        assert len(addresses) > 5
        assert all(address.startswith(("data:", "#")) for address in addresses)
        assert not {"script", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
        assert not any(name.startswith("on") or name == "style" for _, found in page.elements for name in found)
        (policy,) = [found["content"] for tag, found in page.elements if tag == "meta" and "http-equiv" in found]
        assert policy.startswith("default-src 'none'; img-src data:; media-src data:;")
        (sheet,) = re.findall("<style>(.*?)</style>", (tmp_path / "r.html").read_text(encoding="utf-8"), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
        assert "url(" not in sheet

    def test_contents_lead_to_sections(self, tmp_path):
        page = report(make_run(tmp_path / "run"), output=tmp_path / "r.html")
        identifiers = {found["id"] for _, found in page.elements if "id" in found}
        links = {found["href"][1:] for tag, found in page.elements if tag == "a"}
        assert {"results", "figures1", "configuration1", "reproduce1"} <= links <= identifiers

    def test_names_are_text_and_never_markup(self, tmp_path):
        folder = make_run(tmp_path / "<i>run & co")
        draw(folder / "figures" / '"onload=".png')
        page = report(folder, make_run(tmp_path / "b", seed=1), output=tmp_path / "r.html")
        assert "<i>run & co" in page.text
        assert "i" not in {tag for tag, _ in page.elements}
        assert '"onload=".' in page.text

    def test_figures_and_films_are_those_of_the_folder(self, tmp_path):
        figures = make_run(tmp_path / "run") / "figures"
        stored = [
            film(figures / "film-goal.mp4"),
            draw(figures / "turning.gif"),
            draw(figures / "fast_updates.png", (5.0, 2.0)),
            draw(figures / "mine.png"),
            draw(figures / "embeddings.png", (2.0, 2.0)),
        ]
        draw(figures / ".hidden.png")
        draw(figures / "print.pdf")
        page = report(tmp_path / "run", output=tmp_path / "r.html")
        held = [base64.b64decode(source.partition(",")[2]) for source in page.sources("img") + page.sources("video")]
        # learning_curves.png and fast_updates.png were drawn for the report.
        assert len(held) == len(stored) + 1
        assert [path.stem for path in stored if path.read_bytes() not in held] == ["fast_updates"]
        pictures = [found for tag, found in page.elements if tag == "img"]
        assert [found["alt"].split()[0] for found in pictures] == ["Learning", "What", "Task", "Mine.", "Turning."]
        assert ["class" in found for found in pictures] == [True, True, False, True, True]
        (video,) = [found for tag, found in page.elements if tag == "video"]
        assert {"controls", "muted", "loop", "playsinline"} <= set(video)
        assert video["src"].startswith("data:video/mp4;base64,")

    def test_commands_for_what_is_missing_go_when_it_is_there(self, tmp_path):
        folder = make_run(tmp_path / "a run")
        commands = [f"tesp {words}" for words in (f"plot '{folder}'", f"render '{folder}'", f"adapt '{folder}' --goal")]
        page = report(folder, output=tmp_path / "r.html")
        assert all(command in page.text for command in commands)
        for name in ("task_paths.png", "embeddings.png", "rates.png", "film.gif"):
            draw(folder / "figures" / name)
        append_records(folder / "adaptations.jsonl", [adaptation(0)])
        page = report(folder, output=tmp_path / "r.html")
        assert not any(command in page.text for command in commands)

    def test_figures_of_stored_details_are_drawn_anew(self, tmp_path):
        folder = make_run(tmp_path / "run")
        append_records(folder / "details.jsonl", [task_details(0), task_details(1), rate_details()])
        stale = draw(folder / "figures" / "rates.png").read_bytes()
        page = report(folder, output=tmp_path / "r.html")
        assert page.captions() == [CAPTIONS[name] for name in (*DRAWN, "task_paths", "embeddings", "rates")]
        assert base64.b64encode(stale).decode() not in "".join(page.sources("img"))
        assert "tesp plot" not in page.text

    @pytest.mark.parametrize(
        ("stored", "hinted"),
        [([{"path": None}], False), ([{"embedding": {"before": None, "after": None}}], False), ([], True)],
    )
    def test_what_a_run_cannot_have_is_not_missed(self, tmp_path, stored, hinted):
        folder = make_run(tmp_path / "run")
        # A method without learned rates leaves no record of them.
        append_records(folder / "details.jsonl", [task_details(0, **other) for other in stored])
        page = report(folder, output=tmp_path / "r.html")
        assert len(page.captions()) == len(DRAWN) + len(stored)
        assert ("tesp plot" in page.text) == hinted

    def test_damaged_details_are_as_good_as_none(self, tmp_path):
        folder = make_run(tmp_path / "run")
        (folder / "details.jsonl").write_text("damaged\n")
        page = report(folder, output=tmp_path / "r.html")
        assert page.captions() == [CAPTIONS[name] for name in DRAWN]
        assert f"tesp plot {folder}" in page.text


class TestAdaptationsAndEvaluations:
    def test_adaptations_round_by_round(self, tmp_path):
        folder = make_run(tmp_path / "run")
        append_records(folder / "adaptations.jsonl", [adaptation(k) for k in (-1, 0, 1)])
        page = report(folder, output=tmp_path / "r.html")
        rows = rows_of(page, 1, "Task (0.9, 1)")
        assert list(rows) == ["warm-up round", "before any fast-update", "after 1 fast-update"]
        assert rows["after 1 fast-update"] == ["−19.0", "25 %", "0.500", "1,234"]

    def test_only_the_latest_adaptations_are_shown(self, tmp_path):
        folder = make_run(tmp_path / "run")
        many = [adaptation(0, str(index), (float(index), 0.0)) for index in range(ADAPTATIONS + 3)]
        append_records(folder / "adaptations.jsonl", many)
        page = report(folder, output=tmp_path / "r.html")
        groups = [row[0] for row in page.tables[1] if len(row) == 1]
        assert groups == [f"Task ({index}, 0)" for index in range(3, ADAPTATIONS + 3)]
        assert "3 earlier ones are left out" in page.text

    def test_evaluations_by_checkpoint_noise_and_task_set_each_once(self, tmp_path):
        folder = make_run(tmp_path / "run")
        noisy = [evaluation(4, "train", k, -9.0 + k, dynamics_noise=0.1) for k in (0, 1)]
        repeated = [evaluation(4, "train", k, -8.0 + k, dynamics_noise=0.1) for k in (0, 1)]
        plain = [evaluation(4, name, 0, -7.0, dynamics_noise=0.0) for name in ("in_distribution", "train")]
        append_records(folder / "evaluations.jsonl", [*noisy, *plain, *repeated])
        page = report(folder, output=tmp_path / "r.html")
        start = "Meta-update 4, σ = "
        names = [f"{start}0, Training tasks D", f"{start}0, New tasks D′", f"{start}0.1, Training tasks D"]
        assert [row[0] for row in page.tables[1] if len(row) == 1] == names
        assert rows_of(page, 1, names[2])["after 1 fast-update"][0] == "−7.0 [−10.9, −3.1]"
        # `tesp evaluate` leaves it to be drawn.
        assert "Return under noise" in page.text


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of runs and of what is none; whatever is refused changes nothing in it."""
    place = tmp_path_factory.mktemp("folders")
    make_run(place / "run")
    make_run(place / "arm", family="reacher2")
    make_run(place / "stopped", updates=(0, 2), seed=1)
    make_run(place / "new").joinpath("records.jsonl").write_text("")
    draw(make_run(place / "damaged") / "figures" / "broken.png").write_text("no picture")
    for name in ("empty", "folder.html"):
        (place / name).mkdir()
    (place / "note.txt").write_text("mine")
    return place


class TestCommand:
    def test_writes_into_the_run_folder_and_changes_nothing_else(self, tmp_path):
        folder = make_run(tmp_path / "run")
        before = files(folder)
        written = tesp("report", folder)
        path = folder / "report.html"
        assert written.out == f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)\n"
        after = files(folder)
        assert after.pop("report.html")
        assert after == before

    def test_several_runs_are_reported_here(self, tmp_path, monkeypatch):
        folders = [make_run(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
        monkeypatch.chdir(tmp_path)
        assert tesp("report", *folders).out.startswith("written: report.html (")
        assert (tmp_path / "report.html").is_file()

    def test_the_same_run_gives_the_same_file(self, tmp_path):
        folder = make_run(tmp_path / "run")
        for name in ("a.html", "deep/b.html"):
            tesp("report", folder, "--output", tmp_path / name)
        assert (tmp_path / "a.html").read_bytes() == (tmp_path / "deep" / "b.html").read_bytes()

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "needs one run folder or more"),
            (["missing"], "There is no run folder missing"),
            (["empty"], "empty is not a run folder"),
            (["new"], "new/records.jsonl holds no record yet"),
            (["run", "arm"], "several families: 'point' (run), 'reacher2' (arm)"),
            (["run", "run"], "both have seed 0"),
            (["run", "stopped"], "of different or unfinished runs"),
            (["run", "--output", "report.pdf"], "report.pdf must be an HTML file"),
            (["run", "--output", "folder.html"], "folder.html is a folder"),
            (["run", "--output", "note.txt/report.html"], "note.txt is not a folder that you may write to"),
            (["damaged"], "broken.png is not a picture that can be read"),
        ],
    )
    def test_refuses(self, folders, monkeypatch, arguments, said):
        monkeypatch.chdir(folders)
        before = files(folders)
        assert said in tesp("report", *arguments).sentence()
        assert files(folders) == before

    @pytest.mark.parametrize(
        ("number", "said"), [(errno.EACCES, "report.html: Permission denied"), (errno.ENOSPC, "Free some space")]
    )
    def test_what_cannot_be_written_leaves_the_earlier_report(self, tmp_path, monkeypatch, number, said):
        folder = make_run(tmp_path / "run")
        (folder / "report.html").write_text("earlier")
        before = files(folder)

        def replace(*_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "replace", replace)
        assert said in tesp("report", folder).sentence()
        assert files(folder) == before
