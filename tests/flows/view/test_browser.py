"""Tests of the gallery in a real browser: search, filter, slider, threshold, keys, and hostile text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from docs.tools.browser import Page, find_browser, open_browser
from imagemill.data.view.gallery import Gallery
from imagemill.data.view.query import Query
from tests.conftest import ROOT, wait_until
from tests.data.view import datasets
from tests.data.view.datasets import EDITS, edit_row, image_row, shape, write_manifest, write_part
from tests.flows.view.conftest import HOSTILE, hostile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_browser() is None, reason="there is no Chromium here (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with open_browser(1280, 900) as page:
        page.watch()
        yield page
        assert page.complaints() == []


@contextmanager
def viewed(page: Page, output: Path) -> Iterator[str]:
    """The address of a gallery that the browser has opened by its link."""
    command = [sys.executable, "-m", "imagemill", "view", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        link = re.search(r"http://\S+", process.stdout.readline())
        assert link is not None
        page.open(link[0])
        base = link[0].partition("/open/")[0]
        wait_for(page, f"location.href === '{base}/' && document.readyState === 'complete'")
        yield base
    finally:
        # Otherwise the page asks for news of a gallery that has ended.
        page.open("about:blank")
        process.terminate()
        process.wait()


def wait_for(page: Page, condition: str) -> Any:
    def value() -> Any:
        try:
            return page.run(condition)
        except RuntimeError:
            # The page is being replaced by another.
            return None

    return wait_until(value, condition, 60)


def go(page: Page, address: str) -> None:
    page.open(address)
    wait_for(page, f"location.href === {json.dumps(address)} && document.readyState === 'complete'")


def total(page: Page) -> int:
    return int(page.run("document.querySelector('.count b').textContent.replace(',', '')"))


def choose(page: Page, selector: str, value: int) -> None:
    """Move a range to a value, as dragging does."""
    page.run(
        f"(range => {{ range.value = {value}; range.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
        f"(document.querySelector({json.dumps(selector)}))"
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("gallery") / "judged"
    datasets.judged(output, prompts=90, candidates=3, size=64)
    return output


@pytest.fixture(scope="module")
def address(page: Page, judged: Path) -> Iterator[str]:
    with viewed(page, judged) as address:
        yield address


def test_the_grid_shows_its_images_and_scripts_and_styles_are_its_own(page: Page, address: str) -> None:
    go(page, f"{address}/")
    wait_for(page, "[...document.images].slice(0, 8).every(image => image.naturalWidth > 0)")
    assert page.run("getComputedStyle(document.getElementById('grid')).display") == "grid"
    assert {url.split("/")[2] for url in page.requested()} == {address.split("/")[2]}


def test_a_search_is_typed_and_sent_with_enter(page: Page, address: str, judged: Path) -> None:
    go(page, f"{address}/")
    page.press("/")
    page.type("Moon")
    page.press("Enter")
    wait_for(page, "location.search.includes('words=Moon') && document.readyState === 'complete'")

    assert total(page) == Gallery(judged).page(Query(words="moon"), 0, 1).total > 0
    assert page.run("[...document.querySelectorAll('.prompt')].every(text => text.innerText.includes('moon'))")


def test_a_filter_over_scores_and_columns_is_kept_while_paging(page: Page, address: str, judged: Path) -> None:
    go(page, f"{address}/?show=all")
    where = "fits >= 0.3 and style = 'flat'"
    page.run("document.getElementById('where').select()")
    page.type(where)
    page.press("Enter")
    wait_for(page, "location.search.includes('where=') && document.readyState === 'complete'")
    assert total(page) == Gallery(judged).page(Query("all", where=where), 0, 1).total > 60

    page.run("document.activeElement.blur()")
    page.press("n")
    wait_for(page, "location.search.includes('page=1') && document.readyState === 'complete'")
    assert page.run("document.getElementById('where').value") == where


def test_a_bad_filter_says_what_is_wrong(page: Page, address: str) -> None:
    page.open(f"{address}/?where=widht%20%3E%203")
    wait_for(page, "document.getElementById('fault')?.innerText.includes(\"'width'\")")
    # The answer's code is what the browser logs.
    assert [text for text in page.complaints() if "400" not in text] == []


def test_a_threshold_says_at_once_how_many_stay_and_the_recipes_line(page: Page, address: str, judged: Path) -> None:
    go(page, f"{address}/scores?show=all")
    page.requested()
    choose(page, "[data-histogram] .threshold", 30)

    said = page.run("document.querySelector('.stay').innerText")
    limit = page.run("document.querySelector('.value').innerText").removeprefix("≥ ")
    stay = Gallery(judged).page(Query("all", where=f"score_fits >= {limit}"), 0, 1).total
    assert said.startswith(f"{stay} of 270 images stay")
    assert "of 90 prompts" in said
    assert page.requested() == []
    lines = page.run("document.querySelector('.lines').innerText")
    assert lines == f"generate:\n  select:\n    where: {{fits: {{min: {limit}}}}}"
    page.run("document.querySelector('.show').click()")
    wait_for(page, "location.pathname === '/' && document.readyState === 'complete'")
    assert total(page) == stay


def test_images_at_the_border_are_looked_at_without_leaving(page: Page, address: str) -> None:
    go(page, f"{address}/scores?show=all")
    choose(page, "[data-histogram] .threshold", 20)
    page.run("document.querySelector('.look').click()")
    wait_for(page, "document.querySelectorAll('.border .card').length === 8")


def test_keys_choose_a_card_open_it_and_lead_back(page: Page, address: str) -> None:
    go(page, f"{address}/")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.press(key)
    chosen = page.run("[...document.querySelectorAll('.card')].findIndex(card => card.matches('.chosen'))")
    columns = page.run("getComputedStyle(document.getElementById('grid')).gridTemplateColumns.split(' ').length")
    assert chosen == 1 + columns
    page.press("Enter")
    wait_for(page, "location.pathname.startsWith('/row/') && document.querySelectorAll('.current').length")
    page.press("ArrowRight")
    wait_for(page, f"location.search.includes('i={chosen + 1}') && document.readyState === 'complete'")
    page.press("Escape")
    wait_for(page, "location.pathname === '/' && document.readyState === 'complete'")


def test_light_and_dark_are_remembered(page: Page, address: str) -> None:
    go(page, f"{address}/")
    before = page.run("getComputedStyle(document.body).backgroundColor")
    page.press("t")
    after = page.run("getComputedStyle(document.body).backgroundColor")
    go(page, f"{address}/runs")
    assert page.run("getComputedStyle(document.body).backgroundColor") == after != before
    page.press("t")


def test_input_and_edited_image_lie_under_a_slider_and_their_difference_is_seen(page: Page, tmp_path: Path) -> None:
    from io import BytesIO

    from PIL import Image

    def plain(colour: tuple[int, int, int]) -> bytes:
        buffer = BytesIO()
        Image.new("RGB", (200, 200), colour).save(buffer, "PNG")
        return buffer.getvalue()

    output = tmp_path / "edits"
    row = edit_row(1, plain((200, 0, 0)), plain((200, 40, 0)), "red", "a little green")
    write_manifest(output, [write_part(output, "data", 0, [row], EDITS, ())], {"edit": {"model": "b"}})
    with viewed(page, output) as address:
        page.open(f"{address}/at?i=0")
        wait_for(page, "document.querySelectorAll('.stage img').length === 4 && document.readyState === 'complete'")
        page.press("2")
        choose(page, "#slide", 25)
        box = page.run(
            "(box => [box.left, box.top, box.width])(document.querySelector('.layers').getBoundingClientRect())"
        )

        def colour(share: float) -> tuple[int, ...]:
            return page.pixels().getpixel((int(box[0] + share * box[2]), int(box[1] + 200)))

        assert (colour(0.1), colour(0.4)) == ((200, 0, 0), (200, 40, 0))
        choose(page, "#slide", 60)
        assert (colour(0.4), colour(0.9)) == ((200, 0, 0), (200, 40, 0))
        page.press("3")
        choose(page, "#gain", 4)
        assert colour(0.5) == (0, 160, 0)


def test_hostile_text_is_shown_and_runs_nothing(page: Page, tmp_path: Path) -> None:
    hostile(tmp_path / "hostile")
    with viewed(page, tmp_path / "hostile") as address:
        page.requested()
        paths = ["/", "/?show=rejected", "/scores", "/pairs", "/set-aside", "/runs"]
        for path in [*paths, *(f"/at?i={i}" for i in range(len(HOSTILE)))]:
            page.open(address + path)
            wait_for(page, "document.readyState === 'complete' && Boolean(document.querySelector('header.top'))")
            assert page.run("typeof window.hacked") == "undefined", path
            assert page.run("document.querySelectorAll('main script, main svg[onload], [onerror]').length") == 0, path
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), path
        go(page, f"{address}/?where=" + "%3Cscript%3Ewindow.hacked%3D1%3C%2Fscript%3E")
        assert page.run("typeof window.hacked") == "undefined"
        go(page, f"{address}/")
        for text in HOSTILE[:5]:
            assert text in page.run("document.querySelector('main').textContent")
        assert {url.split("/")[2] for url in page.requested() if not url.startswith("data:")} == {address.split("/")[2]}
        # None of the texts was refused by the policy: none was a script to begin with.
        assert [text for text in page.complaints() if "400" not in text] == []


def test_rows_of_a_running_build_are_announced(page: Page, tmp_path: Path) -> None:
    output = tmp_path / "running"
    datasets.begin(output)
    with viewed(page, output):
        assert "No rows yet" in page.text()
        write_part(output, "data", 0, [image_row(1, shape(1), "the first")])
        wait_for(page, "!document.getElementById('news').hidden")
        page.run("document.getElementById('news').click()")
        page.wait_for("the first")
