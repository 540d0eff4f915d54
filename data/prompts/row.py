"""What is asked for: one row of the prompts, and the ids that it gets from what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from imagemill.data.identity import content_id


# Not a frozen dataclass, which takes four times as long to make: there are two of these for every row of a build.
class Row(NamedTuple):
    """One thing asked for: a line of the prompts file, or one user message of it."""

    id: str
    seed_id: str
    """What a generated image's seed is made from: the id, or, without an id of its own, what the image shows."""
    prompt: str | None
    edit_prompts: tuple[str, ...]
    """The row's own instructions; none where the recipe's are applied."""
    image: str | None
    """Path of the image to edit, or None where it is generated first."""
    image_hash: str | None
    """sha256 of that file's bytes, in hexadecimal."""
    mask: str | None
    """Path of the mask of an inpainting; white is repainted."""
    mask_hash: str | None
    references: tuple[tuple[str, str], ...]
    """The row's further images for the edit, in order: path, and sha256 of its bytes."""
    guides: tuple[tuple[str, str, str], ...]
    """The images that steer its generation (data.config.guides): what for, path, and sha256 of its bytes."""
    negative_prompt: str | None
    seed: int | None
    width: int | None
    height: int | None
    steps: int | None
    guidance_scale: float | None
    aspect_ratio: float | None
    """Width divided by height of the image to generate, where the row says so by its shape."""
    carried: Mapping[str, Any]
    """The columns of the prompts file that imagemill does not read itself."""
    file: str
    line: int


_SETTINGS = slice(Row._fields.index("negative_prompt"), Row._fields.index("carried"))
_NAMES = Row._fields[_SETTINGS]
_NOTHING = (None,) * len(_NAMES)


def content_ids(row: Row) -> tuple[str, str]:
    """The id of a row's content, and that of the image it starts from: rows of one prompt and two edits share it."""
    shows = {"prompt": row.prompt, **{role: sha256 for role, _, sha256 in row.guides}}
    settings = row[_SETTINGS]
    if settings != _NOTHING:
        shows |= zip(_NAMES, settings)
    shown = content_id(shows)
    if not row.edit_prompts and row.image_hash is None and row.mask_hash is None:
        return shown, shown
    edits = {"edit_prompts": row.edit_prompts or None, "picture": row.image_hash, "mask": row.mask_hash}
    edits["references"] = [sha256 for _, sha256 in row.references] or None
    return content_id({**shows, **edits}), shown
