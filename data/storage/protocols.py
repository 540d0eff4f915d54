"""Allow-list of URL protocols, and opener of the object stores behind them, each with a time limit.

fsspec knows dozens of protocols, and some of them run code (dask:// unpickles what a scheduler answers), read local
files (reference://, simplecache::) or wait for ever. No location from a recipe or a row gets to fsspec but through
`open_store`, and `::`, fsspec's chain of protocols, is never interpreted. A `data:` URI is the content itself and names
no location (data.prompts.embedded_text).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from fsspec import AbstractFileSystem, get_filesystem_class
from fsspec.asyn import AsyncFileSystem

CONNECT_TIMEOUT_S = 10
"""Longest wait for a connection to a store."""

READ_TIMEOUT_S = 20
"""Longest wait for a store's next byte."""

STORE_TIMEOUT_S = 180
"""Longest time for a request that carries no file."""

MIN_BYTES_PER_S = 256 * 2**10
"""Slowest transfer that a file's time limit allows for."""

WEB = ("http", "https")
S3 = ("s3", "s3a")
GOOGLE = ("gs", "gcs")
AZURE = ("abfs", "az")
_ALIASES = ("s3a", "gcs", "az")
STORES = (*S3, *GOOGLE, *AZURE)

OUTPUTS = STORES
PROMPTS = (*WEB, "hf", *STORES)
IMAGES = (*WEB, "hf", *S3, *GOOGLE)
"""Protocols of the images, masks and control images that rows name."""

_URL = re.compile(r"(?P<chain>[^/]*)://", re.DOTALL)
_CHAIN = re.compile(r"^[A-Za-z0-9+.-]+::|::[A-Za-z][A-Za-z0-9+.-]*://")


class ForbiddenProtocol(ValueError):
    """A URL of a protocol that is not allowed there; the message says which are."""


def split_protocol(location: str, allowed: tuple[str, ...]) -> tuple[str, str]:
    """Split a location into its protocol, "" for a local one, and the location itself with the protocol in lower case.

    ``file://`` URLs become local paths. Raises ForbiddenProtocol for any other than ``allowed``, and for a chain.
    """
    match = _URL.match(location)
    if match is None:
        return "", location
    protocol = match["chain"].lower()
    rest = location[match.end() :]
    if protocol == "file":
        return "", _local_path(location)
    if protocol not in allowed:
        names = ", ".join(f"{name}://" for name in allowed if name not in _ALIASES)
        raise ForbiddenProtocol(f"its protocol is none of {names} or file://")
    if _CHAIN.search(location) or (protocol not in WEB and "::" in rest):
        raise ForbiddenProtocol("'::', a chain of protocols, is not allowed")
    return protocol, f"{protocol}://{rest}"


def _local_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise ForbiddenProtocol("a file:// URL has three slashes and then an absolute path")
    # What looks like a query or a fragment belongs to the name.
    path = url[len("file://") + len(parts.netloc) :]
    return unquote(path)


def open_store(url: str, **options: Any) -> tuple[AbstractFileSystem, str]:
    """File system and key of a store's URL, which `split_protocol` has passed. Makes no request.

    Raises ImportError if the store's package is not installed, ValueError for a name that it does not accept.
    """
    protocol = url.partition("://")[0]
    kind = get_filesystem_class(protocol)
    options = {**kind._get_kwargs_from_urls(url), **_time_limits(protocol), **options}
    fs = kind(**options)
    return fs, fs._strip_protocol(url)


def _time_limits(protocol: str) -> dict[str, Any]:
    """Arguments of a protocol's file system, so that a server that does not answer is an error."""
    if protocol in WEB:
        from aiohttp import ClientTimeout

        return {"client_kwargs": {"timeout": ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)}}
    if protocol in S3:
        # botocore repeats a request, and s3fs repeats that up to five times.
        limits = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S, "retries": {"max_attempts": 1}}
        return {"config_kwargs": limits}
    if protocol in GOOGLE:
        from aiohttp import ClientTimeout

        limit = ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        return {"requests_timeout": limit}
    if protocol in AZURE:
        return {"connection_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
    return {}


def time_limit(fs: AbstractFileSystem, size: int = 0) -> dict[str, float]:
    """Argument ``timeout`` for a file system's call that carries ``size`` bytes; empty where it takes none."""
    return {"timeout": STORE_TIMEOUT_S + size / MIN_BYTES_PER_S} if isinstance(fs, AsyncFileSystem) else {}
