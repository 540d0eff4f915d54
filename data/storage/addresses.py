"""Rules for the network addresses that data may reach: public ones, those of the local network, and hosts named for it.

An address is checked when a connection is made, so that neither a redirect nor a DNS answer leads elsewhere.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from imagemill.data.messages import shown

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: IPv6 addresses of IPv4 hosts, behind a translator."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Rule for the addresses that may be connected to. Public ones always may."""

    local: bool = False
    """True if loopback and the local network may be reached; link-local addresses never, unless ``hosts`` has them."""
    hosts: tuple[str, ...] = ()
    """Names, ``name:port`` and networks (10.0.0.0/8) that may be reached in any case, in lower case."""

    def allows(self, host: str, port: int, address: str) -> bool:
        """True if a connection to ``address``, which ``host`` resolves to, is allowed."""
        found = _embedded(ipaddress.ip_address(address.partition("%")[0]))
        name = host.lower().strip("[]").rstrip(".")
        if any(_names(entry, name, port, found) for entry in self.hosts):
            return True
        return is_public(found) or (self.local and not found.is_link_local and not found.is_multicast)

    def with_hosts(self, hosts: Iterable[str]) -> Reach:
        """The same with these hosts too."""
        return replace(self, hosts=(*self.hosts, *hosts))


def is_public(address: Address) -> bool:
    """True if an address belongs to the public internet (IANA's registries of special-purpose addresses)."""
    found = _embedded(address)
    return found.is_global and not found.is_multicast


def _embedded(address: Address) -> Address:
    """The IPv4 address in an IPv6 address that stands for one; otherwise the address itself."""
    if not isinstance(address, ipaddress.IPv6Address):
        return address
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address.sixtofour:
        return address.sixtofour
    if address in _NAT64 or int(address) >> 32 == 0:
        # The second are the old IPv4-compatible addresses, ::1 among them.
        return ipaddress.ip_address(int(address) & 0xFFFFFFFF) if int(address) > 1 else address
    return address


def _names(entry: str, name: str, port: int, address: Address) -> bool:
    if entry in (name, f"{name}:{port}", f"[{name}]:{port}"):
        return True
    try:
        return address in ipaddress.ip_network(entry.strip("[]"))
    except ValueError:
        return False


def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host, the resolver's first choice first. Raises OSError."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{shown(host)} is no host name") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def origin(url: str) -> str:
    """``host:port`` of an http(s) URL, in lower case. Raises ValueError."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError("the URL has no host")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname.rstrip(".")
    return f"{name.lower()}:{parts.port or (443 if parts.scheme.lower() == 'https' else 80)}"


def local_origin(url: str) -> list[str]:
    """The origin of a URL whose host is not public, as ``Reach.hosts`` has it; empty for a public or unknown host."""
    try:
        named = origin(url)
        host, _, port = named.rpartition(":")
        addresses = [ipaddress.ip_address(address.partition("%")[0]) for address in resolve(host, int(port))]
    except (OSError, ValueError):
        return []
    return [named] if any(not is_public(address) for address in addresses) else []
