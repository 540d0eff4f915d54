"""Judged builds: candidates are generated and scored once, and chosen as often as a rule changes."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BuildFailed
from imagemill.flows.plan_dataset import plan_dataset
from imagemill.flows.run.dashboard_text import embedded_scores
from tests.conftest import ROOT, Build, write_prompts

SHARP = {"sharp": {"kind": "pixels", "measure": "sharpness"}}
CHANGED = {"changed": {"kind": "pixels", "measure": "changed_share"}}


def rows_in(output: str | Path, area: str = "data") -> list[dict[str, Any]]:
    """The rows of one area of a dataset."""
    return [row for path in sorted(Path(output).glob(f"{area}/*.parquet")) for row in pq.read_table(path).to_pylist()]


def manifest_of(fields: dict[str, Any]) -> dict[str, Any]:
    return json.loads((Path(fields["output"]) / "manifest.json").read_text())


def candidates(fields: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Row id -> its rows in both areas, by candidate."""
    found = defaultdict(list)
    for area in ("data", "rejected"):
        for row in rows_in(fields["output"], area):
            found[row["id"]].append({**row, "area": area})
    return {name: sorted(rows, key=lambda row: row["candidate"]) for name, rows in found.items()}


@pytest.fixture
def images(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe that generates three candidates of each prompt and keeps the sharpest."""
    generate = {**fields["generate"], "select": {"of": 3, "best": "sharp"}}
    return {**fields, "generate": generate, "edit": None, "scorers": SHARP}


@pytest.fixture
def chain(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe with three candidates of each image and two of each edit."""
    generate = {**fields["generate"], "select": {"of": 3, "best": "sharp"}}
    edit = {**fields["edit"], "select": {"of": 2, "best": "changed"}}
    return {**fields, "generate": generate, "edit": edit, "scorers": SHARP | CHANGED}


def test_the_best_candidate_of_each_row_is_kept_and_the_others_are_in_rejected(build: Build, images: dict):
    figures = build(images)
    assert (figures["rows"], figures["generated"], figures["status"]) == (4, 12, "complete")
    for rows in candidates(images).values():
        assert [row["candidate"] for row in rows] == [0, 1, 2]
        best = max(rows, key=lambda row: (row["score_sharp"], -row["candidate"]))
        assert [row["area"] == "data" for row in rows] == [row is best for row in rows]
        assert {row["rejected_by"] for row in rows if row is not best} == {"not best"}
        assert all(row["image"]["bytes"] for row in rows)


def test_another_threshold_generates_and_scores_nothing_and_going_back_gives_the_first_fingerprint(
    build: Build, images: dict
):
    first = build(images)
    candidates_fingerprint = manifest_of(images)["candidates_fingerprint"]
    scores = sorted(row["score_sharp"] for rows in candidates(images).values() for row in rows)
    rule = {"of": 3, "where": {"sharp": {"min": scores[6]}}}
    second = build(images, {"generate.select": rule})
    assert (second["generated"], second["scored"]) == (0, 0)
    assert {row["rejected_by"] for row in rows_in(images["output"], "rejected")} <= {"sharp", "surplus"}
    third = build(images)
    assert (third["generated"], third["scored"]) == (0, 0)
    assert third["fingerprint"] == first["fingerprint"] != second["fingerprint"]
    assert manifest_of(images)["candidates_fingerprint"] == candidates_fingerprint


def test_a_second_build_does_nothing(build: Build, chain: dict):
    first = build(chain)
    before = {path: path.stat().st_mtime_ns for path in Path(chain["output"]).glob("*/*.parquet")}
    second = build(chain)
    assert (second["generated"], second["scored"], second["model_loads"]) == (0, 0, 0)
    assert second["fingerprint"] == first["fingerprint"]
    assert {path: path.stat().st_mtime_ns for path in Path(chain["output"]).glob("*/*.parquet")} == before


def test_only_winners_are_edited_and_each_edit_has_candidates_of_one_source(build: Build, chain: dict):
    figures = build(chain)
    assert figures["generated"] == 4 * 3 + 4 * 2
    kept, rejected = rows_in(chain["output"]), rows_in(chain["output"], "rejected")
    assert len(kept) == 4
    partial = [row for row in rejected if row["edited_image"] is None]
    assert {row["rejected_at"] for row in partial} == {"generate"}
    assert len(partial) == 4 * 2
    assert all(row["input_image"]["bytes"] and row["image_key"] is None for row in partial)
    losers = [row for row in rejected if row["edited_image"] is not None]
    assert {row["rejected_at"] for row in losers} == {"edit"}
    assert {row["input_key"] for row in losers} == {row["input_key"] for row in kept}


def test_another_rule_of_the_first_step_edits_the_new_winners_alone_and_back_again_nothing(build: Build, chain: dict):
    first = build(chain)
    winners = {row["id"]: row["input_key"] for row in rows_in(chain["output"])}
    second = build(chain, {"generate.select": {"of": 3}})
    after = {row["id"]: row["input_key"] for row in rows_in(chain["output"])}
    changed = sum(winners[name] != after[name] for name in winners)
    assert changed
    assert second["generated"] == 2 * changed
    third = build(chain)
    assert (third["generated"], third["scored"]) == (0, 0)
    assert third["fingerprint"] == first["fingerprint"]


def test_select_on_a_dataset_that_exists_generates_the_further_candidates_alone(build: Build, images: dict):
    plain = {**images, "generate": {**images["generate"], "select": None}, "scorers": {}}
    build(plain)
    figures = build(images)
    assert (figures["generated"], figures["scored"]) == (8, 12)


def test_a_scorer_generates_nothing(build: Build, fields: dict):
    fields = {**fields, "image_format": "jpeg"}
    first = build(fields)
    added = build({**fields, "scorers": SHARP | CHANGED})
    assert (added["generated"], added["fingerprint"]) == (0, first["fingerprint"])
    (row, *_) = rows_in(fields["output"])
    assert row["score_changed"] is not None
    assert row["input_score_sharp"] is not None
    gone = build(fields)
    assert (gone["generated"], gone["fingerprint"]) == (0, first["fingerprint"])
    assert "score_sharp" not in rows_in(fields["output"])[0]
    again = build({**fields, "scorers": SHARP | CHANGED})
    assert (again["generated"], again["scored"]) == (0, 0)


def test_a_scorer_of_a_multi_turn_dataset_generates_nothing(build: Build, fields: dict):
    edit = {**fields["edit"], "multi_turn": True, "instructions": ["make it red", "make it large"]}
    fields = {**fields, "edit": edit}
    first = build(fields)
    added = build({**fields, "scorers": SHARP | CHANGED})
    assert (added["generated"], added["fingerprint"], added["rows"]) == (0, first["fingerprint"], 8)


def test_until_enough_stops_when_a_row_has_enough_and_gives_the_same_fingerprint(build: Build, images: dict, tmp_path):
    scores = build(images) and sorted(row["score_sharp"] for row in rows_in(images["output"]))
    where = {"sharp": {"min": scores[0]}}
    everything = build(images, {"generate.select": {"of": 3, "where": where}, "output": str(tmp_path / "all")})
    rule = {"of": 3, "where": where, "draw": "until_enough"}
    enough = build(images, {"generate.select": rule, "output": str(tmp_path / "enough")})
    assert enough["fingerprint"] == everything["fingerprint"]
    assert enough["generated"] <= everything["generated"]


def test_a_threshold_that_nothing_passes_fails_and_leaves_data_as_it_was(build: Build, images: dict):
    build(images)
    before = sorted(path.name for path in Path(images["output"]).glob("data/*"))
    with pytest.raises(BuildFailed, match=r"sharp.*keep half"):
        build(images, {"generate.select": {"of": 3, "where": {"sharp": {"min": 1e9}}}})
    assert sorted(path.name for path in Path(images["output"]).glob("data/*")) == before


def test_prompts_that_are_gone_take_their_rejected_rows_along(build: Build, images: dict):
    build(images)
    write_prompts(Path(images["prompts"]), ["a fox", "a kite"])
    figures = build(images)
    assert (figures["rows"], figures["generated"]) == (2, 0)
    assert len(rows_in(images["output"], "rejected")) == 4


def test_a_nightly_build_changes_no_earlier_choice(build: Build, images: dict):
    build(images)
    before = {row["id"]: row["image_key"] for row in rows_in(images["output"])}
    write_prompts(Path(images["prompts"]), ["a cat", "a fox", "a kite", "a ring", "a star"])
    figures = build(images)
    assert (figures["generated"], figures["rows"]) == (3, 5)
    after = {row["id"]: row["image_key"] for row in rows_in(images["output"])}
    assert before.items() <= after.items()


@pytest.mark.parametrize("mode", ["scores", "drop"])
def test_rejected_images_can_be_left_out_and_are_not_generated_again(build: Build, images: dict, mode: str):
    images = {**images, "rejected": mode}
    build(images)
    assert all(row["image"] is None for row in rows_in(images["output"], "rejected"))
    assert len(rows_in(images["output"], "rejected")) == (8 if mode == "scores" else 0)
    second = build(images)
    assert (second["generated"], second["scored"]) == (0, 0)


def test_splits_are_files_and_growth_moves_no_row(build: Build, images: dict):
    images = {**images, "splits": {"test": 0.5, "by": "prompt"}}
    build(images)
    files = sorted(path.name.split("-")[0] for path in Path(images["output"]).glob("data/*.parquet"))
    assert set(files) <= {"test", "train"}
    before = {row["id"]: row["split"] for row in rows_in(images["output"])}
    write_prompts(Path(images["prompts"]), ["a cat", "a fox", "a kite", "a ring", "a star", "a dog"])
    build(images)
    after = {row["id"]: row["split"] for row in rows_in(images["output"])}
    assert before.items() <= after.items()


def test_rows_move_between_splits_without_an_image_generated(build: Build, images: dict):
    first = build(images)
    moved = build({**images, "splits": {"test": 0.5, "validation": 0.3}})
    assert (moved["generated"], moved["fingerprint"]) == (0, first["fingerprint"])
    assert sum(row["split"] != "train" for row in rows_in(images["output"])) >= 1


def test_a_recipe_without_judging_again_gives_the_files_columns_and_fingerprint_that_it_gave_before(
    build: Build, images: dict, tmp_path: Path
):
    plain = {**images, "generate": {**images["generate"], "select": None}, "scorers": {}}
    alone = build(plain, {"output": str(tmp_path / "alone")})
    build(images)
    back = build(plain)
    assert (back["generated"], back["fingerprint"]) == (0, alone["fingerprint"])
    assert rows_in(plain["output"])[0].keys() == rows_in(tmp_path / "alone")[0].keys()


def test_given_images_are_judged_and_nothing_is_generated(build: Build, tmp_path: Path):
    samples = sorted((ROOT / "data/samples/images").glob("*.png"))
    write_prompts(tmp_path / "given.jsonl", [{"prompt": path.stem, "images": [str(path)]} for path in samples])
    fields = {
        "name": "given",
        "prompts": str(tmp_path / "given.jsonl"),
        "output": str(tmp_path / "out"),
        "scorers": SHARP,
        "duplicates": {"by": "phash"},
        "splits": {"test": 0.3},
    }
    first = build(fields)
    assert (first["generated"], first["rows"], first["model_loads"]) == (0, len(samples), 0)
    rows = {row["prompt"]: row for row in rows_in(fields["output"])}
    assert {name: row["image"]["bytes"] for name, row in rows.items()} == {p.stem: p.read_bytes() for p in samples}
    scores = sorted(row["score_sharp"] for row in rows.values())
    fields["given"] = {"select": {"where": {"sharp": {"min": scores[1]}}}}
    second = build(fields)
    assert (second["scored"], second["rows"]) == (0, sum(score >= scores[1] for score in scores))
    third = build({**fields, "given": None})
    assert (third["scored"], third["fingerprint"]) == (0, first["fingerprint"])


def test_a_given_image_over_the_limit_is_set_aside_unless_the_dataset_has_it(build: Build, tmp_path: Path):
    for name, side in (("small", 20), ("big", 100)):
        Image.new("RGB", (side, side), "red").save(tmp_path / f"{name}.png")
    write_prompts(tmp_path / "p.jsonl", [{"id": name, "images": [f"{name}.png"]} for name in ("small", "big")])
    fields = {"prompts": str(tmp_path / "p.jsonl"), "output": str(tmp_path / "new"), "scorers": SHARP}
    limit = {"images": {"max_pixels": 1000}, "max_set_aside": 1}
    assert build(fields | limit)["set_aside"] == 1
    assert [row["id"] for row in rows_in(fields["output"])] == ["small"]
    before = build(fields | {"output": str(tmp_path / "begun")})
    after = build(fields | limit | {"output": str(tmp_path / "begun")})
    assert (after["rows"], after["set_aside"], after["fingerprint"]) == (2, 0, before["fingerprint"])


def test_near_duplicates_are_rejected_and_the_first_stays(build: Build, tmp_path: Path):
    (sample,) = (ROOT / "data/samples/images").glob("red-circle.png")
    with Image.open(sample) as image:
        image.convert("RGB").save(tmp_path / "again.jpg", quality=70)
    rows = [{"prompt": name, "images": [str(path)]} for name, path in (("a", sample), ("b", tmp_path / "again.jpg"))]
    write_prompts(tmp_path / "given.jsonl", rows)
    fields = {"prompts": str(tmp_path / "given.jsonl"), "output": str(tmp_path / "out"), "duplicates": {"by": "phash"}}
    figures = build(fields)
    assert (figures["rows"], figures["duplicates"]) == (1, 1)
    (kept,), (repeated,) = rows_in(fields["output"]), rows_in(fields["output"], "rejected")
    assert kept["prompt"] == "a"
    assert (repeated["rejected_by"], repeated["duplicate_of"]) == ("duplicate", kept["image_key"])


def test_preference_pairs_are_made_of_the_candidates(build: Build, images: dict):
    images = {**images, "pairs": {"by": "sharp", "most": 1}}
    build(images)
    pairs = rows_in(images["output"], "pairs")
    by_key = {row["image_key"]: row for rows in candidates(images).values() for row in rows}
    assert len(pairs) == 4
    for pair in pairs:
        better, worse = ("0", "1") if pair["label_0"] else ("1", "0")
        assert pair[f"score_{better}"] > pair[f"score_{worse}"]
        for side in "01":
            row = by_key[pair[f"image_key_{side}"]]
            assert pair[f"image_{side}"]["bytes"] == row["image"]["bytes"]
    again = build(images)
    assert again["generated"] == 0


def test_a_plan_says_how_many_rows_a_threshold_leaves_and_the_build_keeps_these(build: Build, images: dict):
    build(images)
    scores = sorted(row["score_sharp"] for row in rows_in(images["output"]))
    changed = {
        **images,
        "generate": {**images["generate"], "select": {"of": 3, "where": {"sharp": {"min": scores[2]}}}},
    }
    plan = plan_dataset(load_recipe(changed), False)
    figures = build(changed)
    assert plan["rows"] == plan["reused"] == figures["rows"] == figures["kept"] < 4
    assert plan["judging"]["to_rejected"] >= 4 - plan["rows"]


def test_the_figures_of_a_chain_are_a_funnel_of_all_its_candidates(build: Build, chain: dict):
    figures = build(chain)
    assert (figures["candidates"], figures["kept"], figures["not_best"]) == (4 * 3 + 4 * 2, 4, 4 * 2 + 4)
    again = build(chain)
    assert {name: again[name] for name in ("candidates", "kept", "not_best", "scored")} == {
        "candidates": 20,
        "kept": 4,
        "not_best": 12,
        "scored": 0,
    }


def test_the_report_shows_the_highest_and_lowest_scores_and_the_card_the_funnel(build: Build, images: dict):
    build(images)
    assert "data:image/webp;base64," in embedded_scores(Folder(images["output"]), load_recipe(images))
    card = (Path(images["output"]) / "README.md").read_text()
    assert re.search(r"## Selection\n\n```\ncandidates +12\nnot best +8\nkept +4\n```", card)
    assert "- scorer `sharp`: pixels" in card
