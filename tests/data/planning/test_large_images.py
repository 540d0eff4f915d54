"""A row whose image exceeds a limit is set aside before it is decoded, unless the dataset has its image."""

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BadRow, BuildFailed
from imagemill.data.identity import digest
from imagemill.data.images.codec import decode_image
from imagemill.data.planning.load_rows import load_rows
from imagemill.data.planning.plan import make_plan, schema_of
from imagemill.data.planning.worklist import Worklist
from imagemill.models.drawing.measure_registry import measures_of
from imagemill.tasks.build_context import resolve_models

EDIT = {"edit": {"model": "bundled", "instructions": ["make it red"]}}
LIMIT = {"images": {"max_pixels": 1000}}


def png(width: int, height: int) -> bytes:
    """A PNG with this size in its header, of a few kilobytes whatever its size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    packer = zlib.compressobj(9)
    line = bytes(1 + (width + 7) // 8)
    content = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def tiff(width: int, height: int, tile: int) -> bytes:
    """A grey TIFF whose tiles have ``tile`` times ``tile`` pixels; its only tile is empty."""
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile, 324: 8, 325: 8}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


def plan(prompts: Path, output: Path, **fields):
    """The plan of a recipe, the reasons of its rows set aside, and the planned rows."""
    recipe = load_recipe({"prompts": str(prompts), "output": str(output), "name": "x", **fields})
    facts = {step: spec.facts() for step, spec in resolve_models(recipe).items()}
    with Worklist.create(output.parent / "plan.sqlite") as worklist:
        loaded = load_rows(recipe, worklist, output.parent / "given")
        schema = schema_of(recipe, loaded, measures_of)
        found = make_plan(recipe, worklist, Folder(output), schema, facts, {})
        return found, [fault.reason for fault in worklist.faults()], worklist.shard(0)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_reason_names_size_and_limit_and_the_line_that_raises_it(tmp_path):
    (tmp_path / "big.png").write_bytes(png(8000, 5000))
    Image.new("RGB", (32, 32)).save(tmp_path / "small.png")
    prompts = write(tmp_path / "p.jsonl", [{"prompt": "a", "images": name} for name in ("big.png", "small.png")])
    found, reasons, rows = plan(prompts, tmp_path / "out", **EDIT)
    assert (found.set_aside, len(rows)) == (1, 1)
    assert reasons == [
        f"the image '{tmp_path}/big.png' has 8000 x 5000 pixels, and recipe.images.max_pixels is 32,000,000: make it "
        "smaller, or write images: {max_pixels: 40000000}"
    ]
    found, reasons, rows = plan(prompts, tmp_path / "out", images={"max_pixels": 40_000_000}, **EDIT)
    assert (found.set_aside, reasons, len(rows)) == (0, [], 2)


@pytest.mark.parametrize(
    ("size", "limit", "others"),
    [
        ((1, 1), "min_side is 16: write images: {min_side: 1} if it is no mistake", (16, 16)),
        ((300, 15), "min_side is 16: write images: {min_side: 15} if it is no mistake", (320, 16)),
        ((17, 341), "max_ratio is 20: write images: {max_ratio: 21} if it is no mistake", (17, 340)),
    ],
)
def test_an_image_that_is_too_small_or_too_narrow_is_set_aside(tmp_path, size, limit, others):
    Image.new("RGB", size).save(tmp_path / "odd.png")
    Image.new("RGB", others).save(tmp_path / "good.png")
    prompts = write(tmp_path / "p.jsonl", [{"prompt": "a", "images": name} for name in ("odd.png", "good.png")])
    _, (reason,), (row,) = plan(prompts, tmp_path / "out", **EDIT)
    has = f"the image '{tmp_path}/odd.png' has {size[0]} x {size[1]} pixels, and recipe.images."
    assert reason == has + limit
    assert row.final.source_path.endswith("good.png")
    limits = {"min_side": 1, "max_ratio": 400}
    _, reasons, rows = plan(prompts, tmp_path / "out", images=limits, **EDIT)
    assert (reasons, len(rows)) == ([], 2)


def test_on_bad_row_stop_counts_for_it_too(tmp_path):
    (tmp_path / "big.png").write_bytes(png(100, 100))
    prompts = write(tmp_path / "p.jsonl", [{"prompt": "a", "images": "big.png"}])
    with pytest.raises(BuildFailed, match=r"line 1: .* 100 x 100 pixels"):
        plan(prompts, tmp_path / "out", on_bad_row="stop", **LIMIT, **EDIT)


@pytest.mark.parametrize("suffix", ["png", "jpeg", "webp", "bmp", "tiff", "gif", "avif"])
def test_every_format_is_measured(tmp_path, suffix):
    Image.new("RGB", (50, 40)).save(tmp_path / f"a.{suffix}")
    prompts = write(tmp_path / "p.jsonl", [{"prompt": "a", "images": f"a.{suffix}"}])
    _, (reason,), rows = plan(prompts, tmp_path / "out", **LIMIT, **EDIT)
    assert "has 50 x 40 pixels" in reason
    assert rows == []


def test_the_tile_of_a_tiff_counts_where_it_is_larger_than_the_image(tmp_path):
    (tmp_path / "a.tiff").write_bytes(tiff(16, 16, tile=60_000))
    prompts = write(tmp_path / "p.jsonl", [{"prompt": "a", "images": "a.tiff"}])
    with pytest.raises(BadRow, match="60000 x 60000 pixels"):
        decode_image((tmp_path / "a.tiff").read_bytes(), "a.tiff")
    with pytest.raises(Exception, match="60000 x 60000 pixels"):
        plan(prompts, tmp_path / "out", **EDIT)


ROLES = {
    "mask": ({"images": "small.png", "mask": "big.png"}, {"edit": {**EDIT["edit"], "task": "inpaint"}}),
    "second image": ({"images": ["small.png", "big.png"]}, {"edit": {**EDIT["edit"], "references": True}}),
    "control image": ({"control_image": "big.png"}, {"generate": {"controlnet": "org/name"}}),
    "image prompt": (
        {"image_prompt": "big.png"},
        {"generate": {"ip_adapter": {"model": "org/name", "weight_name": "w.safetensors"}}},
    ),
}


@pytest.mark.parametrize("role", ROLES)
def test_every_image_of_a_row_is_measured(tmp_path, role):
    row, recipe = ROLES[role]
    (tmp_path / "big.png").write_bytes(png(100, 100))
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    prompts = write(tmp_path / "p.jsonl", [{"prompt": "a", **row}])
    fields = {"prompts": str(prompts), "output": str(tmp_path / "out"), **recipe, **LIMIT}
    with Worklist.create(tmp_path / "plan.sqlite") as worklist:
        load_rows(load_recipe(fields), worklist)
        (found,) = worklist.rows()
    assert "big.png' has 100 x 100 pixels" in found.doubt


def test_an_embedded_image_is_measured(tmp_path):
    table = pa.table({"prompt": ["a"], "images": [{"bytes": png(100, 100), "path": "a.png"}]})
    pq.write_table(table, tmp_path / "p.parquet")
    _, (reason,), _ = plan(tmp_path / "p.parquet", tmp_path / "out", **LIMIT, **EDIT)
    assert "the image 'a.png' has 100 x 100 pixels" in reason


def test_the_limit_changes_no_id_key_or_seed(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    prompts = write(tmp_path / "p.jsonl", [{"prompt": "a", "images": "a.png"}])
    _, _, rows = plan(prompts, tmp_path / "out", **EDIT)
    _, _, others = plan(prompts, tmp_path / "out", images={"max_pixels": 5000}, **EDIT)
    assert digest([row.to_json() for row in rows]) == digest([row.to_json() for row in others])


LOAD = """
import resource, sys
from pathlib import Path
from tests.data.planning.test_large_images import EDIT, plan
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 64 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
folder = Path(sys.argv[1])
_, reasons, rows = plan(folder / "p.jsonl", folder / "out", **EDIT)
assert len(reasons) == 4 and rows == [], reasons
"""


@pytest.mark.slow
def test_images_of_a_hundred_megapixels_take_no_memory(tmp_path):
    (tmp_path / "big.png").write_bytes(png(9999, 10_000))
    assert (tmp_path / "big.png").stat().st_size < 20_000
    write(tmp_path / "p.jsonl", [{"prompt": f"a {number}", "images": "big.png"} for number in range(4)])
    done = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1500:]
