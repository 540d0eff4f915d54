"""Reader of a drawing's source images, verified against their recorded sha256."""

from __future__ import annotations

import hashlib
from pathlib import Path

from imagemill.data.errors import BadRow
from imagemill.data.messages import shown_path
from imagemill.data.records import Drawing


def read_given(edit: Drawing) -> bytes:
    """The bytes of an edit's source image. Raises BadRow if they have changed since planning."""
    assert edit.source_path is not None, "the plan gives the first edit of an input image its path"
    return read_unchanged("image", edit.source_path, edit.source_hash)


def read_references(edit: Drawing) -> list[bytes]:
    """The bytes of an edit's further images. Raises BadRow if they have changed since planning."""
    return [read_unchanged("image", path, sha256) for path, sha256 in edit.references]


def read_guides(drawing: Drawing) -> dict[str, bytes]:
    """Role -> bytes of the guide images. Raises BadRow if they have changed since planning."""
    return {role: read_unchanged(role.replace("_", " "), path, sha256) for role, path, sha256 in drawing.guides}


def read_mask(edit: Drawing) -> bytes:
    """The bytes of an inpainting mask. Raises BadRow if they have changed since planning."""
    assert edit.mask_path is not None, "the plan gives every inpainting the path of its mask"
    return read_unchanged("mask", edit.mask_path, edit.mask_hash)


def read_unchanged(what: str, path: str, sha256: str | None) -> bytes:
    """The bytes of a file; ``what`` names it in messages. Raises BadRow if they are not those of this sha256."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise BadRow(f"the {what} {shown_path(path)} cannot be read any more: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BadRow(f"the {what} {shown_path(path)} has changed since the build began")
    return content
