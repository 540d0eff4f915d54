"""Downloader for one image named by URL: from the web, the Hub or an object store, with attempts and time limits."""

from __future__ import annotations

import time
from urllib.parse import quote, unquote

from fsspec.asyn import AsyncFileSystem
from huggingface_hub import constants, get_token, hf_hub_url

from imagemill.data.errors import BadRow, one_line
from imagemill.data.prompts.image_locations import ImageLocations, shown_location
from imagemill.data.storage.connections import Refused
from imagemill.data.storage.protocols import open_store
from imagemill.data.storage.web import Limits, Unreachable, WebClient

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

_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)


class UnreachableImage(BadRow):
    """No answer, or one that asks to retry: the image may well exist."""


class ImageDownloader:
    """Downloads the images that the rows of one prompts file name. Thread-safe."""

    def __init__(self, locations: ImageLocations) -> None:
        self._locations = locations
        self._web = WebClient(locations.reach, MAX_CONCURRENT)

    def close(self) -> None:
        """Close the connections."""
        self._web.close()

    def fetch(self, location: str) -> bytes:
        """Download the content of a URL that `ImageLocations` resolved. Raises BadRow."""
        protocol = location.partition("://")[0]
        if protocol in ("http", "https"):
            return self._from_web(location, location, {})
        if protocol == "hf":
            token = get_token() if self._locations.may_use_token(location) else None
            return self._from_web(location, _hub_url(location), {"Authorization": f"Bearer {token}"} if token else {})
        return _from_store(location)

    def _from_web(self, location: str, url: str, headers: dict[str, str]) -> bytes:
        reason, limits = "", Limits(MAX_BYTES, READ_TIMEOUT_S, FETCH_TIMEOUT_S)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            retry_delay = 0.0
            try:
                answer = self._web.get(url, limits, headers)
            except Refused as error:
                raise BadRow(f"the image {shown_location(location)} cannot be fetched: {error}") from error
            except Unreachable as error:
                reason = one_line(error)
            else:
                if answer.status == 200:
                    return answer.content
                if location != url and answer.status in (401, 403, 404):
                    raise BadRow(f"missing image: {shown_location(location)} does not exist, or is private")
                if answer.status not in _TRANSIENT:
                    raise BadRow(f"the image {shown_location(location)} cannot be fetched: HTTP {answer.status}")
                reason, retry_after = f"HTTP {answer.status}", answer.headers.get("retry-after", "")
                retry_delay = float(retry_after) if retry_after.isdecimal() and len(retry_after) < 10 else 0.0
            if attempt < MAX_ATTEMPTS:
                time.sleep(min(MAX_RETRY_DELAY_S, max(retry_delay, RETRY_DELAY_S * 2 ** (attempt - 1))))
        raise UnreachableImage(
            f"the image {shown_location(location)} cannot be fetched: {reason}, {MAX_ATTEMPTS} times"
        )


def _hub_url(location: str) -> str:
    """The http(s) URL of a file on the Hub. Raises BadRow."""
    kind, parts = "model", location.removeprefix("hf://").split("/")
    if parts[0] in ("datasets", "spaces"):
        kind = parts.pop(0).removesuffix("s")
    name, at, revision = "/".join(parts[:2]).partition("@")
    path = parts[2:]
    if revision.startswith("refs") and len(path) > 2:
        # refs/pr/1, written with its slashes.
        revision, path = "/".join([revision, *path[:2]]), path[2:]
    if len(parts) < 3 or not all(path):
        raise BadRow(
            f"the image {shown_location(location)} is not read: a file on the Hub is hf://datasets/org/name/path"
        )
    return hf_hub_url(
        quote(name), "/".join(path), repo_type=kind, revision=unquote(revision) if at else None,
        endpoint=constants.ENDPOINT,
    )  # fmt: skip


def _from_store(location: str) -> bytes:
    name = shown_location(location)
    try:
        fs, key = open_store(location)
        limit = {"timeout": FETCH_TIMEOUT_S} if isinstance(fs, AsyncFileSystem) else {}
        if (fs.info(key, **limit).get("size") or 0) > MAX_BYTES:
            raise BadRow(f"the image {name} is larger than {MAX_BYTES // 2**20} MiB")
        return fs.cat_file(key, **limit)
    except BadRow:
        raise
    except (FileNotFoundError, IsADirectoryError) as error:
        raise BadRow(f"missing image: {name} does not exist") from error
    except (ImportError, ValueError, PermissionError) as error:
        raise BadRow(f"the image {name} cannot be fetched: {one_line(error)}") from error
    # Storage clients raise their own errors, few of which derive from OSError.
    except Exception as error:
        raise UnreachableImage(f"the image {name} cannot be fetched: {one_line(error)}") from error
