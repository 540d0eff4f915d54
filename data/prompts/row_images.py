"""Resolver for a row's images, named or embedded: their path on this machine and their sha256."""

from __future__ import annotations

import json
import logging
import math
import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from imagemill.data.config.images import Images
from imagemill.data.errors import BadRow
from imagemill.data.images.codec import Inspected, inspect_image
from imagemill.data.messages import shown_path
from imagemill.data.prompts.conversations import python_list
from imagemill.data.prompts.embedded_text import decode_embedded, is_embedded
from imagemill.data.prompts.image_fetcher import ImageFetcher
from imagemill.data.prompts.image_locations import ImageLocations
from imagemill.data.storage.locations import redact

log = logging.getLogger("imagemill")

MAX_INSPECTED = 2**14
"""Files whose facts are remembered: rows name the same one again and again."""

_NO_COMMA = re.compile(r"""['"]\s+['"]""")


class EmbeddedImage(NamedTuple):
    """An image embedded in a row, as bytes."""

    content: bytes
    name: str
    """Its file name, if the row has it."""

    def __repr__(self) -> str:
        return f"<{len(self.content):,} bytes>"


def plain_image(value: Any) -> Any:
    """Normalize an image: to EmbeddedImage, a text (path, URL, data: URI or base64) or None.

    Objects are read as ``datasets``, OpenAI and others write them: ``bytes`` and ``path``, or ``url``. Any other value
    is returned unchanged.
    """
    if isinstance(value, bytes):
        return EmbeddedImage(value, "") if value else None
    if not isinstance(value, dict):
        return value
    name = value.get("path") if isinstance(value.get("path"), str) else None
    content = value.get("bytes")
    if isinstance(content, bytes) and content:
        return EmbeddedImage(content, name or "")
    if isinstance(content, str) and is_embedded(content):
        return content
    if name or isinstance(value.get("url"), str):
        return name or value["url"]
    return None if value.keys() == {"bytes", "path"} and not content else value


def plain_images(value: Any) -> list[Any]:
    """Normalize an image or a list of images, also one that a table has as text."""
    if isinstance(value, str) and value[:1000].lstrip()[:1] == "[":
        value = _list_of(value) or value
    return [plain_image(image) for image in (value if isinstance(value, list) else [value])]


def _list_of(text: str) -> list[str] | None:
    """The names that a text lists, as JSON or as Python does; None if it is no such list."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        # NumPy writes no commas, and to Python two texts without one between them are one.
        values = None if _NO_COMMA.search(text) else python_list(text)
    is_list = isinstance(values, list) and bool(values) and all(isinstance(value, str) for value in values)
    return values if is_list else None


def is_image(value: Any) -> bool:
    """True if a normalized value is an image or the name of one."""
    return isinstance(value, str | EmbeddedImage) and bool(value)


class RowImages:
    """Resolves the images of rows: names by ``locations``, and what is named or embedded by ``fetcher``.

    ``settings``: recipe.images.
    """

    def __init__(self, locations: ImageLocations, fetcher: ImageFetcher, settings: Images) -> None:
        self._locations = locations
        self._fetcher = fetcher
        self._settings = settings
        self._facts = lru_cache(maxsize=MAX_INSPECTED)(_facts)
        self._warned = False
        self.doubt: str | None = None
        """The limit that an image of the current row exceeds; no BadRow, since the dataset may have the row's image."""
        self.reading: int | None = None
        """Version of the conversion that an image of the current row needs (data.images.modes); None for the first."""

    def begin_row(self) -> None:
        """Forget the images of the previous row."""
        self.doubt = self.reading = None

    def inspect(self, image: str | EmbeddedImage, column: str) -> tuple[str, str]:
        """Path on this machine and sha256 of an image in this column. Raises BadRow if it is not an image."""
        if isinstance(image, str) and is_embedded(image):
            image = EmbeddedImage(decode_embedded(image, column), "")
        if isinstance(image, EmbeddedImage):
            path = self._fetcher.store(image.content, image.name)
            return str(path), self._inspect(path, image.name or f"bytes in {column}")
        location = self._locations.resolve(image)
        path = self._fetcher.local_path(location)
        return str(path), self._inspect(path, redact(location))

    def _inspect(self, path: Path, name: str) -> str:
        found = self._inspected(path, name)
        self.reading = found.reading or self.reading
        self.doubt = self.doubt or self._limit_exceeded(found, name)
        if not found.has_usable_profile and not self._warned:
            self._warned = True
            log.warning(
                "the image %s has a colour profile that cannot be used: its colours count as sRGB's, as do those of "
                "any other such image, which is not named",
                shown_path(name),
            )
        return found.sha256

    def _limit_exceeded(self, image: Inspected, name: str) -> str | None:
        limits, size = self._settings, (image.width, image.height)
        has = f"the image {shown_path(name)} has {size[0]} x {size[1]} pixels, and recipe.images."
        if size[0] * size[1] > limits.max_pixels:
            smaller = f"make it smaller, or write images: {{max_pixels: {size[0] * size[1]}}}"
            return f"{has}max_pixels is {limits.max_pixels:,}: {smaller}"
        if min(size) < limits.min_side:
            return f"{has}min_side is {limits.min_side}: write images: {{min_side: {min(size)}}} if it is no mistake"
        if max(size) > limits.max_ratio * min(size):
            ratio = math.ceil(max(size) / min(size))
            return f"{has}max_ratio is {limits.max_ratio:g}: write images: {{max_ratio: {ratio}}} if it is no mistake"
        return None

    def _inspected(self, path: Path, name: str) -> Inspected:
        try:
            stat = path.stat()
        except (OSError, ValueError):
            # It says what is wrong with the path.
            return inspect_image(path, name)
        truncated = self._settings.truncated == "allow"
        facts = self._facts(path, name, truncated, (stat.st_ino, stat.st_size, stat.st_mtime_ns))
        if isinstance(facts, str):
            raise BadRow(facts)
        return facts

    def prefetch(self, value: Any) -> None:
        """Start to download the images of a value that is needed soon."""
        for image in plain_images(value):
            if isinstance(image, str) and image and not is_embedded(image):
                # `inspect` reports a name that these prompts may not use.
                with suppress(BadRow):
                    self._fetcher.prefetch(self._locations.resolve(image))


def _facts(path: Path, name: str, truncated: bool, state: tuple[int, ...]) -> Inspected | str:
    """Contents of a file that is in this state, or the reason why it is no image."""
    try:
        return inspect_image(path, name, truncated)
    except BadRow as error:
        return str(error)
