"""A gallery of hostile rows, and clients with and without its cookie."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from imagemill.data.view.gallery import Gallery
from imagemill.flows.view.app import make_app
from imagemill.flows.view.door import OPEN, Door
from tests.data.view import datasets
from tests.data.view.datasets import image_row, shape, write_manifest, write_part

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=1>",
    "\"><svg onload=window.hacked=1><b x='",
    "{{ 7 * 7 }} {% raw %} ${hacked} </title></textarea></style>",
    "javascript:window.hacked=1",
    "\u202eright to left\u2066 \x1b[31mred\x07 \x00 end",
    "a" * 100_000,
    "' or 1=1 -- %_\\",
)


def hostile(output: Path) -> None:
    """A dataset whose every text is markup: prompts, ids, a column's name, reasons, runs and the dataset's name."""
    rows = [
        image_row(number, shape(number * 40), text, style=text, score_fits=number / 10) | {"id": text}
        for number, text in enumerate(HOSTILE)
    ]
    files = [write_part(output, "data", 0, rows)]
    rejected = [{**row, "row_key": f"{number:032x}", "rejected_by": row["prompt"]} for number, row in enumerate(rows)]
    write_part(output, "rejected", 0, rejected)
    datasets.write_pairs(
        output, [{"prompt": row["prompt"], "image_0": row["image"], "image_1": None, "label_0": 1} for row in rows]
    )
    scorers = {"fits": {"kind": "similarity"}, HOSTILE[0]: {}}
    write_manifest(output, files, {"scorers": scorers})
    datasets.write_lines(output / "runs.jsonl", [{"status": text, "error": text, text: text} for text in HOSTILE])
    aside = [{"stage": text, "id": text, "file": text, "line": 1, "reason": text} for text in HOSTILE]
    datasets.write_lines(output / "set_aside.jsonl", aside)


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """The folder of a dataset with scores and rejected candidates."""
    output = tmp_path / "judged"
    datasets.judged(output, prompts=30, candidates=4, size=48)
    return output


@pytest.fixture
def door(judged: Path) -> Door:
    """The door before that dataset's gallery."""
    return Door(make_app(Gallery(judged)), 5000)


def opened(output: Path) -> TestClient:
    """A client with the cookie of a gallery's door."""
    door = Door(make_app(Gallery(output)), 5000)
    client = TestClient(door, base_url="http://127.0.0.1:5000")
    assert client.get(OPEN + door.new_token(), follow_redirects=False).status_code == 303
    return client


@pytest.fixture
def client(judged: Path) -> Iterator[TestClient]:
    """A client that has opened the gallery."""
    with closing(opened(judged)) as client:
        yield client
