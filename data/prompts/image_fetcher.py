"""Images that rows name by URL: fetched once a build into its work folder, and from there handled like local ones."""

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

from imagemill.data.errors import BadRow, InputError
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
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class _Unreached(BadRow):
    """No answer, or one that says to come again: the image may well be there."""


def image_place(prompts: str, name: str) -> str:
    """Where a row's image is: a URL or a path, a relative one beside the prompts."""
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
        # Without the prompts' own query: a signature is for one address.
        return urljoin(urlunsplit((*urlsplit(prompts)[:3], "", "")), quote(name))
    return str(Path(prompts).expanduser().parent / name)


def shown(place: str) -> str:
    """A place as it may be told: without a query or a user, where signatures and passwords are."""
    if not is_remote(place):
        return place
    parts = urlsplit(place)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class ImageFetcher:
    """Fetches images into a folder, some ahead of their turn. What the folder has is not fetched again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(MAX_CONCURRENT, thread_name_prefix="images")
        self._in_flight: dict[str, Future[None]] = {}
        self._unreached = 0

    def __enter__(self) -> ImageFetcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def fetch_ahead(self, place: str) -> None:
        """Begin to fetch an image that is asked for soon; nothing is to be done for a local one."""
        if is_remote(place) and place not in self._in_flight and not self._target(place).exists():
            self._in_flight[place] = self._threads.submit(self._store, place)

    def local(self, place: str) -> Path:
        """The path of the image on this machine.

        Raises BadRow with why it cannot be fetched, and InputError where servers do not answer for one after another.
        """
        if not is_remote(place):
            return Path(place)
        self.fetch_ahead(place)
        in_flight = self._in_flight.pop(place, None)
        try:
            if in_flight:
                in_flight.result()
        except _Unreached as error:
            self._unreached += 1
            if self._unreached >= MAX_UNREACHABLE:
                raise InputError(
                    f"the images of {MAX_UNREACHABLE} rows one after another cannot be reached, the last: {error}. "
                    "Nothing was changed. Connect, or wait for the server, and run this again."
                ) from error
            raise
        except BadRow:
            self._unreached = 0
            raise
        self._unreached = 0
        return self._target(place)

    def keep(self, content: bytes, name: str) -> Path:
        """The path of an image that a row holds itself. ``name``: its file's, or nothing. Raises BadRow."""
        if len(content) > MAX_BYTES:
            raise _too_large(name or "bytes")
        target = self._place(hashlib.sha256(content).hexdigest(), PurePosixPath(name).name)
        if not target.exists():
            self._write(target, content)
        return target

    def _target(self, place: str) -> Path:
        name = unquote(PurePosixPath(urlsplit(place).path).name)
        return self._place(hashlib.sha256(place.encode()).hexdigest(), name)

    def _place(self, digest: str, name: str) -> Path:
        # Its own folder, so that the dataset has the image by the name that it had.
        plain = name.replace("/", "_").replace("\0", "_")
        return self._folder / digest[:2] / digest / (plain[-100:] or "image")

    def _store(self, place: str) -> None:
        self._write(self._target(place), fetch_image(place))

    @staticmethod
    def _write(target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.parent / f".{uuid4().hex}"
        part.write_bytes(content)
        part.replace(target)


def fetch_image(place: str) -> bytes:
    """The content that lies at a URL. Raises BadRow."""
    if not place.startswith(_WEB):
        return _from_store(place)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            answer = _ask(place)
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            failed, retry_delay = _one_line(error), 0.0
            if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol | httpx2.TooManyRedirects | ValueError):
                raise BadRow(f"the image {shown(place)!r} cannot be fetched: {failed}") from error
        else:
            if isinstance(answer, bytes):
                return answer
            failed, retry_delay = answer
        if attempt < MAX_ATTEMPTS:
            time.sleep(min(MAX_RETRY_DELAY_S, max(retry_delay, RETRY_DELAY_S * 2 ** (attempt - 1))))
    raise _Unreached(f"the image {shown(place)!r} cannot be fetched: {failed}, {MAX_ATTEMPTS} times")


def _ask(url: str) -> bytes | tuple[str, float]:
    """The content, or (why it may be had later, seconds that the server asks to wait)."""
    ends = time.monotonic() + FETCH_TIMEOUT_S
    with httpx2.stream("GET", url, follow_redirects=True, timeout=READ_TIMEOUT_S) as answer:
        if answer.status_code in _PASSING:
            asked = answer.headers.get("Retry-After", "")
            return f"HTTP {answer.status_code}", float(asked) if asked.isdecimal() else 0.0
        if answer.status_code != 200:
            raise BadRow(f"the image {shown(url)!r} cannot be fetched: HTTP {answer.status_code}")
        content = bytearray()
        for block in answer.iter_bytes():
            content += block
            if len(content) > MAX_BYTES:
                raise _too_large(url)
            if time.monotonic() > ends:
                return f"it takes over {FETCH_TIMEOUT_S} s", 0.0
        return bytes(content)


def _from_store(place: str) -> bytes:
    try:
        fs, key = _open_store(place)
        # Only what fsspec runs in its own loop can be left alone; the hub's client has a time limit itself.
        limit = {"timeout": FETCH_TIMEOUT_S} if isinstance(fs, AsyncFileSystem) else {}
        if (fs.info(key, **limit).get("size") or 0) > MAX_BYTES:
            raise _too_large(place)
        return fs.cat_file(key, **limit)
    except BadRow:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadRow(f"missing image: {shown(place)!r} does not exist") from error
    except (ImportError, ValueError, PermissionError) as error:
        raise BadRow(f"the image {shown(place)!r} cannot be fetched: {_one_line(error)}") from error
    # Every store's client has errors of its own, and few of them are an OSError.
    except Exception as error:
        raise _Unreached(f"the image {shown(place)!r} cannot be fetched: {_one_line(error)}") from error


def _open_store(place: str) -> tuple[AbstractFileSystem, str]:
    if place.startswith("hf://"):
        # Told by its address and token, since fsspec gives equal arguments the same object again.
        return HfFileSystem(endpoint=constants.ENDPOINT, token=get_token()), place.removeprefix("hf://")
    return url_to_fs(place)


def _too_large(place: str) -> BadRow:
    return BadRow(f"the image {shown(place)!r} is larger than {MAX_BYTES // 2**20} MiB")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
