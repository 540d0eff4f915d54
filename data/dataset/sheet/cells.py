"""Cells of the contact sheet: a row's texts and images, and what distinguishes it from the other rows on the sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from imagemill.data.config.columns import GUIDES
from imagemill.data.dataset.sheet.choices import Choices, read_rejected
from imagemill.data.dataset.sheet.rows import choose_rows, read_images
from imagemill.data.storage.locations import Location

_NAMED = {
    "model": "{}",
    "edit_model": "edited by {}",
    "steps": "{} steps",
    "edit_steps": "{} steps to edit",
    "guidance_scale": "guidance {:g}",
    "edit_guidance_scale": "guidance {:g} to edit",
}
"""Columns that are named where they differ between the sheet's rows."""


class Cell(NamedTuple):
    """One row of the dataset."""

    images: list[tuple[str | None, bytes | None]]
    """Text above an image, and the image; control images first."""
    facts: str
    """Its turn and seed, and the settings that differ from another row's."""


def read_cells(paths: Sequence[Location], choices: Choices | None = None) -> list[list[Cell]]:
    """The sheet's rows, in groups: a conversation, the settings of one prompt, or one row."""
    groups = choose_rows(paths, choices.columns if choices else ())
    rows = [row for group in groups for row in group]
    differing = [name for name in _NAMED if len({fields.get(name) for _, fields in rows}) > 1]
    sizes_differ = len({(fields.get("width"), fields.get("height")) for _, fields in rows}) > 1
    images = read_images(place for place, _ in rows)
    rejected = read_rejected(choices, {fields["id"] for _, fields in rows}) if choices else {}

    def cell(fields: Mapping[str, Any]) -> Cell:
        shown = _images(fields, next(images))
        facts = [*(choices.fact(fields) if choices else []), *_facts(fields, differing, sizes_differ)]
        # Beside the image in whose favour it was rejected.
        if other := rejected.pop(fields.get("id", ""), None):
            shown.append(other)
        return Cell(shown, " · ".join(facts))

    return [[cell(fields) for _, fields in group] for group in groups]


def _images(fields: Mapping[str, Any], images: Mapping[str, bytes | None]) -> list[tuple[str | None, bytes | None]]:
    guides = [(name.replace("_", " "), content) for name, content in images.items() if name in GUIDES]
    if "edited_image" not in images:
        return [*guides, (fields.get("prompt"), images["image"])]
    return [
        *guides,
        (fields.get("prompt"), images["input_image"]),
        (fields.get("edit_prompt"), images["edited_image"]),
    ]


def _facts(fields: Mapping[str, Any], differing: Iterable[str], sizes_differ: bool) -> list[str]:
    facts = []
    if fields.get("turn_index") is not None:
        facts.append(f"turn {fields['turn_index']}")
    if fields.get("seed") is not None:
        facts.append(f"seed {fields['seed']}")
    facts += [_NAMED[name].format(fields[name]) for name in differing if fields.get(name) is not None]
    if sizes_differ:
        facts.append(f"{fields['width']} x {fields['height']}")
    return facts
