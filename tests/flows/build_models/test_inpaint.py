"""Inpainting with a row's mask, stored beside the images: white is repainted, black is unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.images.codec import decode_image
from tests.commands import Report
from tests.conftest import Build, write_prompts
from tests.flows.build.test_build_dataset import rows_of
from tests.models.tiny import save_tiny


@pytest.fixture
def painted(tmp_path: Path) -> dict[str, Any]:
    """The fields of a recipe that repaints the right half of one image and the left half of the other."""
    for name in ("slope", "ring"):
        (Image.linear_gradient if name == "slope" else Image.radial_gradient)("L").resize((64, 96)).convert("RGB").save(
            tmp_path / f"{name}.png"
        )
    for name, box in (("right", (32, 0, 64, 96)), ("left", (0, 0, 32, 96))):
        mask = Image.new("L", (64, 96))
        mask.paste(255, box)
        mask.save(tmp_path / f"{name}.png")
    rows = [
        {"id": "slope", "images": "slope.png", "mask": "right.png", "edit_prompt": "a fox"},
        {"id": "ring", "images": "ring.png", "mask": "left.png", "edit_prompt": "a fox"},
    ]
    write_prompts(tmp_path / "prompts.jsonl", rows)
    model = save_tiny("StableDiffusionInpaintPipeline", tmp_path)
    return {
        "prompts": str(tmp_path / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "edit": {"model": str(model), "task": "inpaint", "steps": 2, "batch_size": 2},
        "max_set_aside": 1.0,
    }


def test_white_is_repainted_and_black_is_unchanged(
    build: Build, report: Report, cluster: str, painted: dict, tmp_path: Path
):
    assert build(painted)["generated"] == 2
    halves = {"slope.png": (slice(32, 64), slice(0, 32)), "ring.png": (slice(0, 32), slice(32, 64))}
    for row in rows_of(Path(painted["output"])):
        before, after = (np.asarray(decode_image(row[name]["bytes"], name)) for name in ("input_image", "edited_image"))
        white, black = halves[row["input_image"]["path"]]
        assert (before[:, black] == after[:, black]).all()
        assert (before[:, white] != after[:, white]).any(axis=2).mean() > 0.9
        assert row["mask_image"]["bytes"] == (tmp_path / row["mask_image"]["path"]).read_bytes()
    code, verified = report("verify", painted["output"], "--regenerate", "2", "--cluster", cluster)
    assert (code, verified["regenerated"], verified["bit_equal"]) == (0, 2, 2)


def test_images_and_masks_in_parquet_are_those_of_the_files(build: Build, painted: dict, tmp_path: Path):
    rows = [json.loads(line) for line in Path(painted["prompts"]).read_text().splitlines()]
    embedded = [
        {**row, "images": (tmp_path / row["images"]).read_bytes(), "mask": (tmp_path / row["mask"]).read_bytes()}
        for row in rows
    ]
    # As `datasets` writes images, and as plain bytes.
    embedded[0]["mask"], embedded[1]["mask"] = (
        {"bytes": row["mask"], "path": row["id"] + "-mask.png"} for row in embedded
    )
    pq.write_table(pa.Table.from_pylist(embedded), tmp_path / "embedded.parquet")
    assert build(painted, {"prompts": str(tmp_path / "embedded.parquet")})["generated"] == 2
    for row, given in zip(rows_of(painted["output"]), rows, strict=True):
        assert row["mask_image"] == {"bytes": (tmp_path / given["mask"]).read_bytes(), "path": row["id"] + "-mask.png"}
        assert row["input_image"]["bytes"] == (tmp_path / given["images"]).read_bytes()
    assert build(painted)["planned"] == 0


def test_a_changed_mask_regenerates_only_its_row(build: Build, painted: dict, tmp_path: Path):
    build(painted)
    mask = Image.new("L", (64, 96))
    mask.paste(255, (40, 0, 64, 96))
    mask.save(tmp_path / "right.png")
    assert build(painted)["generated"] == 1
    assert build(painted, {"edit.keep_unmasked": False})["generated"] == 2


def test_rows_with_unusable_masks_are_set_aside(build: Build, painted: dict, tmp_path: Path):
    Image.new("L", (64, 64), 255).save(tmp_path / "small.png")
    Image.new("L", (64, 96)).save(tmp_path / "black.png")
    masks = ["right.png", "small.png", "black.png", "absent.png", None]
    rows = [{"images": "slope.png", "mask": mask, "edit_prompt": "a fox"} for mask in masks]
    write_prompts(tmp_path / "prompts.jsonl", rows)
    assert build(painted)["rows"] == 1
    reasons = (Path(painted["output"]) / "set_aside.jsonl").read_text()
    for words in (
        "64 x 64 pixels, and its image 64 x 96",
        "black all over",
        "absent.png",
        "the mask is empty ('mask')",
    ):
        assert words in reasons


def test_without_inpainting_a_column_of_that_name_is_carried(build: Build, fields: dict, tmp_path: Path):
    write_prompts(Path(fields["prompts"]), [{"prompt": "a fox", "mask": "nowhere.png"}])
    build(fields, {"edit": None})
    assert [row["mask"] for row in rows_of(Path(fields["output"]))] == ["nowhere.png"]
    assert "mask_image" not in pq.read_schema(next((Path(fields["output"]) / "data").iterdir())).names
