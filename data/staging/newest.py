"""The newest of the staged images, for the report of a running build."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from imagemill.data.staging.bundles import SUFFIX, read_entries

MAX_FILES = 64
"""Files that are looked into."""


def newest_images(folder: Path, count: int) -> list[bytes]:
    """The encoded images of this folder that were staged last, newest first; of several encodings only one.

    Their shards may be committed meanwhile, which removes them: there may be fewer than ``count``, or none.
    """
    files: list[tuple[float, str]] = []
    with suppress(OSError), os.scandir(folder) as found:
        for file in found:
            if file.name.endswith(SUFFIX):
                with suppress(OSError):
                    files.append((file.stat().st_mtime, file.path))
    images: dict[str, bytes] = {}
    for _, path in sorted(files, reverse=True)[:MAX_FILES]:
        for (key, _), entry in reversed(read_entries(path).items()):
            if len(images) >= count:
                return [*images.values()]
            if key not in images:
                with suppress(OSError):
                    images[key] = entry.content()
    return [*images.values()]
