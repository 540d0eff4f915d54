"""Downloads end: by size, by time, by the number of redirects; and a key stays with the host that it is for."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from imagemill.data.storage.addresses import Reach
from imagemill.data.storage.connections import Refused
from imagemill.data.storage.web import Limits, Unreachable, WebClient
from tests.data.web_site import Site, png

LIMITS = Limits(bytes=2**20, read_s=5.0, total_s=10.0)


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def client() -> Iterator[WebClient]:
    client = WebClient(Reach(local=True))
    yield client
    client.close()


def test_content_and_status_are_returned(client: WebClient, site: Site):
    assert client.get(f"{site.address}/red.png", LIMITS).content == png("red")
    assert client.get(f"{site.address}/none.png", LIMITS).status == 404


def test_a_server_that_sends_a_byte_now_and_then_ends_at_the_time_limit(client: WebClient, site: Site):
    site.trickles.add("/slow.png")
    with pytest.raises(Unreachable, match=r"takes too long|timed out"):
        client.get(f"{site.address}/slow.png", Limits(2**20, read_s=5.0, total_s=0.3))


def test_a_server_that_says_nothing_ends_at_the_read_limit(client: WebClient, site: Site):
    site.stalls.add("/red.png")
    with pytest.raises(Unreachable, match="timed out"):
        client.get(f"{site.address}/red.png", Limits(2**20, read_s=0.1, total_s=60.0))


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_content_that_is_too_large_is_refused_also_when_it_is_compressed(client: WebClient, site: Site, encoding: str):
    content = bytes(2**21)
    site.pages["/zeros"] = [gzip.compress(content) if encoding else content]
    site.encodings["/zeros"] = encoding
    with pytest.raises(Refused, match="larger than 1 MiB"):
        client.get(f"{site.address}/zeros", LIMITS)


def test_redirects_end(client: WebClient, site: Site):
    site.redirects["/loop"] = "/loop"
    with pytest.raises(Refused, match="redirects more than 10 times"):
        client.get(f"{site.address}/loop", LIMITS)


def test_headers_go_to_the_first_host_alone(client: WebClient, site: Site):
    with Site() as other:
        site.redirects |= {"/a": "/b", "/b": f"{other.address}/c"}
        other.redirects["/c"] = f"{site.address}/red.png"
        client.get(f"{site.address}/a", LIMITS, {"Authorization": "Bearer secret"})
        sent = [("authorization" in headers) for headers in (*site.headers, *other.headers)]
        assert (site.requests, sent) == (["/a", "/b", "/red.png"], [True, True, False, False])


def test_a_local_server_is_refused_without_a_connection(site: Site):
    client = WebClient(Reach())
    for address in (site.address, site.address.replace("127.0.0.1", "localhost")):
        with pytest.raises(Refused, match="is not a public one"):
            client.get(f"{address}/red.png", LIMITS)
    assert site.requests == []


@pytest.mark.parametrize("url", ["http://", "http://h:99999999/", "ftp://127.0.0.1/", ""])
def test_what_is_no_web_address_is_refused(client: WebClient, url: str):
    with pytest.raises(Refused):
        client.get(url, LIMITS)


def test_a_proxy_is_used_as_the_environment_says_and_a_private_target_refused_before_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("http_proxy", site.address)
    monkeypatch.delenv("no_proxy", raising=False)
    site.pages["http://unknown.invalid/x"] = [b"by the proxy"]
    client = WebClient(Reach())
    assert client.get("http://unknown.invalid/x", LIMITS).content == b"by the proxy"
    with pytest.raises(Refused, match="is not a public one"):
        client.get("http://10.0.0.1/x", LIMITS)
    assert site.requests == ["http://unknown.invalid/x"]
