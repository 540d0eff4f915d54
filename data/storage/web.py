"""Downloader for URLs that data names: size and time limited, each address checked when it is connected to."""

from __future__ import annotations

import ipaddress
import ssl
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import httpcore2
import httpx2

from imagemill.data.storage.addresses import Address, Reach, is_public, origin, resolve
from imagemill.data.storage.connections import GuardedBackend, Refused, deadline, not_allowed

MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_USER_AGENT = "imagemill"
_FAILURES = (httpcore2.NetworkError, httpcore2.TimeoutException, httpcore2.ProtocolError, httpcore2.ProxyError)


class Unreachable(Exception):
    """No answer, or none in time: another attempt may get one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a download."""

    bytes: int
    read_s: float
    """Longest wait for a connection, and for the next bytes."""
    total_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A response: its status, its headers with names in lower case, and its content if the status is 200."""

    status: int
    headers: Mapping[str, str]
    content: bytes = b""


class WebClient:
    """Downloads within a `Reach`; connections are kept for the next download. Thread-safe."""

    def __init__(self, reach: Reach, max_connections: int = 16) -> None:
        self._reach = reach
        self._max_connections = max_connections
        self._pools = {local: self._pool(replace(reach, local=local)) for local in {reach.local, False}}

    def close(self) -> None:
        """Close the connections."""
        for pool in self._pools.values():
            pool.close()

    def get(self, url: str, limits: Limits, headers: Mapping[str, str] | None = None) -> Answer:
        """Download a URL, following redirects. ``headers`` go to its own host only.

        Raises Unreachable and Refused.
        """
        local, sent, target = self._reach.local, dict(headers or {}), _parse(url)
        end = time.monotonic() + limits.total_s
        with deadline(end):
            for _ in range(MAX_REDIRECTS + 1):
                with self._open(target, sent, limits, local) as response:
                    fields = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in response.headers}
                    if response.status not in _REDIRECTS or "location" not in fields:
                        content = _read(response, limits, end) if response.status == 200 else b""
                        return Answer(response.status, fields, content)
                    # A server of the local network may refer to another; a public one may not.
                    local = local and not _is_public(response)
                following = _parse(str(target.join(fields["location"])))
                if origin(str(following)) != origin(str(target)):
                    sent = {}
                target = following
        raise Refused(f"it redirects more than {MAX_REDIRECTS} times")

    @contextmanager
    def _open(
        self, url: httpx2.URL, headers: Mapping[str, str], limits: Limits, local: bool
    ) -> Iterator[httpcore2.Response]:
        pool = self._pools[local]
        proxy = _proxy(url)
        if proxy:
            self._check_before_proxy(url, local)
            pool = _proxy_pool(proxy)
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), limits.read_s)
        fields = {"Host": url.netloc.decode("ascii"), "User-Agent": _USER_AGENT, "Accept": "*/*", **headers}
        address = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        try:
            with pool.stream("GET", address, headers=list(fields.items()), extensions={"timeout": timeout}) as response:
                yield response
        except _FAILURES as error:
            raise Unreachable(" ".join(str(error).split()) or type(error).__name__) from error

    def _check_before_proxy(self, url: httpx2.URL, local: bool) -> None:
        # The proxy resolves the name itself: what this machine knows of it is all that can be checked.
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            addresses = resolve(url.host, port)
        except OSError:
            return
        reach = replace(self._reach, local=local)
        if not any(reach.allows(url.host, port, address) for address in addresses):
            raise Refused(not_allowed(url.host))

    def _pool(self, reach: Reach) -> httpcore2.ConnectionPool:
        return httpcore2.ConnectionPool(
            ssl_context=_ssl_context(), max_connections=self._max_connections, network_backend=GuardedBackend(reach)
        )


def _parse(url: str) -> httpx2.URL:
    try:
        parsed = httpx2.URL(url)
        if parsed.scheme not in ("http", "https"):
            raise Refused(f"it leads to {parsed.scheme[:20]!r}, which is neither http nor https")
        origin(str(parsed))
    except (httpx2.InvalidURL, ValueError, UnicodeError) as error:
        raise Refused(f"it is not a valid URL ({' '.join(str(error).split())[:80]})") from error
    return parsed


def _read(response: httpcore2.Response, limits: Limits, end: float) -> bytes:
    # httpx undoes the content encoding, which some servers apply unasked.
    decoded = httpx2.Response(200, headers=response.headers, content=response.iter_stream())
    content = bytearray()
    try:
        for block in decoded.iter_bytes():
            content += block
            if len(content) > limits.bytes:
                raise Refused(f"it is larger than {limits.bytes // 2**20} MiB")
            if time.monotonic() > end:
                raise Unreachable(f"it takes over {limits.total_s:g} s")
    except httpx2.DecodingError as error:
        raise Refused("its content encoding is damaged") from error
    return bytes(content)


def _is_public(response: httpcore2.Response) -> bool:
    """True if the response came from a public address; False where that is not known."""
    peer = response.extensions["network_stream"].get_extra_info("server_addr")
    try:
        address: Address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except (TypeError, ValueError):
        return False
    return is_public(address)


def _proxy(url: httpx2.URL) -> str | None:
    """The proxy that the environment names for a URL."""
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    named = proxies.get(url.scheme) or proxies.get("all")
    return (named if "://" in named else f"http://{named}") if named else None


@lru_cache(maxsize=8)
def _proxy_pool(proxy: str) -> httpcore2.ConnectionPool:
    parts = httpx2.URL(proxy)
    address = httpcore2.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=b"/")
    auth = (parts.username, parts.password) if parts.username else None
    kind = httpcore2.SOCKSProxy if parts.scheme.startswith("socks") else httpcore2.HTTPProxy
    return kind(proxy_url=address, proxy_auth=auth, ssl_context=_ssl_context())


@lru_cache(maxsize=1)
def _ssl_context() -> ssl.SSLContext:
    return httpx2.create_ssl_context()
