"""Cache of images named by URL: downloaded once per build into its work folder, and handled like local ones there."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import TracebackType
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from imagemill.data.errors import BadRow, InputError
from imagemill.data.messages import shown
from imagemill.data.prompts.image_download import MAX_BYTES, MAX_CONCURRENT, ImageDownloader, UnreachableImage
from imagemill.data.prompts.image_locations import ImageLocations
from imagemill.data.storage.locations import is_remote

MAX_UNREACHABLE = 20
"""After this many consecutive images without an answer the server is down, not a row at fault: the build stops."""


class ImageFetcher:
    """Downloads images into a folder, with prefetching. Images in the folder are not downloaded again."""

    def __init__(self, folder: Path, locations: ImageLocations) -> None:
        self._folder = folder
        self._downloader = ImageDownloader(locations)
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT, thread_name_prefix="images")
        self._in_flight: dict[str, Future[None]] = {}
        self._unreachable = 0

    def __enter__(self) -> ImageFetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._downloader.close()

    def prefetch(self, location: str) -> None:
        """Start to download an image that is needed soon; does nothing for a local one."""
        if is_remote(location) and location not in self._in_flight and not self._target(location).exists():
            self._in_flight[location] = self._threads.submit(self._download, location)

    def local_path(self, location: str) -> Path:
        """The path of the image on this machine, downloaded if necessary.

        Raises BadRow if it cannot be fetched, InputError if too many consecutive images cannot be reached.
        """
        if not is_remote(location):
            return Path(location)
        self.prefetch(location)
        in_flight = self._in_flight.pop(location, None)
        try:
            if in_flight:
                in_flight.result()
        except UnreachableImage as error:
            self._unreachable += 1
            if self._unreachable >= MAX_UNREACHABLE:
                raise InputError(
                    f"the images of {MAX_UNREACHABLE} consecutive rows cannot be reached, the last: {error}. "
                    "Nothing was changed. Connect, or wait for the server, and run this again."
                ) from error
            raise
        except BadRow:
            self._unreachable = 0
            raise
        self._unreachable = 0
        return self._target(location)

    def store(self, content: bytes, name: str) -> Path:
        """Write an image embedded in a row and return its path. ``name``: its file name, or empty. Raises BadRow."""
        if len(content) > MAX_BYTES:
            raise BadRow(f"the image {shown(name or 'bytes')} is larger than {MAX_BYTES // 2**20} MiB")
        target = self._path_for(hashlib.sha256(content).hexdigest(), PurePosixPath(name).name)
        if not target.exists():
            self._write(target, content)
        return target

    def _target(self, location: str) -> Path:
        name = unquote(PurePosixPath(urlsplit(location).path).name)
        return self._path_for(hashlib.sha256(location.encode()).hexdigest(), name)

    def _path_for(self, digest: str, name: str) -> Path:
        # One folder per image, so that the dataset has it under its original name.
        plain = name.replace("/", "_").replace("\0", "_")[-100:].encode("utf-8", "replace")
        # A file system's limit is 255 bytes, not characters.
        return self._folder / digest[:2] / digest / (plain[-200:].decode("utf-8", "ignore") or "image")

    def _download(self, location: str) -> None:
        self._write(self._target(location), self._downloader.fetch(location))

    @staticmethod
    def _write(target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.parent / f".{uuid4().hex}"
        part.write_bytes(content)
        part.replace(target)
