"""Builds whose rows name their images by URL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagemill.data.dataset.reader import read_rows
from tests.conftest import Build, write_prompts
from tests.data.prompts.test_image_fetcher import Site, png, site

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
    assert sorted(site.asked) == ["/blue.png", "/gone.png", "/red.png"]
    assert not (output / ".imagemill" / "given").exists()
    again = build(fields)
    assert (again["rows"], again["generated"]) == (2, 0)
