"""A prompt row, and the content ids that a row without an id gets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from imagemill.data.identity import content_id


# Not a frozen dataclass, which takes four times as long to create: a build creates two of these per row.
class Row(NamedTuple):
    """One requested image or edit: a line of the prompts file, or one of its user messages."""

    id: str
    seed_id: str
    """Source of a generated image's seed: the row's id, or a hash of what the image shows if it has none."""
    prompt: str | None
    edit_prompts: tuple[str, ...]
    """The row's edit instructions; empty if the recipe's are applied."""
    image: str | None
    """Path of the image to edit; None if it is generated first."""
    image_hash: str | None
    """sha256 of that file's bytes, in hexadecimal."""
    mask: str | None
    """Path of the inpainting mask; white is repainted."""
    mask_hash: str | None
    references: tuple[tuple[str, str], ...]
    """Further images for the edit, in order: path, and sha256 of the bytes."""
    guides: tuple[tuple[str, str, str], ...]
    """Images that guide its generation (data.config.guides): role, path, and sha256 of the bytes."""
    negative_prompt: str | None
    seed: int | None
    width: int | None
    height: int | None
    steps: int | None
    guidance_scale: float | None
    aspect_ratio: float | None
    """Width divided by height of the image to generate, if the row gives a ratio."""
    carried: Mapping[str, Any]
    """Columns of the prompts file that imagemill does not interpret."""
    file: str
    line: int
    doubt: str | None = None
    """Why it is not built, unless the dataset has its images already: an image exceeds a limit, its text is garbage."""
    reading: int | None = None
    """Version of the conversion of its images (data.images.modes) if that is not, for each, the same as the first."""
    model: str | None = None
    """Short name (data.config.step_models) of the model that the sweep or the row names for the first step."""


_SETTINGS = slice(Row._fields.index("negative_prompt"), Row._fields.index("carried"))
_NAMES = Row._fields[_SETTINGS]
_NO_SETTINGS = (None,) * len(_NAMES)


def content_ids(row: Row) -> tuple[str, str]:
    """Ids of a row's content and of its first image; rows with the same prompt and different edits share the latter."""
    image: dict[str, Any] = {"prompt": row.prompt, **{role: sha256 for role, _, sha256 in row.guides}}
    # Any: mypy takes the slice of a NamedTuple for one of its fields.
    settings: Any = row[_SETTINGS]
    if settings != _NO_SETTINGS:
        image |= zip(_NAMES, settings)
    if row.model is not None:
        image["model"] = row.model
    image_id = content_id(image)
    if not row.edit_prompts and row.image_hash is None and row.mask_hash is None:
        return image_id, image_id
    # The keys are hashed: renaming one would change the ids of existing datasets.
    edits: dict[str, Any] = {"edit_prompts": row.edit_prompts or None, "picture": row.image_hash, "mask": row.mask_hash}
    edits["references"] = [sha256 for _, sha256 in row.references] or None
    return content_id({**image, **edits}), image_id
