"""Resolver for a row's images, named or embedded: their path on this machine and their sha256."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

from imagemill.data.errors import BadRow
from imagemill.data.images.codec import inspect_image
from imagemill.data.prompts.image_fetcher import ImageFetcher
from imagemill.data.prompts.image_locations import ImageLocations
from imagemill.data.storage.locations import redact


class EmbeddedImage(NamedTuple):
    """An image embedded in a row of a Parquet file."""

    content: bytes
    name: str
    """Its file name, if the row has it."""

    def __repr__(self) -> str:
        return f"<{len(self.content):,} bytes>"


def plain_image(value: Any) -> Any:
    """Normalize an image from Parquet (bytes, or ``datasets``' struct of bytes and path): EmbeddedImage, path or None.

    Any other value is returned unchanged.
    """
    if isinstance(value, bytes):
        return EmbeddedImage(value, "") if value else None
    if isinstance(value, dict) and set(value) == {"bytes", "path"} and isinstance(value["bytes"], bytes | None):
        return EmbeddedImage(value["bytes"], value["path"] or "") if value["bytes"] else value["path"]
    return value


def plain_images(value: Any) -> list[Any]:
    """Normalize an image or a list of images."""
    return [plain_image(image) for image in (value if isinstance(value, list) else [value])]


def is_image(value: Any) -> bool:
    """Whether a normalized value is an image or the name of one."""
    return isinstance(value, str | EmbeddedImage) and bool(value)


class RowImages:
    """Resolves the images of rows: names by ``locations``, and what is named or embedded by ``fetcher``."""

    def __init__(self, locations: ImageLocations, fetcher: ImageFetcher) -> None:
        self._locations = locations
        self._fetcher = fetcher

    def inspect(self, image: str | EmbeddedImage, column: str) -> tuple[str, str]:
        """Path on this machine and sha256 of an image in this column. Raises BadRow if it is not an image."""
        if isinstance(image, EmbeddedImage):
            path = self._fetcher.store(image.content, image.name)
            return str(path), inspect_image(path, image.name or f"bytes in {column}")
        location = self._locations.resolve(image)
        path = self._fetcher.local_path(location)
        return str(path), inspect_image(path, redact(location))

    def prefetch(self, value: Any) -> None:
        """Start to download the images of a value that is needed soon."""
        for image in plain_images(value):
            if isinstance(image, str) and image:
                # `inspect` reports a name that these prompts may not use.
                with suppress(BadRow):
                    self._fetcher.prefetch(self._locations.resolve(image))
