"""The shipped recipes that choose are built as they are, from the first of their prompts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from tests.conftest import ROOT, Build, write_prompts

FITS, KEEPS, TURNS = 0.82, 0.5, 0.8
"""Thresholds of instruct-pix2pix.yaml."""


def recipe(name: str, output: Path, rows: int | None = None) -> dict[str, Any]:
    """A shipped recipe's fields, with the first ``rows`` of its prompts."""
    fields = yaml.safe_load((ROOT / f"data/recipes/{name}.yaml").read_text()) | {"output": str(output / "out")}
    prompts = ROOT / fields["prompts"]
    if rows is not None:
        lines = [json.loads(line) for line in prompts.read_text().splitlines()[:rows]]
        given = {"images": str(prompts.parent / lines[0]["images"])} if "images" in lines[0] else {}
        prompts = output / prompts.name
        write_prompts(prompts, [line | given for line in lines])
    return fields | {"prompts": str(prompts)}


def rows_in(fields: dict[str, Any], area: str = "data") -> list[dict[str, Any]]:
    files = sorted(Path(fields["output"]).glob(f"{area}/*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


@pytest.mark.slow
def test_best_of_4_keeps_the_image_of_each_prompt_that_fits_it_best(build: Build, tmp_path: Path):
    fields = recipe("best-of-4", tmp_path, 3)
    figures = build(fields)
    kept, rejected = rows_in(fields), rows_in(fields, "rejected")
    assert (figures["generated"], len(kept), len(rejected)) == (12, 3, 9)
    for row in kept:
        assert row["score_fits"] >= max(other["score_fits"] for other in rejected if other["id"] == row["id"])


@pytest.mark.slow
def test_preferences_are_pairs_of_a_better_and_a_worse_image_of_one_prompt(build: Build, tmp_path: Path):
    fields = recipe("preferences", tmp_path, 4)
    build(fields)
    pairs = rows_in(fields, "pairs")
    assert 1 <= len(pairs) <= 4 * fields["pairs"]["most"]
    for pair in pairs:
        better, worse = (0, 1) if pair["label_0"] else (1, 0)
        assert pair[f"score_{better}"] - pair[f"score_{worse}"] >= fields["pairs"]["margin"] - 1e-6
        assert pair["image_key_0"] != pair["image_key_1"]


@pytest.mark.slow
def test_instruct_pix2pix_keeps_the_four_best_edits_that_pass_four_thresholds(build: Build, tmp_path: Path):
    fields = recipe("instruct-pix2pix", tmp_path, 2)
    figures = build(fields)
    kept, rejected = rows_in(fields), rows_in(fields, "rejected")
    edits = [row for row in rejected if row["edited_image"]]
    assert figures["generated"] == 2 * (4 + 12)
    assert {row["candidate"] for row in [*kept, *edits]} == set(range(12))
    for name in {row["id"] for row in kept}:
        mine = [row for row in kept if row["id"] == name]
        assert 1 <= len(mine) <= 4
        assert all(row["input_score_fits"] >= FITS <= row["score_fits"] for row in mine)
        assert all(row["score_keeps"] >= KEEPS and row["score_turns"] >= TURNS for row in mine)
        assert len({row["input_key"] for row in mine}) == 1
        others = [row["score_turns"] for row in edits if row["id"] == name and row["rejected_by"] == "not best"]
        assert min(row["score_turns"] for row in mine) >= max(others, default=-1.0)


@pytest.mark.slow
def test_curated_edits_are_of_the_rows_own_images_and_in_the_split_of_their_image(build: Build, tmp_path: Path):
    fields = recipe("curated-edits", tmp_path)
    figures = build(fields)
    kept, rejected = rows_in(fields), rows_in(fields, "rejected")
    assert (figures["generated"], len(kept) + len(rejected)) == (8 * 4, 8 * 4)
    assert 6 <= len(kept) <= 8
    assert len({(row["input_sha256"], row["split"]) for row in kept}) == len({row["input_sha256"] for row in kept}) == 4
    for row in kept:
        assert row["score_both"] == pytest.approx((row["score_fits"] + row["score_keeps"]) / 2, abs=1e-4)
        rivals = [other for other in rejected if other["id"] == row["id"] and other["rejected_by"] == "not best"]
        assert row["score_both"] >= max((other["score_both"] for other in rivals), default=-1.0)


@pytest.mark.slow
def test_curate_a_folder_rejects_near_duplicates_and_blurred_images_and_generates_nothing(build: Build, tmp_path: Path):
    folder = tmp_path / "images"
    shutil.copytree(ROOT / "data/samples/images", folder)
    with Image.open(folder / "red-circle.png") as image:
        image.convert("RGB").save(folder / "red-circle-again.jpg", quality=70)
    Image.new("RGB", (64, 64), "grey").save(folder / "blank.png")
    fields = recipe("curate-a-folder", tmp_path) | {"prompts": str(folder)}
    figures = build(fields)
    assert (figures["generated"], figures["rows"], figures["duplicates"]) == (0, 4, 1)
    assert sorted(row["rejected_by"] for row in rows_in(fields, "rejected")) == ["duplicate", "sharp"]
    plain = recipe("curate-a-folder", tmp_path)
    assert build(plain | {"output": str(tmp_path / "plain")})["rows"] == 4
