"""Every family of pipelines, from a recipe that names its folder to images in Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.images.codec import decode_image
from imagemill.models.catalog.tried import SAVED, TRIED
from tests.commands import Report, recipe_file
from tests.conftest import Build, write_prompts
from tests.models.tiny import save_tiny

SAVED_ONES = [(family, task) for family, tasks in TRIED.items() for task, how in tasks.items() if how == SAVED]
EDITORS = [(family, task) for family, task in SAVED_ONES if task not in ("text-to-image", "inpaint")]
GENERATORS = [family for family, task in SAVED_ONES if task == "text-to-image"]
PAIRS = [
    (GENERATORS[number % len(GENERATORS)], *EDITORS[number % len(EDITORS)])
    for number in range(max(len(GENERATORS), len(EDITORS)))
]


@pytest.mark.parametrize(("generator", "editor", "task"), PAIRS)
def test_a_build_with_every_family_ends_with_its_images(
    build: Build, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, generator: str, editor: str, task: str
):
    models = tmp_path_factory.getbasetemp() / "families"
    small = {"steps": 4, "batch_size": 2}
    write_prompts(tmp_path / "prompts.jsonl", ["a fox", "a kite in the rain"])
    fields: dict[str, Any] = {
        "prompts": str(tmp_path / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "generate": {"model": str(save_tiny(generator, models)), "width": 64, "height": 96, **small},
        "edit": {"model": str(save_tiny(editor, models)), "task": task, "instructions": ["make it red"], **small},
    }
    figures = build(fields)
    assert (figures["status"], figures["rows"], figures["generated"]) == ("complete", 2, 4)
    rows = [row for path in (tmp_path / "out/data").iterdir() for row in pq.read_table(path).to_pylist()]
    for column in ("input_image", "edited_image"):
        images = [decode_image(row[column]["bytes"], column) for row in rows]
        assert [image.size for image in images] == [(64, 96)] * 2
        assert images[0].tobytes() != images[1].tobytes()


def test_a_row_with_too_few_steps_for_the_strength_is_set_aside(report: Report, model: Path, tmp_path: Path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    rows = [{"images": "red.png", "edit_prompt": "a fox", "steps": steps} for steps in (2, 3)]
    write_prompts(tmp_path / "prompts.jsonl", rows)
    fields = {
        "prompts": str(tmp_path / "prompts.jsonl"),
        "output": str(tmp_path / "out"),
        "edit": {"model": str(model), "task": "image-to-image"},
    }
    code, planned = report("plan", recipe_file(fields))
    assert (code, planned["images"], planned["set_aside"]) == (0, 1, 1)
