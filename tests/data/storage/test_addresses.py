"""Which addresses are public, and which of the others a reach allows."""

from __future__ import annotations

import ipaddress

import pytest

from imagemill.data.storage.addresses import Reach, is_public, local_origin, origin

PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
PRIVATE = [
    *("127.0.0.1", "127.9.9.9", "10.1.1.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "0.0.0.0", "::1", "::"),
    *("fd00::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
]
NEVER = ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "64:ff9b::a9fe:a9fe", "224.0.0.1", "ff02::1"]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_always_allowed(address: str):
    assert is_public(ipaddress.ip_address(address))
    assert Reach().allows("host", 80, address)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_local_address_is_allowed_where_the_local_network_is(address: str):
    assert not Reach().allows("host", 80, address)
    assert Reach(local=True).allows("host", 80, address)


@pytest.mark.parametrize("address", NEVER)
def test_a_link_local_or_multicast_address_is_allowed_for_a_named_host_only(address: str):
    assert not Reach(local=True).allows("host", 80, address)
    assert Reach(hosts=("host",)).allows("Host.", 80, address)


def test_a_host_is_named_with_or_without_its_port_or_by_its_network():
    assert Reach(hosts=("nas:81",)).allows("nas", 81, "10.0.0.1")
    assert not Reach(hosts=("nas:81",)).allows("nas", 80, "10.0.0.1")
    assert Reach(hosts=("10.0.0.0/24", "fd00::/8")).allows("any", 80, "10.0.0.9")
    assert not Reach(hosts=("10.0.0.0/24",)).allows("any", 80, "10.0.1.9")
    assert not Reach(hosts=("nas",)).allows("nas.evil.example", 80, "10.0.0.1")


def test_an_origin_has_its_default_port():
    assert origin("HTTPS://Example.ORG./x") == "example.org:443"
    assert origin("http://[::1]/x") == "[::1]:80"
    assert local_origin("http://127.0.0.1:8000/p") == ["127.0.0.1:8000"]
    assert local_origin("http://8.8.8.8/p") == []
