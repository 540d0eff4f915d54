"""JSONL as DataFlow-MM's operators for images write it, and its next operator reads it.

A line is a row of the prompts file: its columns, ``conversations`` with every prompt or instruction in order,
``images`` and, of edits, ``output_image``. Files have the names of DataFlow's ImageIO: a folder for each sample, in it
``SAMPLE_0.png``; of text to image a sample is ``sampleNAME_condition0`` (0: the number of the user message), of an edit
``sample_NAME``. Paths are absolute: its operators look relative ones up in different places.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imagemill.data.export.entry import Choices, Entry, ImageOf, LeftOut, Named, Row
from imagemill.data.export.metadata import json_columns
from imagemill.data.export.row_images import IMAGES, REFERENCES, final_of, references_of, suffixes_of

LINES = "dataflow.jsonl"

_OWN = ("conversations", "images", "output_image")


def dataflow(row: Row, named: Named, choices: Choices) -> Entry | LeftOut:
    """The row's files, and its part of a line: "sample", "order", "prompt", "inputs", "image", "columns"."""
    suffixes = suffixes_of(row)
    final = final_of(suffixes)
    if final is None:
        # A rejected row may lack its image.
        return LeftOut("without an image")
    is_edit = final == "edited_image"
    turn, candidate = row.get("turn_index") or 0, row.get("candidate") or 0
    if is_edit:
        # The variants of a prompt are edited from different images.
        variant = row.get("variant") or 0
        sample = f"sample_{named.group}" + (f"-v{variant}" if variant else "")
        number = f"{turn}c{candidate}" if turn and candidate else str(turn or candidate)
        order, line = [turn, candidate], sample
    else:
        sample = f"sample{named.group}_condition{named.message}"
        number = str(candidate or row.get("variant") or 0)
        order, line = [named.message, int(number)], f"sample{named.group}"
    files: dict[str, ImageOf | str] = {}

    def place(image: str, mark: str) -> str:
        name = f"{sample}/{sample}_{mark}{suffixes[image]}"
        files[name] = ImageOf(image)
        return str(choices.target / name)

    inputs = []
    if is_edit and "input_image" in suffixes and not turn:
        # Of a later turn the input is the turn before, which has its file.
        inputs = [place("input_image", "input"), *_references(suffixes, place)]
    part = {
        "sample": line,
        "order": order,
        "prompt": row.get("edit_prompt") if is_edit else row.get("prompt"),
        "inputs": inputs,
        "is_edit": is_edit,
        "image": place(final, number),
        "columns": json_columns(row, without=(*IMAGES, REFERENCES)),
    }
    return Entry(files, {LINES: part})


def _references(suffixes: dict[str, str], place: Any) -> list[str]:
    return [place(image, image.replace(" ", "")) for image in references_of(suffixes)]


def join_samples(parts: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The lines of the rows' parts, in the order in which their samples begin."""
    samples: dict[str, list[dict[str, Any]]] = {}
    for part in parts:
        samples.setdefault(part["sample"], []).append(part)
    for found in samples.values():
        yield _line(sorted(found, key=lambda part: part["order"]))


def _line(parts: list[dict[str, Any]]) -> dict[str, Any]:
    prompts: list[str] = []
    seen: set[Any] = set()
    for part in parts:
        # Several images of one message have its prompt once.
        if part["order"][0] not in seen:
            seen.add(part["order"][0])
            prompts.append(part["prompt"])
    line: dict[str, Any] = {"conversations": [{"content": prompt, "role": "user"} for prompt in prompts]}
    images = [part["image"] for part in parts]
    inputs = [path for part in parts for path in part["inputs"]]
    line |= {"images": inputs, "output_image": images} if parts[0]["is_edit"] else {"images": images}
    for name in parts[0]["columns"]:
        values = [part["columns"].get(name) for part in parts]
        # What differs between the images is a list in their order.
        value = values[0] if all(one == values[0] for one in values) else values
        line[f"source_{name}" if name in _OWN else name] = value
    return line
