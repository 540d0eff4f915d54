"""A row's image in the forms that datasets have: as text, in an object, under a name as another system writes it."""

from __future__ import annotations

import base64
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagemill.data.config.images import Images
from imagemill.data.errors import BadRow
from imagemill.data.images.codec import inspect_image
from imagemill.data.prompts import row_images
from imagemill.data.prompts.image_fetcher import ImageFetcher
from imagemill.data.prompts.image_locations import ImageLocations
from tests.data.prompts.test_image_fetcher import EDIT
from tests.data.web_site import png

RED = png("red")
TEXT = base64.b64encode(RED).decode()


@pytest.mark.parametrize(
    "form",
    [
        f"data:image/png;base64,{TEXT}",
        f"DATA:;BASE64,{TEXT}",
        f"data:image/png;base64,{TEXT.rstrip('=')}",
        "data:image/png," + "".join(f"%{byte:02x}" for byte in RED),
        TEXT,
        "\n".join(TEXT[start : start + 76] for start in range(0, len(TEXT), 76)),
        {"bytes": TEXT},
        {"bytes": f"data:image/png;base64,{TEXT}", "path": None, "height": 5},
        {"url": f"data:image/png;base64,{TEXT}"},
        {"url": "red.png"},
        {"path": "red.png"},
        {"path": "red.png", "bytes": None, "width": 3},
        "file://{folder}/red.png",
        "FILE://{folder}/red.png",
        ["red.png"],
        "['red.png']",
        '["red.png"]',
        " red.png ",
        "./red.png",
        ".\\red.png",
        "{folder}/red.png",
    ],
    ids=lambda form: str(form)[:30],
)
@pytest.mark.parametrize("column", ["images", "mask"])
def test_an_image_is_read_in_every_form_and_is_the_same(load, tmp_path, form, column):
    (tmp_path / "red.png").write_bytes(RED)
    (tmp_path / "other.png").write_bytes(png("blue"))
    form = form.replace("{folder}", str(tmp_path)) if isinstance(form, str) else form
    row = {"images": "other.png", "mask": "other.png", column: form}
    found = load([row], edit={"task": "inpaint", "instructions": ["a"]}).row
    assert (found.image_hash if column == "images" else found.mask_hash) == inspect_image(tmp_path / "red.png").sha256
    assert Path(found.image or "").is_file()


def test_an_object_with_more_than_bytes_and_path_is_read_from_parquet(load, tmp_path):
    rows = [{"images": {"bytes": RED, "path": "a.png", "height": 3}, "edit_prompt": "x"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    assert Path(load(None, "p.parquet", edit={}).row.image).name == "a.png"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("data:image/png;base64," + "!" * 5000, "the image in 'images' is not base64"),
        ("data:image/png;base64" + "x" * 5000, "the data: URI in 'images' has no comma before its content"),
        (
            "data:image/png;base64," + TEXT[:40] * 500,
            "undecodable image: 'bytes in images' is a PNG image, but damaged",
        ),
        ("data:image/png;base64,", "undecodable image: 'bytes in images' is empty: it has 0 bytes"),
        ("iVBORw0KGgo" * 500, "is"),
        ({"src": "x" * 5000}, "no image: 'images' must be a path or a list of one"),
    ],
)
def test_a_bad_image_in_a_text_costs_its_row_and_is_not_repeated(load, tmp_path, value, reason):
    (tmp_path / "red.png").write_bytes(RED)
    found = load([{"images": value}, {"images": "red.png"}], **EDIT)
    assert reason in found.reason
    assert len(found.reason) < 250


def test_a_name_that_is_not_there_is_read_as_its_writer_may_have_meant_it(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "red.png").write_bytes(RED)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "red.png").write_bytes(RED)
    decomposed = tmp_path / unicodedata.normalize("NFD", "é.png")
    decomposed.write_bytes(RED)
    rows = [{"images": name} for name in ("~/red.png", "sub\\red.png", unicodedata.normalize("NFC", "é.png"))]
    assert [row.image for row in load(rows, **EDIT).rows] == [
        str(tmp_path / "home" / "red.png"),
        str(tmp_path / "sub" / "red.png"),
        str(decomposed),
    ]


def test_a_file_of_exactly_the_name_comes_first(load, tmp_path):
    names = [" red.png", "sub\\red.png", "~"]
    for name in [*names, "red.png"]:
        (tmp_path / name).write_bytes(RED)
    rows = [{"images": name} for name in names]
    assert [row.image for row in load(rows, **EDIT).rows] == [str(tmp_path / name) for name in names]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("C:\\pics\\red.png", "it is a path on Windows"),
        ("\\\\server\\share\\red.png", "it is a path on Windows"),
        ("['a.png' 'b.png']", "write a list in JSON"),
    ],
)
def test_the_reason_says_what_may_be_wrong_with_a_name(load, tmp_path, name, hint):
    (tmp_path / "red.png").write_bytes(RED)
    reason = load([{"images": name}, {"images": "red.png"}], **EDIT).reason
    assert reason.startswith("missing image: ")
    assert hint in reason


def test_a_file_that_many_rows_name_is_read_once_unless_it_changes(load, tmp_path, monkeypatch):
    read = []

    def counted(path, name=None, truncated=False):
        read.append(path.name)
        return inspect_image(path, name, truncated)

    monkeypatch.setattr(row_images, "inspect_image", counted)
    (tmp_path / "red.png").write_bytes(RED)
    (tmp_path / "bad.png").write_bytes(b"no image")
    names = ["red.png"] * 300 + ["bad.png"] * 300
    found = load([{"images": name, "id": number} for number, name in enumerate(names)], **EDIT)
    assert (len(found.rows), len(found.faults), sorted(read)) == (300, 300, ["bad.png", "red.png"])
    assert len({fault.reason for fault in found.faults}) == 1


def test_prompts_from_elsewhere_may_hold_their_images_and_name_none_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "red.png").write_bytes(RED)
    locations = ImageLocations("https://prompts.invalid/p.jsonl")
    with ImageFetcher(tmp_path / "given", locations) as fetcher:
        images = row_images.RowImages(locations, fetcher, Images())
        assert (
            images.inspect(f"data:image/png;base64,{TEXT}", "images")[1] == inspect_image(tmp_path / "red.png").sha256
        )
        for name in (f"{tmp_path}/red.png", f"file://{tmp_path}/red.png", f" file://{tmp_path}/red.png"):
            with pytest.raises(BadRow, match="a path on this machine"):
                images.inspect(name, "images")
    assert all(locations.resolve(name).startswith("https://prompts.invalid/") for name in ("~/a", " /etc/a", "b\\c"))
