"""Fixtures for the tests of data/: a prompts file loaded into a worklist, a dataset's schema and rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.images.codec import Encoding, encode_image
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.loaded import Loaded
from imagemill.data.planning.worklist import Worklist
from imagemill.data.prompts.row import Row
from imagemill.data.records import SetAside
from tests.conftest import ROOT

SAMPLES = ROOT / "data" / "samples"


@dataclass(frozen=True)
class Outcome:
    """Result of loading a prompts file."""

    loaded: Loaded
    rows: list[Row]
    faults: list[SetAside]

    @property
    def row(self) -> Row:
        (row,) = self.rows
        return row

    @property
    def reason(self) -> str:
        (fault,) = self.faults
        return fault.reason


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Outcome]:
    """Loads ``content`` (text, bytes, a list of JSON rows, or None for an existing file) as a prompts file."""

    def load(content: str | bytes | list[Any] | None, name: str = "prompts.jsonl", **fields: Any) -> Outcome:
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in content)
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        if not {"generate", "edit"} & set(fields):
            fields["generate"] = {}
        recipe = load_recipe({"prompts": str(path), "output": str(tmp_path / "out"), **fields})
        with Worklist.create(tmp_path / "work" / "plan.sqlite") as worklist:
            loaded = load_rows(recipe, worklist)
            return Outcome(loaded, list(worklist.rows()), list(worklist.faults()))

    return load


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small red image next to the prompts file."""
    path = tmp_path / "images" / "red.png"
    path.parent.mkdir()
    Image.new("RGB", (24, 16), "red").save(path)
    return path


@pytest.fixture
def schema() -> DatasetSchema:
    """A text-to-image dataset with four carried columns."""
    carried = {"note": "str", "score": "float", "count": "int", "tags": "json"}
    return DatasetSchema(chained=False, edits=False, encoding=Encoding("png"), carried=carried)


@pytest.fixture
def dataset_rows() -> list[dict[str, Any]]:
    """Three rows of that dataset, with real PNG images."""
    rows = []
    for number, colour in enumerate(("red", "green", "blue")):
        content = encode_image(Image.new("RGB", (8, 6), colour), Encoding("png"), "a prompt")
        rows.append(
            {
                "image": {"bytes": content, "path": f"{number}.png"},
                "prompt": f"all {colour}",
                "id": f"row-{number}",
                "variant": 0,
                "negative_prompt": None,
                "seed": 2**32 - 1 - number,
                "model": "bundled",
                "model_revision": "abc",
                "steps": 4,
                "guidance_scale": None,
                "batch_size": 2,
                "width": 8,
                "height": 6,
                "sha256": f"{number:064x}",
                "image_key": f"{number:032x}",
                "row_key": f"{number + 16:032x}",
                "note": "né" if number else None,
                "score": 0.5 + number,
                "count": number,
                "tags": '["a"]',
            }
        )
    return rows


@pytest.fixture
def begun_before(tmp_path: Path) -> None:
    """The output of ``load`` holds a dataset that an earlier version began, whose rows are read as they were then."""
    about = tmp_path / "out" / ".imagemill" / "folder.json"
    about.parent.mkdir(parents=True)
    about.write_text('{"name": "out", "pinned": {}}')
