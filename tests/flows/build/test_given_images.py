"""Builds whose rows name their images by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemill.data.dataset.reader import read_rows
from tests.conftest import Build, write_prompts
from tests.data.prompts.conftest import site
from tests.data.web_site import Site, png

__all__ = ["site"]


@pytest.mark.slow
def test_images_at_urls_are_edited_once_and_their_cache_is_removed(build: Build, fields: dict[str, Any], site: Site):
    del fields["generate"]
    names = ("red", "blue", "gone")
    write_prompts(Path(fields["prompts"]), [{"images": [f"{site.address}/{name}.png"], "id": name} for name in names])
    fields["max_set_aside"] = 1.0
    figures = build(fields)
    assert (figures["rows"], figures["generated"], figures["set_aside"]) == (2, 2, 1)
    output = Path(fields["output"])
    rows = {row["id"]: row for row in read_rows(next((output / "data").iterdir()))}
    assert {name: row["input_image"] for name, row in rows.items()} == {
        name: {"bytes": png(name), "path": f"{name}.png"} for name in ("red", "blue")
    }
    assert sorted(site.requests) == ["/blue.png", "/gone.png", "/red.png"]
    assert not (output / ".imagemill" / "given").exists()
    again = build(fields)
    assert (again["rows"], again["generated"]) == (2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [{"max_pixels": 1000}, {"min_side": 65}, {"max_ratio": 1.2}])
def test_an_image_that_the_dataset_has_may_exceed_a_limit_for_new_ones(
    build: Build, fields: dict[str, Any], tmp_path: Path, limit: dict[str, float]
):
    del fields["generate"]
    fields |= {"max_set_aside": 1.0}
    for name in ("a", "b"):
        Image.new("RGB", (64, 48), "red" if name == "a" else "blue").save(tmp_path / f"{name}.png")
    write_prompts(Path(fields["prompts"]), [{"images": "a.png", "id": "a"}])
    first = build(fields)
    assert (first["rows"], first["generated"]) == (1, 1)
    fields |= {"images": limit}
    assert (build(fields)["generated"], build(fields)["set_aside"]) == (0, 0)
    # A column more changes the row, and not its image.
    write_prompts(
        Path(fields["prompts"]), [{"images": "a.png", "id": "a", "label": "x"}, {"images": "b.png", "id": "b"}]
    )
    figures = build(fields)
    assert (figures["rows"], figures["generated"], figures["set_aside"]) == (1, 0, 1)
    assert figures["fingerprint"] == first["fingerprint"]
    assert "b.png' has 64 x 48 pixels" in Path(fields["output"], "set_aside.jsonl").read_text()
