"""A build's images show what their prompts say: the judge reads them from the dataset's Parquet files."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmarks.judge import read
from imagemill.models.bundled.scenes import sample_edits
from imagemill.models.bundled.wording import describe, edited, instruct, scene_of
from tests.conftest import Build

ROWS = 32


@pytest.mark.slow
def test_nine_in_ten_images_of_a_build_match_their_prompts_and_edits(build: Build, tmp_path: Path):
    rng = np.random.default_rng(11)
    rows = [
        {"prompt": describe(before, rng), "edit_prompt": instruct(before, kind, after, rng)}
        for before, kind, after in sample_edits(rng, ROWS, held_out=True)
    ]
    prompts = tmp_path / "scenes.jsonl"
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "out"
    build({"prompts": str(prompts), "output": str(output), "generate": {"batch_size": 16}, "edit": {"batch_size": 16}})

    wrong = {}
    table = pq.read_table(next((output / "data").glob("*.parquet"))).to_pylist()
    for row in table:
        before, after = (
            read(Image.open(io.BytesIO(row[column]["bytes"]))) for column in ("input_image", "edited_image")
        )
        generated = before.differences(scene_of(row["prompt"]))
        changed = after.differences(edited(before.scene, row["edit_prompt"]))
        if generated or changed:
            wrong[f"{row['prompt']} > {row['edit_prompt']}"] = (generated, changed)
    assert len(table) == ROWS
    assert len(wrong) <= 0.1 * ROWS, wrong
