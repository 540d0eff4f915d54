"""Datasets for the gallery, written without a model: rows with scores, rejected candidates, edits, turns and pairs."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image, ImageDraw

from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.files.outcomes import OutcomeColumn
from imagemill.data.dataset.files.shard_files import file_name
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.images.codec import Encoding

PNG = Encoding("png")

IMAGES_ONLY = DatasetSchema(chained=False, edits=False, encoding=PNG, carried={"style": "str"})
EDITS = DatasetSchema(chained=True, edits=True, encoding=PNG, carried={})
TURNS = DatasetSchema(chained=True, edits=True, encoding=PNG, carried={}, has_turns=True)

SCORES = (
    OutcomeColumn("score_fits", "float32"),
    OutcomeColumn("score_looks", "float32"),
    OutcomeColumn("candidate", "int"),
    OutcomeColumn("split", "str"),
)


def shape(hue: int, size: int = 96, mark: int = 0) -> bytes:
    """A PNG with a disc of this hue (0 to 359) on a dark ground; ``mark`` moves it."""
    image = Image.new("HSV", (size, size), (hue * 255 // 360, 60, 70)).convert("RGB")
    colour = Image.new("HSV", (1, 1), (hue * 255 // 360, 200, 240)).convert("RGB").getpixel((0, 0))
    left, top = size * (15 + mark % 40) // 100, size * (20 + mark % 30) // 100
    ImageDraw.Draw(image).ellipse((left, top, left + size * 45 // 100, top + size * 45 // 100), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def image_row(number: int, content: bytes, prompt: str, **more: Any) -> dict[str, Any]:
    """A row of a text-to-image dataset."""
    key = hashlib.sha256(f"{number} {more.get('variant', 0)} {more.get('turn_index')}".encode()).hexdigest()[:32]
    return {
        "image": {"bytes": content, "path": f"{key}.png"},
        "prompt": prompt,
        "id": f"row-{number}",
        "variant": 0,
        "seed": 1000 + number,
        "model": "a-model",
        "steps": 4,
        "batch_size": 8,
        "width": 96,
        "height": 96,
        "sha256": hashlib.sha256(content).hexdigest(),
        "image_key": key,
        "row_key": key,
        **more,
    }


def edit_row(number: int, source: bytes, content: bytes, prompt: str, instruction: str, **more: Any) -> dict[str, Any]:
    """A row of a dataset of edits."""
    row = image_row(number, content, prompt, **more)
    row["edited_image"] = row.pop("image")
    return {**row, "input_image": {"bytes": source, "path": "input.png"}, "edit_prompt": instruction}


def write_part(
    output: Path,
    area: str,
    number: int,
    rows: Iterable[Mapping[str, Any]],
    schema: DatasetSchema = IMAGES_ONLY,
    outcomes: Sequence[OutcomeColumn] = SCORES,
    split: str = "train",
) -> dict[str, Any]:
    """Write one file of a dataset; returns its entry in the manifest."""
    folder, scratch = output / area, output / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    schema = replace(schema, outcomes=tuple(outcomes))
    file = write_rows(scratch, schema.rejected() if area == "rejected" else schema, rows)
    name = file_name(number, file.sha256, split)
    scratch.rename(folder / name)
    return {"name": name, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256}


def write_pairs(output: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write preference pairs: prompt, image_0 and image_1 (bytes), label_0, score_0, score_1."""
    images = [("image_0", IMAGE), ("image_1", IMAGE), ("label_0", pa.int32()), ("label_1", pa.int32())]
    schema = pa.schema([("prompt", pa.string()), *images, ("score_0", pa.float32()), ("score_1", pa.float32())])
    (output / "pairs").mkdir(parents=True, exist_ok=True)

    class Pairs:
        @staticmethod
        def arrow() -> pa.Schema:
            return schema

    file = write_rows(output / "scratch", Pairs, rows)  # type: ignore[arg-type]
    (output / "scratch").rename(output / "pairs" / file_name(0, file.sha256))


def write_manifest(output: Path, files: list[dict[str, Any]], recipe: Mapping[str, Any] | None = None) -> None:
    """Write manifest.json for these files of data/."""
    manifest = {
        "name": "shapes",
        "fingerprint": "0" * 64,
        "rows": sum(file["rows"] for file in files),
        "bytes": sum(file["bytes"] for file in files),
        "files": files,
        "models": {},
        "recipe": {"name": "shapes", "generate": {"model": "a-model"}, **(recipe or {})},
        "pinned": {},
        "versions": {},
        "hardware": {"machine": "x86_64", "devices": []},
    }
    (output / "manifest.json").write_text(json.dumps(manifest))


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def begin(output: Path) -> None:
    """Make the folder of a dataset whose build has just begun."""
    (output / ".imagemill").mkdir(parents=True)
    (output / ".imagemill" / "folder.json").write_text(json.dumps({"name": "shapes", "pinned": {}}))


THINGS = ("disc", "moon", "coin", "ball", "sun", "pearl")


def judged(output: Path, prompts: int = 40, candidates: int = 4, size: int = 96) -> None:
    """A finished dataset with scores: of each prompt's candidates the first that fits stays, others are rejected."""
    kept: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for number in range(prompts):
        thing = THINGS[number % len(THINGS)]
        prompt = f"a {thing} of hue {number * 360 // prompts}, seen from above, number {number}"
        chosen = False
        for candidate in range(candidates):
            digest = hashlib.sha256(f"{number} {candidate}".encode()).digest()
            fits, looks = round((digest[0] + digest[1]) / 510, 4), round(5 + digest[2] / 60, 4)
            content = shape(number * 360 // prompts, size, mark=digest[3])
            row = image_row(number, content, prompt, variant=candidate, style="flat" if number % 3 else 'it\'s "deep"')
            row |= {"candidate": candidate, "score_fits": fits, "score_looks": looks if number % 7 else None}
            if fits >= 0.4 and not chosen:
                chosen = True
                kept.append(row)
            else:
                rejected.append({**row, "rejected_at": "generate", "rejected_by": "fits" if fits < 0.4 else "surplus"})
    half = len(kept) // 2
    files = [write_part(output, "data", 0, kept[:half]), write_part(output, "data", 1, kept[half:-2])]
    files.append(write_part(output, "data", 2, kept[-2:], split="test"))
    write_part(output, "rejected", 0, rejected)
    pairs = [(better, worse) for better, worse in zip(kept, rejected, strict=False) if better["score_fits"]][:5]
    write_pairs(
        output,
        [
            {"prompt": better["prompt"], "image_0": worse["image"], "image_1": better["image"], "label_0": 0}
            | {"label_1": 1, "score_0": worse["score_fits"], "score_1": better["score_fits"]}
            for better, worse in pairs
        ],
    )
    scorers = {
        "fits": {"kind": "similarity", "model": "bundled-clip"},
        "looks": {"kind": "head", "model": "a", "head": "b"},
    }
    select = {"of": candidates, "where": {"fits": {"min": 0.4}}}
    write_manifest(output, files, {"generate": {"model": "a-model", "select": select}, "scorers": scorers})
    run = {"started": "2026-11-29T10:00:00+00:00", "seconds": 93.2, "status": "complete", "planned": 160}
    run |= {"reused": 0, "generated": 160, "set_aside": 1, "images_per_second": 1.72, "device_idle": 0.031}
    lines = [
        {**run, "started": "2026-11-28T10:00:00+00:00", "status": "failed", "error": "RecipeError: no <b>model</b>"}
    ]
    (output / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, run]))
    aside = {"stage": "load", "id": None, "file": "prompts.jsonl", "line": 7, "reason": "the prompt is empty"}
    write_lines(output / "set_aside.jsonl", [aside])


def conversations(output: Path) -> None:
    """Edits in turns: two images, each edited three times."""
    rows = []
    for number in range(2):
        source = shape(number * 100, 128)
        for turn, instruction in enumerate(("make it red", "move it left", "make it larger"), 1):
            content = shape((number * 100 + turn * 60) % 360, 128, mark=turn * 9)
            rows.append(edit_row(number, source, content, "a ring", instruction, turn_index=turn))
            source = content
    files = [write_part(output, "data", 0, rows, TURNS, ())]
    write_manifest(output, files, {"generate": {"model": "a"}, "edit": {"model": "b", "multi_turn": True}})
