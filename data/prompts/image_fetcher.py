"""Downloader for images named by URL: once per build, into its work folder, where they are handled like local ones."""

from __future__ import annotations

import hashlib
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from types import TracebackType
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit
from uuid import uuid4

import httpx2
from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem
from fsspec.core import url_to_fs
from huggingface_hub import HfFileSystem, constants, get_token

from imagemill.data.errors import BadRow, InputError, one_line
from imagemill.data.messages import MAX_SHOWN, cut
from imagemill.data.prompts.hub import is_on_hub, parse_hub_prompts
from imagemill.data.storage.locations import is_remote

MAX_BYTES = 100 * 2**20
"""Maximum size of an image file."""

READ_TIMEOUT_S = 20
"""Longest wait for the next byte."""

FETCH_TIMEOUT_S = 120
"""Longest time for one image."""

MAX_ATTEMPTS = 3
RETRY_DELAY_S = 1.0
"""Delay before the second attempt, doubled before each further one; a server's Retry-After may lengthen it."""

MAX_RETRY_DELAY_S = 30.0
MAX_CONCURRENT = 16

MAX_UNREACHABLE = 20
"""After this many consecutive images without an answer the server is down, not a row at fault: the build stops."""

_WEB = ("http://", "https://")
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class _Unreachable(BadRow):
    """No answer, or one that asks to retry: the image may well exist."""


def image_location(prompts: str, name: str) -> str:
    """URL or path of a row's image; a relative name is resolved against the prompts' location."""
    if is_remote(name) or Path(name).is_absolute():
        return name
    if is_on_hub(prompts):
        where = parse_hub_prompts(prompts)
        at = f"@{quote(where.revision, safe='')}" if where.revision else ""
        base = prompts.rpartition("/")[0] if where.path else f"hf://datasets/{where.repository}{at}"
        return f"{base}/{name}"
    if is_remote(prompts):
        if not prompts.startswith(_WEB):
            return f"{prompts.rpartition('/')[0]}/{name}"
        # Without the prompts' query: a signature is valid for a single URL.
        return urljoin(urlunsplit((*urlsplit(prompts)[:3], "", "")), quote(name))
    return str(Path(prompts).expanduser().parent / name)


def redact(location: str) -> str:
    """A location for messages: without query and user, which may contain signatures and passwords."""
    if not is_remote(location):
        return cut(location, 2 * MAX_SHOWN)
    parts = urlsplit(location)
    return cut(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")), 2 * MAX_SHOWN)


class ImageFetcher:
    """Downloads images into a folder, with prefetching. Images in the folder are not downloaded again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT, thread_name_prefix="images")
        self._in_flight: dict[str, Future[None]] = {}
        self._unreachable = 0

    def __enter__(self) -> ImageFetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

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
        except _Unreachable as error:
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
            raise _too_large(name or "bytes")
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
        self._write(self._target(location), fetch_image(location))

    @staticmethod
    def _write(target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.parent / f".{uuid4().hex}"
        part.write_bytes(content)
        part.replace(target)


def fetch_image(location: str) -> bytes:
    """Download the content of a URL. Raises BadRow."""
    if not location.startswith(_WEB):
        return _from_store(location)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            response = _request(location)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            reason, retry_delay = one_line(error), 0.0
            if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | httpx2.TooManyRedirects | ValueError):
                raise BadRow(f"the image {redact(location)!r} cannot be fetched: {reason}") from error
        else:
            if isinstance(response, bytes):
                return response
            reason, retry_delay = response
        if attempt < MAX_ATTEMPTS:
            time.sleep(min(MAX_RETRY_DELAY_S, max(retry_delay, RETRY_DELAY_S * 2 ** (attempt - 1))))
    raise _Unreachable(f"the image {redact(location)!r} cannot be fetched: {reason}, {MAX_ATTEMPTS} times")


def _request(url: str) -> bytes | tuple[str, float]:
    """The content, or (reason to retry, the server's Retry-After in seconds)."""
    deadline = time.monotonic() + FETCH_TIMEOUT_S
    with httpx2.stream("GET", url, follow_redirects=True, timeout=READ_TIMEOUT_S) as response:
        if response.status_code in _TRANSIENT:
            retry_after = response.headers.get("Retry-After", "")
            return f"HTTP {response.status_code}", float(retry_after) if retry_after.isdecimal() else 0.0
        if response.status_code != 200:
            raise BadRow(f"the image {redact(url)!r} cannot be fetched: HTTP {response.status_code}")
        content = bytearray()
        for block in response.iter_bytes():
            content += block
            if len(content) > MAX_BYTES:
                raise _too_large(url)
            if time.monotonic() > deadline:
                return f"it takes over {FETCH_TIMEOUT_S} s", 0.0
        return bytes(content)


def _from_store(location: str) -> bytes:
    try:
        fs, key = _open_store(location)
        # Only fsspec's asynchronous file systems accept a timeout; the Hub's client sets its own.
        limit = {"timeout": FETCH_TIMEOUT_S} if isinstance(fs, AsyncFileSystem) else {}
        if (fs.info(key, **limit).get("size") or 0) > MAX_BYTES:
            raise _too_large(location)
        return fs.cat_file(key, **limit)
    except BadRow:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadRow(f"missing image: {redact(location)!r} does not exist") from error
    except (ImportError, ValueError, PermissionError) as error:
        raise BadRow(f"the image {redact(location)!r} cannot be fetched: {one_line(error)}") from error
    # Storage clients raise their own errors, few of which derive from OSError.
    except Exception as error:
        raise _Unreachable(f"the image {redact(location)!r} cannot be fetched: {one_line(error)}") from error


def _open_store(location: str) -> tuple[AbstractFileSystem, str]:
    if location.startswith("hf://"):
        # Address and token as arguments: fsspec caches file systems by their arguments.
        return HfFileSystem(endpoint=constants.ENDPOINT, token=get_token()), location.removeprefix("hf://")
    return url_to_fs(location)


def _too_large(location: str) -> BadRow:
    return BadRow(f"the image {redact(location)!r} is larger than {MAX_BYTES // 2**20} MiB")
