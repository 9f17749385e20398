"""The report in a real browser without a network: it loads without a complaint, and everything in it shows."""

import io
import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright

from helpers.reported import adaptation, draw, evaluation, film, make_run
from helpers.running import tesp
from tesp.storage.records import append_records

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
VIEWS = [(1200, "light"), (400, "dark")]


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        reason = f"No browser was found; install one of {', '.join(NAMES)}, for instance by `apt install chromium`."
        # A gate that must not pass by leaving the test out sets the variable.
        (pytest.fail if os.environ.get("TESP_REQUIRE_BROWSER") else pytest.skip)(reason)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The reports of one run with everything a run can have, and of several runs."""
    place = tmp_path_factory.mktemp("reports")
    folder = make_run(place / "run")
    film(folder / "figures" / "film-train-0.mp4")
    draw(folder / "figures" / "turning.gif")
    draw(folder / "figures" / "embeddings.png", (4.0, 5.0))
    append_records(folder / "adaptations.jsonl", [adaptation(k) for k in (-1, 0, 1, 2)])
    append_records(folder / "evaluations.jsonl", [evaluation(4, "train", k, -5.0, dynamics_noise=0.1) for k in (0, 1)])
    other = make_run(place / ("a-long-name-without-any-blank-" * 4), seed=1, shift=10.0)
    written = {"one": place / "one.html", "several": place / "several.html"}
    assert tesp("report", folder, "--output", written["one"]).code == 0
    assert tesp("report", folder, other, "--output", written["several"]).code == 0
    return written


@contextmanager
def page_of(browser, path, width=1200, scheme="light"):
    """Open a report; on leaving, the browser must have had nothing to complain of and nothing to fetch."""
    complaints, fetched = [], []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True)
    try:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url[:80]))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(path.as_uri())
        yield page
        assert complaints == []
        assert path.as_uri() in fetched
        assert [url[:80] for url in fetched if not url.startswith(("file:", "data:"))] == []
    finally:
        context.close()


@pytest.mark.parametrize(("name", "pictures", "films"), [("one", 5, 1), ("several", 1 + 5 + 2, 1)])
@pytest.mark.parametrize(("width", "scheme"), VIEWS)
def test_pictures_and_films_show_and_the_page_fits(browser, reports, name, pictures, films, width, scheme):
    with page_of(browser, reports[name], width, scheme) as page:
        found = page.locator("img").all()
        assert len(found) == pictures
        for picture in found:
            assert picture.is_visible()
            assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
        videos = page.locator("video").all()
        assert len(videos) == films
        for video in videos:
            assert video.is_visible()
            page.wait_for_function("video => video.error || video.readyState >= 2", arg=video.element_handle())
            assert video.evaluate("video => [video.error, video.videoWidth]") == [None, 128]
        assert page.evaluate("document.documentElement.scrollWidth") == width


#: Columns of pixels at an edge of a box in which its shadow must be seen.
EDGE = 8


def shadows(box):
    """How much darker the left and the right edge of a box are than without a shadow, and the rest between them."""

    def seen():
        return np.array(Image.open(io.BytesIO(box.screenshot(animations="disabled"))).convert("L"), float)

    shown = seen()
    box.evaluate("box => { box.style.backgroundImage = 'none' }")
    difference = (seen() - shown).mean(axis=0)
    box.evaluate("box => { box.style.backgroundImage = '' }")
    return difference[2:EDGE].mean(), difference[-EDGE:-2].mean(), abs(difference[24:-24]).max()


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (400, "dark")])
def test_a_box_that_can_be_scrolled_shows_where_there_is_more(browser, reports, width, scheme):
    least = 10.0 if scheme == "light" else 4.0
    with page_of(browser, reports["one"], width, scheme) as page:
        boxes = [box for box in page.locator(".scroll").all() if box.is_visible()]
        kinds = {True: 0, False: 0}
        for box in boxes:
            hidden = box.evaluate("box => box.scrollWidth - box.clientWidth")
            kinds[hidden > 0] += 1
            for place in {0, hidden}:
                box.evaluate("(box, place) => { box.scrollLeft = place }", place)
                left, right, between = shadows(box)
                assert (left > least, right > least) == (place > 0, place < hidden)
                assert between < 3.0
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.documentElement.scrollLeft = 99, document.documentElement.scrollLeft") == 0
    assert kinds[True] > 3
    assert kinds[False] > 0


def test_a_phone_is_told_of_figures_that_go_on(browser, reports):
    for width, told in ((400, True), (1200, False)):
        with page_of(browser, reports["one"], width) as page:
            captions = page.locator("figure:has(img.wide) figcaption").all()
            assert captions
            for caption in captions:
                after = caption.evaluate("caption => getComputedStyle(caption, '::after').content")
                assert ("Scroll sideways" in after) == told


def test_a_film_plays(browser, reports):
    with page_of(browser, reports["one"]) as page:
        film = page.locator("video")
        film.evaluate("video => video.play()")
        page.wait_for_function("video => video.currentTime > 0", arg=film.element_handle())
        assert film.evaluate("video => [video.muted, video.loop, video.controls]") == [True, True, True]


def test_colours_follow_the_scheme_and_can_be_read(browser, reports):
    def brightness(page, property_):
        colour = page.evaluate(f"getComputedStyle(document.body).{property_}")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3

    for scheme, dark in (("light", False), ("dark", True)):
        with page_of(browser, reports["one"], scheme=scheme) as page:
            text, ground = brightness(page, "color"), brightness(page, "backgroundColor")
            assert abs(text - ground) > 150
            assert (ground < text) == dark


def test_a_page_that_would_load_something_is_caught(browser, reports, tmp_path):
    """The test of the tests: the policy in the page refuses, and the checks above see it."""
    text = reports["one"].read_text(encoding="utf-8")
    (tmp_path / "bad.html").write_text(text.replace("</main>", '<img src="https://example.org/a.png"></main>'))
    with pytest.raises(AssertionError, match="Content Security Policy"), page_of(browser, tmp_path / "bad.html"):
        pass
