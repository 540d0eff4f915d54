"""The pictures that a row names, or holds itself: found, and known by their content."""

from __future__ import annotations

from typing import Any, NamedTuple

from imagemill.data.images.codec import inspect_picture
from imagemill.data.prompts.image_fetcher import GivenPictures, picture_place, shown


class Held(NamedTuple):
    """A picture that a row of a Parquet file holds itself."""

    content: bytes
    name: str
    """Of its file, where the row says it."""

    def __repr__(self) -> str:
        return f"<{len(self.content):,} bytes>"


def plain_picture(value: Any) -> Any:
    """A value as Parquet has it (bytes, or ``datasets``' struct of bytes and path) as Held, a path or None.

    Any other value comes back as it is.
    """
    if isinstance(value, bytes):
        return Held(value, "") if value else None
    if isinstance(value, dict) and set(value) == {"bytes", "path"} and isinstance(value["bytes"], bytes | None):
        return Held(value["bytes"], value["path"] or "") if value["bytes"] else value["path"]
    return value


def plain_pictures(value: Any) -> list[Any]:
    """The pictures of a value that may be a list of them."""
    return [plain_picture(one) for one in (value if isinstance(value, list) else [value])]


def is_picture(value: Any) -> bool:
    """Whether a plain value is a picture, or names one."""
    return isinstance(value, str | Held) and bool(value)


class RowPictures:
    """Finds the pictures of rows. ``prompts``: the prompts file, beside which relative names are looked for."""

    def __init__(self, prompts: str, given: GivenPictures) -> None:
        self._prompts = prompts
        self._given = given

    def inspected(self, picture: str | Held, column: str) -> tuple[str, str]:
        """Path on this machine, and sha256, of a picture in this column. Raises BadRow where it is none."""
        if isinstance(picture, Held):
            local = self._given.keep(picture.content, picture.name)
            return str(local), inspect_picture(local, picture.name or f"bytes in {column}")
        place = picture_place(self._prompts, picture)
        local = self._given.local(place)
        return str(local), inspect_picture(local, shown(place))

    def fetch_ahead(self, value: Any) -> None:
        """Begin to fetch the pictures of a value whose row's turn comes soon."""
        for picture in plain_pictures(value):
            if isinstance(picture, str) and picture:
                self._given.fetch_ahead(picture_place(self._prompts, picture))
