"""Rows name images by an allow-list of protocols; prompts from elsewhere name what is theirs or public."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagemill.data.errors import BadRow, InputError
from imagemill.data.prompts.image_locations import ImageLocations
from imagemill.data.prompts.reader import read_records
from tests.data.conftest import Outcome
from tests.data.dataset_hub import DatasetHub, Repository
from tests.data.prompts.test_image_fetcher import EDIT, fetch
from tests.data.web_site import Site, png

FORBIDDEN = [
    "dask://127.0.0.1:{port}/x.png::file:///x.png",
    "DASK://127.0.0.1:{port}/x.png",
    " dask://127.0.0.1:{port}/x.png",
    "ftp://127.0.0.1:{port}/x.png",
    "sftp://127.0.0.1:{port}/x.png",
    "ssh://127.0.0.1:{port}/x.png",
    "smb://127.0.0.1:{port}/x.png",
    "webhdfs://127.0.0.1:{port}/x.png",
    "jlab://127.0.0.1:{port}/x.png",
    "zip://x.png::http://127.0.0.1:{port}/x.zip",
    "simplecache::http://127.0.0.1:{port}/x.png",
    "filecache::http://127.0.0.1:{port}/x.png",
    "reference://x.png::http://127.0.0.1:{port}/x.json",
    "s3://bucket/x.png::http://127.0.0.1:{port}/x.png",
    "http::http://127.0.0.1:{port}/x.png",
    "http://127.0.0.1:{port}/x.png::dask://127.0.0.1:{port}/x.png",
    "local://{secret}",
    "memory://x.png",
    "github://org:repo@main/x.png",
    "file://host{secret}",
    "data://x",
]
REMOTE = ["http://prompts.invalid/p.jsonl", "s3://theirs/p.jsonl", "gs://theirs/p.jsonl", "hf://datasets/a/b/p.jsonl"]


@contextmanager
def silent_port() -> Iterator[tuple[int, Callable[[], int]]]:
    """A port that accepts and never answers, and a function that counts its connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        server.setblocking(False)

        def connections() -> int:
            count = 0
            while True:
                try:
                    server.accept()[0].close()
                except BlockingIOError:
                    return count
                count += 1

        yield server.getsockname()[1], connections


@pytest.mark.parametrize("column", ["images", "mask"])
def test_a_row_connects_to_nothing_by_another_protocol_and_reads_no_file_by_it(
    load: Callable[..., Outcome], tmp_path: Path, column: str
):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png("red"))
    (tmp_path / "good.png").write_bytes(png("blue"))
    good = {"images": "good.png", "mask": "good.png"}
    with silent_port() as (port, connections):
        bad = [{**good, column: name.format(port=port, secret=secret)} for name in FORBIDDEN]
        found = load(
            [*bad, good], edit={"instructions": ["x"], "task": "inpaint"} if column == "mask" else EDIT["edit"]
        )
        assert connections() == 0
    assert [fault.line for fault in found.faults] == list(range(1, len(FORBIDDEN) + 1))
    assert all("is not read" in fault.reason or "does not exist" in fault.reason for fault in found.faults)
    assert len(found.rows) == 1


@pytest.mark.parametrize("prompts", ["dask://127.0.0.1:1/p.jsonl", "simplecache::file:///p.jsonl", "ftp://h/p.jsonl"])
def test_prompts_are_read_by_an_allowed_protocol_only(prompts: str):
    with pytest.raises(InputError, match="is not read: its protocol is none of http://, https://, hf://"):
        list(read_records(prompts))


def test_a_file_url_is_a_path(load: Callable[..., Outcome], tmp_path: Path):
    (tmp_path / "a b.png").write_bytes(png("red"))
    rows = load(
        [{"images": f"file://{tmp_path}/a%20b.png"}, {"images": f"FILE://localhost{tmp_path}/a%20b.png"}], **EDIT
    )
    assert [Path(row.image).name for row in rows.rows] == ["a b.png"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("prompts", REMOTE)
@pytest.mark.parametrize("exists", [True, False])
def test_prompts_from_elsewhere_name_no_file_of_this_machine_whether_it_exists_or_not(
    tmp_path: Path, prompts: str, exists: bool
):
    path = tmp_path / "x.png"
    if exists:
        path.write_bytes(png("red"))
    for name in (str(path), f"file://{path}", f"/{path}"):
        with pytest.raises(BadRow, match="it is a path on this machine, which prompts from elsewhere may not name"):
            ImageLocations(prompts).resolve(name)


@pytest.mark.parametrize("prompts", REMOTE)
@pytest.mark.parametrize("name", ["s3://mine/x.png", "gs://mine/x.png", "s3a://theirs/x.png"])
def test_prompts_from_elsewhere_name_no_other_bucket(prompts: str, name: str):
    with pytest.raises(BadRow, match="may name images in their own bucket, on the Hub and on the web"):
        ImageLocations(prompts).resolve(name)


@pytest.mark.slow
@pytest.mark.parametrize("prompts", REMOTE[1:])
@pytest.mark.parametrize("name", ["../x.png", "a/../../../mine/x.png", "~/x.png"])
def test_a_relative_name_stays_below_prompts_in_a_store(prompts: str, name: str):
    with pytest.raises(BadRow, match="it is not below the prompts' own folder"):
        ImageLocations(prompts).resolve(name)


def test_prompts_from_elsewhere_name_their_own_bucket_and_what_is_relative_to_them():
    locations = ImageLocations("s3://theirs/sets/p.jsonl")
    assert locations.resolve("s3://theirs/x.png") == "s3://theirs/x.png"
    assert locations.resolve("a/x.png") == "s3://theirs/sets/a/x.png"
    assert locations.resolve("https://example.org/x.png") == "https://example.org/x.png"


def test_prompts_of_this_machine_name_hosts_of_the_local_network(site: Site):
    assert fetch(f"{site.address}/red.png") == png("red")


def test_prompts_from_elsewhere_reach_a_private_host_only_if_the_recipe_allows_it(site: Site):
    name, prompts = f"{site.address}/red.png", "hf://datasets/studio/animals/p.jsonl"
    for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1"):
        with pytest.raises(BadRow, match="is not a public one"):
            fetch(f"http://{host}:{site.server.server_port}/red.png", prompts)
    assert site.requests == []
    port = site.server.server_port
    for allowed in ("127.0.0.1", f"127.0.0.1:{port}", "127.0.0.0/8"):
        assert fetch(name, prompts, allowed) == png("red")
    for other in (f"127.0.0.1:{port + 1}", "10.0.0.0/8", "127.0.0.11"):
        with pytest.raises(BadRow, match=r"add the host to images\.allow_hosts"):
            fetch(name, prompts, other)


def test_prompts_on_a_private_host_name_that_host_and_are_not_redirected_to_another(site: Site):
    with Site() as other:
        other.pages["/red.png"] = [png("red")]
        site.redirects["/away.png"] = f"{other.address}/red.png"
        prompts = f"{site.address}/p.jsonl"
        assert fetch("red.png", prompts) == fetch(f"{site.address}/red.png", prompts) == png("red")
        for name in ("away.png", f"{other.address}/red.png"):
            with pytest.raises(BadRow, match="is not a public one"):
                fetch(name, prompts)
        assert other.requests == []


def test_a_redirect_leads_to_no_other_protocol(site: Site, tmp_path: Path):
    (tmp_path / "x.png").write_bytes(png("red"))
    for target in (f"file://{tmp_path}/x.png", "dask://127.0.0.1:1/x.png", "ftp://127.0.0.1/x.png"):
        site.redirects["/away.png"] = target
        with pytest.raises(BadRow, match=r"it leads to '.*', which is neither http nor https"):
            fetch(f"{site.address}/away.png")


def test_a_token_of_the_hub_is_sent_for_the_prompts_own_repository_only(
    dataset_hub: DatasetHub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "x" * 30)
    for name in ("studio/animals", "other/private"):
        dataset_hub.repositories[name] = Repository()
        dataset_hub.repositories[name].commit({"x.png": png("red")})
    prompts = "hf://datasets/studio/animals/p.jsonl"
    locations = ImageLocations(prompts)
    own, other = "hf://datasets/studio/animals@main/x.png", "hf://datasets/other/private/x.png"
    assert fetch("x.png", prompts) == fetch(own, prompts) == fetch(other, prompts) == png("red")
    assert [locations.may_use_token(name) for name in (own, other)] == [True, False]
    assert ImageLocations("p.jsonl").may_use_token(other)


def test_the_reason_names_no_signature_and_no_password(load: Callable[..., Outcome], tmp_path: Path):
    (tmp_path / "good.png").write_bytes(png("blue"))
    rows = [{"images": "ftp://me:word@h/x.png?sig=secret"}, {"images": "good.png"}]
    reason = load(rows, **EDIT).reason
    assert "'ftp://h/x.png'" in reason
    assert not {"word", "secret"} & set(json.dumps(reason).replace("?", "/").replace(":", "/").split("/"))


def test_prompts_of_this_machine_ask_no_name_server(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("a name server was asked"))
    assert ImageLocations("prompts.jsonl", ["gpu-box"]).resolve("images/x.png") == "images/x.png"
