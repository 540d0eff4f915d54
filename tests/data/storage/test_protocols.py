"""Stores are opened by an allow-list, and a store that never answers is an error in time."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from imagemill.data.errors import BadRow, InputError, OutputError
from imagemill.data.prompts import image_download
from imagemill.data.prompts.image_download import ImageDownloader
from imagemill.data.prompts.image_locations import ImageLocations
from imagemill.data.prompts.reader import read_records
from imagemill.data.storage import protocols
from imagemill.data.storage.locations import locate
from imagemill.data.storage.protocols import IMAGES, OUTPUTS, PROMPTS, ForbiddenProtocol, split_protocol


@pytest.fixture
def silent_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server that accepts connections and never answers, as every store's endpoint."""
    monkeypatch.setattr(protocols, "CONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr(protocols, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(protocols, "STORE_TIMEOUT_S", 1.0)
    monkeypatch.setattr(image_download, "FETCH_TIMEOUT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "x")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "x")
        yield address


def test_a_location_is_split_into_its_protocol_and_the_rest():
    assert split_protocol("a/b.png", IMAGES) == ("", "a/b.png")
    assert split_protocol("a::b.png", IMAGES) == ("", "a::b.png")
    assert split_protocol("HTTPS://h/a::b.png", IMAGES) == ("https", "https://h/a::b.png")
    assert split_protocol("http://[::1]/x", IMAGES) == ("http", "http://[::1]/x")
    assert split_protocol("file:///a%20b#c", OUTPUTS) == ("", "/a b#c")


@pytest.mark.parametrize(
    "location",
    [
        *("dask://h:1/x", "ssh://h/x", "reference://x", "zip://x", "simplecache::s3://b/x", "s3://b/x::file:///y"),
        *("http://h/x::dask://h:1/y", "\ns3://b/x", "s3 ://b", "://b", "file://host/x", "s3::http://h/x"),
    ],
)
@pytest.mark.parametrize("allowed", [IMAGES, PROMPTS, OUTPUTS])
def test_any_other_protocol_and_any_chain_is_refused(location: str, allowed: tuple[str, ...]):
    with pytest.raises(ForbiddenProtocol):
        split_protocol(location, allowed)


USES: dict[str, tuple[type[Exception], Callable[[str], object]]] = {
    "an output's existence": (OutputError, lambda url: locate(url).exists()),
    "an output's listing": (OutputError, lambda url: list(locate(url).iterdir())),
    "an output's file": (OutputError, lambda url: locate(url).read_bytes()),
    "writing": (OutputError, lambda url: locate(url).write_bytes(b"x")),
    "prompts": (InputError, lambda url: list(read_records(f"{url}.jsonl"))),
    "an image": (BadRow, lambda url: ImageDownloader(ImageLocations("p.jsonl")).fetch(f"{url}.png")),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("protocol", "use"),
    [
        # gcsfs makes six attempts, with up to 32 s between them.
        pytest.param(protocol, use, marks=pytest.mark.long if (protocol, use) == ("gs", "prompts") else [])
        for protocol in ("s3", "gs")
        for use in USES
    ],
)
def test_a_store_that_never_answers_is_an_error_in_time(silent_store: str, protocol: str, use: str):
    error, call = USES[use]
    with pytest.raises(error):
        call(f"{protocol}://bucket/name")


def test_prompts_of_a_web_server_that_never_answers_are_an_error_in_time(silent_store: str):
    with pytest.raises(InputError, match="cannot be read"):
        list(read_records(f"{silent_store}/p.jsonl"))
