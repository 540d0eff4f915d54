"""Tests of the gallery's pages as they are answered: what they show, and that any text in a row is only text."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.conftest import ROOT
from tests.data.view import datasets
from tests.data.view.datasets import image_row, shape, write_manifest, write_part
from tests.flows.view.conftest import HOSTILE, hostile, opened


def links(text: str, pattern: str) -> list[str]:
    return [link.replace("&amp;", "&") for link in re.findall(rf'(?:href|src|data-part)="({pattern}[^"]*)"', text)]


def test_the_grid_names_images_that_are_served_as_thumbnails(client: TestClient) -> None:
    page = client.get("/").text
    images = links(page, "/image/")
    assert len(images) == page.count('class="card')

    for link in images[:5]:
        answer = client.get(link)
        assert answer.headers["content-type"] in ("image/png", "image/jpeg")
        assert "immutable" in answer.headers["cache-control"]
        assert answer.content


def test_a_pages_links_lead_through_the_whole_query(client: TestClient) -> None:
    seen, path = [], "/?show=all&rows=25&sort=score_fits"
    first = client.get(path).text
    while path:
        text = client.get(path).text
        seen += re.findall(r'href="/row/([0-9a-f]{32})', text)
        (path,) = links(text[text.find('rel="next"') :], "/")[:1] if 'rel="next"' in text else [""]
        path = path and path + "&rows=25"

    assert len(seen) == len(set(seen)) == 120
    assert "<b>120</b> rows" in first


def test_a_row_has_its_scores_its_command_and_a_way_to_its_neighbours(client: TestClient, judged: Path) -> None:
    page = client.get("/at?i=3").text

    assert "Where it is from" in page
    (key,) = set(re.findall(r"imagemill verify \S+ --row ([0-9a-f]{32})", page))
    assert str(judged) in page
    before, after = (client.get(f"/at?i={i}", follow_redirects=False).headers["location"] for i in (2, 4))
    assert [before.split("?")[0], after.split("?")[0]] == [
        client.get(link, follow_redirects=False).headers["location"].split("?")[0] for link in links(page, "/at")
    ]
    (part,) = links(page, f"/related/{key}")
    assert client.get(part).text.count('class="card') == 4


def test_thresholds_come_with_the_recipes_line(client: TestClient) -> None:
    page = client.get("/scores?show=all").text

    assert "where: {fits: LIMIT}" in page
    assert "--set generate.select.where.fits.NAME=VALUE" in page
    assert client.get("/border?show=all&column=score_fits&value=0.5").text.count('class="card') == 8
    assert client.get("/border?column=score_fits&value=x or 1").status_code == 400


def test_a_bad_filter_stays_in_its_field_with_what_is_wrong(client: TestClient) -> None:
    answer = client.get("/", params={"where": 'widht > "3', "show": "all"})

    assert answer.status_code == 400
    assert 'value="widht &gt; &#34;3"' in answer.text
    assert 'id="fault"' in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/row/00000000000000000000000000000000",
        "/row/%2e%2e%2fmanifest.json",
        "/at?i=999999",
        "/static/..%2fapp.py",
        "/static/../app.py",
        "/image/data/..%2f..%2fmanifest.json/0/image",
    ],
)
def test_what_is_not_there_is_not_found(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 or answer.headers["content-type"].startswith("image/svg")
    assert "fingerprint" not in answer.text


@pytest.mark.parametrize("column", ["prompt", "nothing", "row_key"])
def test_only_images_are_served_as_images(client: TestClient, column: str) -> None:
    (link, *_) = links(client.get("/").text, "/image/")
    assert b"not stored" in client.get(link.replace("/image?", f"/{column}?")).content


def test_an_image_that_cannot_be_decoded_is_a_sign_and_no_script(tmp_path: Path) -> None:
    output = tmp_path / "bad"
    content = b'<svg xmlns="http://www.w3.org/2000/svg" onload="window.hacked=1"></svg>'
    write_manifest(output, [write_part(output, "data", 0, [image_row(1, content, "svg")])])
    with closing(opened(output)) as client:
        (thumbnail,) = links(client.get("/").text, "/image/")
        for link in (thumbnail, thumbnail.split("?")[0]):
            answer = client.get(link)
            assert b"cannot be read here" in answer.content
            assert b"hacked" not in answer.content


PAGES = ("/", "/?show=rejected", "/scores", "/pairs", "/set-aside", "/runs", "/scores?column=seed")


def test_any_text_in_a_dataset_is_shown_as_text(tmp_path: Path) -> None:
    hostile(tmp_path / "out")
    with closing(opened(tmp_path / "out")) as client:
        rows = [f"/at?i={i}" for i in range(len(HOSTILE))]
        parts = [part for row in rows for part in links(client.get(row).text, "/related/")]
        assert len(parts) == len(rows)
        for path in (*PAGES, *rows, *parts):
            answer = client.get(path)
            assert answer.status_code == 200, path
            body = answer.text
            assert not re.search(r"<(script(?! src=\"/static)|svg onload|img src=x|b x=)", body), path
            assert not re.search(r"<[^>]*\son\w+=", re.sub(r'"[^"]*"', "", body)), path
            assert "49" not in re.findall(r"\b49\b(?= \{)", body)
            assert not set(body) & set("\u202e\u2066\x1b\x07\x00"), path
            assert len(body) < 2_000_000, path


def test_a_query_in_the_address_is_shown_as_text(client: TestClient) -> None:
    for text in HOSTILE[:5]:
        for name in ("where", "words", "sort", "show", "order"):
            body = client.get("/", params={name: text}).text
            assert not re.search(r"<(script(?! src=\"/static)|svg onload|img src=x|b x=)", body)


def test_a_gallery_of_a_build_that_has_written_nothing_yet_says_so(tmp_path: Path) -> None:
    datasets.begin(tmp_path / "new")
    with closing(opened(tmp_path / "new")) as client:
        for path in ("/", "/scores", "/runs", "/set-aside", "/pairs", "/?words=x&sort=width"):
            assert client.get(path).status_code == 200
        assert "No rows yet" in client.get("/").text
        assert client.get("/state").json()["finished"] is False


def test_a_manifest_that_is_damaged_meanwhile_is_one_sentence(judged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imagemill.data.view.gallery.LOCAL_INTERVAL_S", 0)
    with closing(opened(judged)) as client:
        whole = (judged / "manifest.json").read_bytes()
        (judged / "manifest.json").write_bytes(whole[:100])
        for path in ("/", "/runs", "/state"):
            answer = client.get(path)
            assert (answer.status_code, answer.text.count("\n")) == (500, 1)
            assert "manifest.json' is damaged" in answer.text
        (judged / "manifest.json").write_bytes(whole)
        assert client.get("/").status_code == 200


def test_a_manifest_that_counts_wrong_is_one_sentence(tmp_path: Path) -> None:
    output = tmp_path / "wrong"
    file = write_part(output, "data", 0, [image_row(1, shape(1), "one")])
    write_manifest(output, [{**file, "rows": 1000}])
    with closing(opened(output)) as client:
        for path in ("/", "/?page=9", "/?sort=seed", "/scores?column=seed", "/at?i=500"):
            answer = client.get(path)
            assert (answer.status_code, "has 1 rows" in answer.text) == (500, True)


def test_a_place_in_a_column_of_single_images_means_nothing(client: TestClient) -> None:
    (link, *_) = links(client.get("/").text, "/image/")
    assert client.get(f"{link}&place=5").headers["content-type"] == "image/png"


def test_a_conversation_is_shown_in_order(tmp_path: Path) -> None:
    datasets.conversations(tmp_path / "turns")
    with closing(opened(tmp_path / "turns")) as client:
        (part,) = links(client.get("/at?i=1").text, "/related/")
        assert re.findall(r"<bdi>(\d)\. ([a-z ]+)</bdi>", client.get(part).text) == [
            ("1", "make it red"),
            ("2", "move it left"),
            ("3", "make it larger"),
        ]


OLD = sorted(path.parent for path in (ROOT / "tests" / "old").rglob("data") if any(path.glob("*.parquet")))


@pytest.mark.parametrize("output", OLD, ids=lambda output: output.parent.name)
def test_datasets_of_earlier_versions_are_shown(output: Path) -> None:
    with closing(opened(output)) as client:
        grid, row = client.get("/"), client.get("/at?i=0")
        assert 'class="card' in grid.text
        for link in links(grid.text + row.text, "/image/"):
            answer = client.get(link)
            assert (answer.status_code, answer.headers["content-type"] != "image/svg+xml") == (200, True)
        for path in ("/scores?column=seed", "/runs", "/set-aside", *links(row.text, "/related/")):
            assert client.get(path).status_code == 200


def test_small_images_keep_their_pixels(tmp_path: Path) -> None:
    output = tmp_path / "small"
    write_manifest(output, [write_part(output, "data", 0, [image_row(1, shape(9, 24), "small")])])
    with closing(opened(output)) as client:
        (link,) = links(client.get("/").text, "/image/")
        assert client.get(link).headers["content-type"] == "image/png"
