"""Tests of the gallery's reading: pages, filters, orders, candidates, and a dataset that a build changes meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imagemill.data.errors import NotAnImagemillDataset, RecipeError
from imagemill.data.view import gallery as module
from imagemill.data.view.gallery import Gallery
from imagemill.data.view.query import Query
from tests.data.view import datasets
from tests.data.view.datasets import image_row, shape, write_manifest, write_part


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    output = tmp_path / "judged"
    datasets.judged(output, prompts=30, candidates=4, size=32)
    return output


def ids(gallery: Gallery, query: Query, first: int = 0, count: int = 1000) -> list[str]:
    return [row.values["id"] for row in gallery.page(query, first, count).rows]


def test_pages_follow_each_other_through_all_files_and_splits(judged: Path) -> None:
    gallery = Gallery(judged)
    total = gallery.page(Query(), 0, 1).total
    pages = [row_id for first in range(0, total, 7) for row_id in ids(gallery, Query(), first, 7)]

    assert pages == ids(gallery, Query())
    assert len(set(ids(gallery, Query()))) == total == gallery.state().rows["data"]
    assert gallery.page(Query(where="split is null"), 0, 1).total == total


def test_a_filter_is_over_any_column_and_a_scorer_stands_for_its_score(judged: Path) -> None:
    gallery = Gallery(judged)
    everything = gallery.page(Query("all"), 0, 1000).rows

    found = gallery.page(Query("all", where="fits >= 0.5 and style = 'it''s \"deep\"'"), 0, 1000).rows

    expected = [row.key for row in everything if row.values["score_fits"] >= 0.5 and int(row.values["id"][4:]) % 3 == 0]
    assert [row.key for row in found] == expected != []


def test_words_are_found_in_any_case_and_stand_for_themselves(judged: Path) -> None:
    gallery = Gallery(judged)

    assert (
        len(ids(gallery, Query(words="MOON above"))) == len(ids(gallery, Query(where="prompt like '%moon%above%'"))) > 0
    )
    assert ids(gallery, Query(words="mo_n")) == ids(gallery, Query(words="%moon'")) == []


def test_rejected_candidates_are_found_by_their_reason(judged: Path) -> None:
    gallery = Gallery(judged)
    reasons = gallery.reasons()
    assert set(reasons) == {"fits", "surplus"}

    for reason, count in reasons.items():
        rows = gallery.page(Query("rejected", where=f"rejected_by = '{reason}'"), 0, 1000).rows
        assert [row.values["rejected_by"] for row in rows] == [reason] * count


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_rows_are_sorted_by_a_score_and_those_without_come_last(judged: Path, order: str) -> None:
    page = Gallery(judged).page(Query("all", sort="looks", order=order), 0, 1000)
    values = [row.values["score_looks"] for row in page.rows]
    scored = [value for value in values if value is not None]

    assert scored == sorted(scored, reverse=order == "desc")
    assert values[len(scored) :] == [None] * (len(values) - len(scored)) != []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"where": "widht > 3"}, "'width'"),
        ({"where": "width >"}, "is not a filter"),
        ({"sort": "prompt"}, "cannot sort by 'prompt'"),
        ({"show": "secret"}, "data, rejected, all"),
        ({"order": "random"}, "desc, asc"),
        ({"words": "a " * 20}, "over 12 words"),
    ],
)
def test_a_query_that_cannot_be_used_is_one_clear_error(judged: Path, query: dict[str, str], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        Gallery(judged).page(Query(**query), 0, 10)


def test_a_row_is_found_by_its_key_with_all_columns_and_its_candidates(judged: Path) -> None:
    gallery = Gallery(judged)
    (wanted,) = gallery.page(Query("rejected"), 8, 1).rows

    row = gallery.row(wanted.key)
    assert row is not None
    assert (row.part, row.row, row.values["seed"]) == (wanted.part, wanted.row, 1000 + int(row.values["id"][4:]))
    candidates = gallery.related(row.values["id"], 100)
    assert sorted(other.values["candidate"] for other in candidates) == [0, 1, 2, 3]
    assert gallery.row("f" * 32) is gallery.row("../../etc/passwd") is None


def test_the_turns_of_a_conversation_are_in_order(tmp_path: Path) -> None:
    datasets.conversations(tmp_path / "turns")
    rows = Gallery(tmp_path / "turns").related("row-1", 100)

    assert [row.values["turn_index"] for row in rows] == [1, 2, 3]
    assert [image.column for image in rows[0].images] == ["input_image", "edited_image"]


def test_the_counts_of_a_threshold_are_those_of_the_filter(judged: Path) -> None:
    gallery = Gallery(judged)
    histogram = gallery.histogram("score_fits", Query("all"))
    assert histogram is not None
    rows = gallery.page(Query("all"), 0, 1000).rows
    of_row = {row.key: row.values["id"] for row in rows}

    for edge in range(0, len(histogram.edges), 7):
        value = histogram.edges[edge]
        above = gallery.page(Query("all", where=f"fits >= {value!r}"), 0, 1000).rows
        below = gallery.page(Query("all", where=f"fits <= {value!r}"), 0, 1000).rows
        assert (histogram.at_least[edge], histogram.at_most[edge]) == (len(above), len(below))
        assert histogram.rows_at_least[edge] == len({of_row[row.key] for row in above})
        assert histogram.rows_at_most[edge] == len({of_row[row.key] for row in below})
    assert sum(histogram.counts) == histogram.images == len(rows)
    assert histogram.rows == 30


def test_images_without_a_score_are_counted_apart(judged: Path) -> None:
    gallery = Gallery(judged)
    histogram = gallery.histogram("looks", Query())
    assert histogram is not None

    unscored = gallery.page(Query(where="looks is null"), 0, 1).total
    assert histogram.without == unscored > 0


def test_the_images_at_the_border_are_the_nearest_to_the_threshold(judged: Path) -> None:
    gallery = Gallery(judged)
    below, above = gallery.border(Query("all"), "score_fits", "0.5", 3)
    scores = np.array([row.values["score_fits"] for row in gallery.page(Query("all"), 0, 1000).rows])

    assert [row.values["score_fits"] for row in below] == sorted(scores[scores < 0.5])[::-1][:3]
    assert [row.values["score_fits"] for row in above] == sorted(scores[scores >= 0.5])[:3]


def test_an_image_is_its_stored_bytes_also_after_a_build_has_moved_its_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOCAL_INTERVAL_S", 0)
    output, content = tmp_path / "moved", shape(40, 24)
    rows = [image_row(number, shape(200, 24), "others") for number in range(5)]
    rows.insert(3, image_row(77, content, "this one"))
    files = [write_part(output, "data", 0, rows)]
    write_manifest(output, files)
    gallery = Gallery(output)
    image = gallery.page(Query(), 3, 1).rows[0].images[0]
    at = (image.part.area, image.part.name, image.row, image.column, None)
    assert gallery.image(*at) == content

    files = [write_part(output, "data", 1, [*rows[4:], rows[3]])]
    (output / "data" / image.part.name).unlink()

    assert gallery.image(*at, key=str(rows[3]["row_key"])) == content
    assert gallery.image(*at) is gallery.image("data", files[0]["name"], 99, "image", None) is None


def test_rows_appear_as_a_build_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCAL_INTERVAL_S", 0)
    output = tmp_path / "begun"
    datasets.begin(output)
    gallery = Gallery(output)
    before = gallery.state()
    assert (gallery.page(Query(), 0, 60).rows, before.is_finished) == ([], False)
    assert gallery.page(Query(words="x"), 0, 60).total == 0

    write_part(output, "data", 0, [image_row(1, shape(1), "first")])
    write_part(output, "data", 1, [image_row(2, shape(2), "second")])

    assert [row.values["prompt"] for row in gallery.page(Query(), 0, 60).rows] == ["first", "second"]
    assert gallery.state().version != before.version
    assert ids(gallery, Query(words="second")) == ["row-2"]


def test_a_file_that_is_replaced_between_its_listing_and_its_reading_is_read_under_its_new_name(tmp_path: Path) -> None:
    output = tmp_path / "merged"
    datasets.begin(output)
    rows = [image_row(number, shape(number), f"number {number}") for number in range(4)]
    names = [write_part(output, "data", number, [row])["name"] for number, row in enumerate(rows)]
    gallery = Gallery(output)

    write_part(output, "data", 7, rows)
    for name in names:
        (output / "data" / name).unlink()

    assert ids(gallery, Query(sort="score_fits")) == [f"row-{number}" for number in range(4)]


def test_a_file_that_is_cut_short_costs_only_its_rows(tmp_path: Path) -> None:
    output = tmp_path / "damaged"
    datasets.begin(output)
    write_part(output, "data", 0, [image_row(1, shape(1), "whole")])
    name = write_part(output, "data", 1, [image_row(2, shape(2), "cut")])["name"]
    (output / "data" / name).write_bytes((output / "data" / name).read_bytes()[:500])
    gallery = Gallery(output)

    assert ids(gallery, Query()) == ["row-1"]
    assert gallery.state().damaged == (f"data/{name}",)


def test_rows_set_aside_and_runs_are_listed(judged: Path) -> None:
    gallery = Gallery(judged)

    assert [row["reason"] for row in gallery.set_aside()] == ["the prompt is empty"]
    assert [run["status"] for run in gallery.runs()] == ["complete", "failed"]
    with (judged / "set_aside.jsonl").open("a") as lines:
        lines.write('{"stage": "generate", "id": "a", "file": "p", "line": 2, "reason": "black"}\n')
    assert [row["reason"] for row in gallery.set_aside()] == ["the prompt is empty", "black"]


def test_a_folder_that_is_no_dataset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(NotAnImagemillDataset, match=r"no manifest\.json"):
        Gallery(tmp_path)


def test_nothing_is_written(judged: Path) -> None:
    before = {path: path.read_bytes() for path in judged.rglob("*") if path.is_file()}
    gallery = Gallery(judged)
    gallery.related("row-1", 10)
    gallery.page(Query("all", words="moon", sort="fits"), 0, 60)
    gallery.histogram("fits", Query())

    assert {path: path.read_bytes() for path in judged.rglob("*") if path.is_file()} == before


def test_preference_pairs_know_which_image_is_better(judged: Path) -> None:
    pairs, total = Gallery(judged).pairs(1, 2)

    assert (total, [pair.better for pair in pairs]) == (5, [1, 1])
    assert [image.column for image in pairs[0].images] == ["image_0", "image_1"]


def test_arrays_take_under_50_bytes_a_row(tmp_path: Path) -> None:
    output = tmp_path / "many"
    content = shape(1, 16)
    rows = (image_row(n, content, f"number {n}") | {"score_fits": n / 20000, "score_looks": 1.0} for n in range(20_000))
    write_manifest(output, [write_part(output, "data", 0, rows)])
    gallery = Gallery(output)
    assert len(gallery.related("row-19999", 10)) == 1
    for name in ("score_fits", "score_looks"):
        gallery.histogram(name, Query())
        gallery.page(Query(sort=name), 0, 60)

    assert gallery.index_bytes < 50 * 20_000
    assert json.loads((output / "manifest.json").read_text())["rows"] == 20_000
