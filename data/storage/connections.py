"""Network backend of httpcore: connects to allowed addresses only, and ends a request at its deadline."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2

from imagemill.data.messages import shown
from imagemill.data.storage.addresses import Reach, resolve


class Refused(Exception):
    """The URL is not valid, leads to an address that is not allowed, or its content is too large."""


_this_thread = threading.local()


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """End this thread's requests at this time (of time.monotonic) with httpcore's ReadTimeout.

    httpcore's own limits are for each read, so that a server that sends a byte now and then would hold it for ever.
    """
    _this_thread.deadline = at
    try:
        yield
    finally:
        del _this_thread.deadline


class GuardedBackend(httpcore2.SyncBackend):
    """Connects to a host's addresses within a `Reach`. Raises Refused if it has none."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> httpcore2.NetworkStream:
        """As httpcore's, with the host's name resolved and its addresses checked here."""
        try:
            addresses = resolve(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        allowed = [address for address in addresses if self._reach.allows(host, port, address)]
        if not allowed:
            raise Refused(not_allowed(host))
        for address in allowed[:-1]:
            try:
                return _TimedStream(super().connect_tcp(address, port, *args, **options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return _TimedStream(super().connect_tcp(allowed[-1], port, *args, **options))

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.NetworkStream:
        """Raise Refused."""
        raise Refused("a Unix socket is not allowed")


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose reads end at the thread's deadline."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        left = getattr(_this_thread, "deadline", float("inf")) - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout("the answer takes too long")
        return self._stream.read(max_bytes, left if timeout is None else min(timeout, left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def not_allowed(host: str) -> str:
    """Why a host is refused, and how to allow it."""
    return (
        f"the address of {shown(host)} is not a public one; if its images are wanted, add the host to "
        "images.allow_hosts in the recipe"
    )
