"""Origins of URLs: scheme, host and port in one spelling, to compare where a secret may go."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}
_NETLOC = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:%]+)(:\d*)?")
_HOST = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252})")


class BadUrl(ValueError):
    """A URL without a plain origin; the message is why, without the URL, which may hold a password."""


def origin_of(url: str) -> str:
    """``https://api.openai.com:443``: the URL's scheme, host and port in lower case. Raises BadUrl.

    Strict, since two readers of an odd URL may disagree about its host: no user, no escapes, no spaces, ASCII only.
    """
    if not url.isascii() or not url.isprintable() or any(character in url for character in " \\"):
        raise BadUrl("it must consist of ASCII characters, without spaces and backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadUrl("its host or port is not valid") from error
    if parts.scheme not in _PORTS or not url.lower().startswith(f"{parts.scheme}://"):
        raise BadUrl("it must begin with http:// or https://")
    if "@" in parts.netloc:
        raise BadUrl("it holds a user or a password: leave them out")
    # urlsplit reads [::1]evil.example as ::1.
    if not _NETLOC.fullmatch(parts.netloc):
        raise BadUrl("its host or port is not valid")
    host = _host(parts.hostname or "", is_bracketed=parts.netloc.startswith("["))
    return f"{parts.scheme}://{host}:{_PORTS[parts.scheme] if port is None else port}"


def _host(host: str, is_bracketed: bool) -> str:
    if is_bracketed:
        try:
            return f"[{IPv6Address(host)}]"
        except ValueError as error:
            raise BadUrl("its host is not valid") from error
    if not _HOST.fullmatch(host):
        raise BadUrl("its host is not valid")
    return host


def is_loopback(origin: str) -> bool:
    """True if an origin is this machine by its name alone: localhost, 127.0.0.0/8 or [::1].

    Not by a look-up: a name server may say anything, and 127.1 or 2130706433 are names to some readers.
    """
    host = origin.partition("://")[2].rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback if isinstance(address, IPv4Address) else address == IPv6Address("::1")
