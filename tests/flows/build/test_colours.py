"""Images with a colour profile are edited in the colours that they show, and what was edited before stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagemill.data.images.codec import decode_image
from imagemill.flows.verify_dataset import verify_dataset
from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner
from tests.conftest import write_prompts
from tests.data.images.profiles import DISPLAY_P3, rgb_profile
from tests.flows.build.test_build_dataset import rows_of


@pytest.fixture
def given(fields: dict, tmp_path: Path) -> dict:
    """A recipe that edits an image with a Display P3 profile and one without."""
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    image.save(tmp_path / "p3.png", icc_profile=rgb_profile(DISPLAY_P3))
    image.save(tmp_path / "plain.png")
    write_prompts(Path(fields["prompts"]), [{"id": name, "images": f"{name}.png"} for name in ("p3", "plain")])
    return {**fields, "generate": None}


def images_of(output: str | Path) -> dict[str, bytes]:
    return {row["id"]: decode_image(row["edited_image"]["bytes"], "p").tobytes() for row in rows_of(output)}


def test_a_dataset_from_before_profiles_counted_keeps_its_images(build, given, tmp_path, monkeypatch, cluster):
    # Stands for the earlier version: no image is read otherwise than it read all.
    monkeypatch.setattr("imagemill.data.images.modes.Stored.reading", None)
    assert build(given)["generated"] == 2
    monkeypatch.undo()
    before = images_of(given["output"])
    again = build(given)
    assert (again["rows"], again["generated"], again["set_aside"]) == (2, 0, 0)
    assert images_of(given["output"]) == before

    flow = verify_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
    assert flow(given["output"], regenerate=2)["bit_equal"] == 2

    new = {**given, "output": str(tmp_path / "new"), "name": "new"}
    assert build(new)["generated"] == 2
    after = images_of(new["output"])
    assert (after["plain"], after["p3"] != before["p3"]) == (before["plain"], True)
    assert flow(new["output"], regenerate=2)["bit_equal"] == 2
    sources = {row["id"]: row["input_image"]["bytes"] for row in rows_of(new["output"])}
    assert sources == {name: (tmp_path / f"{name}.png").read_bytes() for name in ("p3", "plain")}
