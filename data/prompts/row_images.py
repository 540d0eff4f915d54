"""The images that a row names, or holds itself: found, and known by their content."""

from __future__ import annotations

from typing import Any, NamedTuple

from imagemill.data.images.codec import inspect_image
from imagemill.data.prompts.image_fetcher import ImageFetcher, image_place, shown


class EmbeddedImage(NamedTuple):
    """An image that a row of a Parquet file holds itself."""

    content: bytes
    name: str
    """Of its file, where the row says it."""

    def __repr__(self) -> str:
        return f"<{len(self.content):,} bytes>"


def plain_image(value: Any) -> Any:
    """A value as Parquet has it (bytes, or ``datasets``' struct of bytes and path) as Held, a path or None.

    Any other value comes back as it is.
    """
    if isinstance(value, bytes):
        return EmbeddedImage(value, "") if value else None
    if isinstance(value, dict) and set(value) == {"bytes", "path"} and isinstance(value["bytes"], bytes | None):
        return EmbeddedImage(value["bytes"], value["path"] or "") if value["bytes"] else value["path"]
    return value


def plain_images(value: Any) -> list[Any]:
    """The images of a value that may be a list of them."""
    return [plain_image(one) for one in (value if isinstance(value, list) else [value])]


def is_image(value: Any) -> bool:
    """Whether a plain value is an image, or names one."""
    return isinstance(value, str | EmbeddedImage) and bool(value)


class RowImages:
    """Finds the images of rows. ``prompts``: the prompts file, beside which relative names are looked for."""

    def __init__(self, prompts: str, given: ImageFetcher) -> None:
        self._prompts = prompts
        self._given = given

    def inspected(self, image: str | EmbeddedImage, column: str) -> tuple[str, str]:
        """Path on this machine, and sha256, of an image in this column. Raises BadRow where it is none."""
        if isinstance(image, EmbeddedImage):
            local = self._given.keep(image.content, image.name)
            return str(local), inspect_image(local, image.name or f"bytes in {column}")
        place = image_place(self._prompts, image)
        local = self._given.local(place)
        return str(local), inspect_image(local, shown(place))

    def fetch_ahead(self, value: Any) -> None:
        """Begin to fetch the images of a value whose row's turn comes soon."""
        for image in plain_images(value):
            if isinstance(image, str) and image:
                self._given.fetch_ahead(image_place(self._prompts, image))
