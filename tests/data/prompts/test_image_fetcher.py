"""Images named by URL are downloaded once per build; a missing one costs its row, a dead server stops the build."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imagemill.data.errors import BadRow, InputError
from imagemill.data.prompts import image_download, image_fetcher
from imagemill.data.prompts.image_download import ImageDownloader
from imagemill.data.prompts.image_locations import ImageLocations
from imagemill.data.storage.locations import redact
from tests.data.conftest import Outcome
from tests.data.dataset_hub import DatasetHub, Repository
from tests.data.web_site import Site, png

EDIT = {"edit": {"instructions": ["make it red"]}}


def fetch(name: str, prompts: str = "prompts.jsonl", *allow_hosts: str) -> bytes:
    """Download the image of this name in a row of these prompts."""
    locations = ImageLocations(prompts, allow_hosts)
    return ImageDownloader(locations).fetch(locations.resolve(name))


Load = Callable[..., Outcome]


def test_an_image_at_a_url_is_handled_like_a_local_one(load: Load, site: Site, tmp_path: Path):
    (tmp_path / "red.png").write_bytes(png("red"))
    rows = load([{"images": [f"{site.address}/red.png?size=1"]}, {"images": "red.png"}], **EDIT).rows
    assert rows[0].image_hash == rows[1].image_hash
    assert Path(rows[0].image).read_bytes() == png("red")
    assert Path(rows[0].image).name == "red.png"
    # Equal content, equal identity: moving images to a server regenerates nothing.
    assert rows[1].id == f"{rows[0].id}-2"


def test_an_image_is_downloaded_once_per_build_even_if_it_was_interrupted(load: Load, site: Site):
    rows = [{"images": f"{site.address}/red.png", "id": str(number)} for number in range(3)]
    assert len(load(rows, **EDIT).rows) == 3
    assert len(load(rows, **EDIT).rows) == 3
    assert site.requests == ["/red.png"]


@pytest.mark.parametrize(
    ("responses", "words"),
    [
        ([404], "cannot be fetched: HTTP 404"),
        ([503], "cannot be fetched: HTTP 503, 3 times"),
        ([b"<html>no image</html>"], "undecodable image: "),
        ([png("green") + bytes(3000)], "is larger than 0 MiB"),
    ],
)
def test_an_image_that_cannot_be_fetched_sets_its_row_aside_with_the_reason(
    load: Load, site: Site, monkeypatch: pytest.MonkeyPatch, responses: list[int | bytes], words: str
):
    monkeypatch.setattr(image_download, "MAX_BYTES", 2000)
    site.pages["/bad.png"] = responses
    bad = f"{site.address}/bad.png?signature=secret"
    outcome = load([{"images": bad}, {"images": f"{site.address}/blue.png"}], **EDIT)
    assert (len(outcome.rows), outcome.faults[0].line, words in outcome.reason) == (1, 1, True)
    assert f"'{site.address}/bad.png'" in outcome.reason
    assert "secret" not in outcome.reason


@pytest.mark.parametrize("responses", [[500, 429, png("red")], [302]])
def test_transient_errors_are_retried_and_redirects_followed(site: Site, responses: list[int | bytes]):
    site.pages["/late.png"] = responses
    assert fetch(f"{site.address}/late.png") == png("red")


def test_a_silent_server_times_out(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(image_download, "READ_TIMEOUT_S", 0.1)
    site.stalls.add("/red.png")
    with pytest.raises(BadRow, match="cannot be fetched: timed out, 3 times"):
        fetch(f"{site.address}/red.png")


def test_retry_after_is_respected(site: Site, monkeypatch: pytest.MonkeyPatch):
    delays: list[float] = []
    monkeypatch.setattr(image_download.time, "sleep", delays.append)
    site.pages["/late.png"], site.retry_after = [429, 429, png("red")], "7"
    assert fetch(f"{site.address}/late.png") == png("red")
    assert delays == [7.0, 7.0]


def test_a_dead_server_stops_the_build_and_no_finished_row_is_lost(
    load: Load, site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(image_fetcher, "MAX_UNREACHABLE", 3)
    site.pages["/down.png"] = [503]
    down = {"images": f"{site.address}/down.png"}
    with pytest.raises(InputError, match=r"3 consecutive rows cannot be reached, .* Nothing was changed"):
        load([down] * 4, **EDIT)
    good, gone = {"images": f"{site.address}/red.png"}, {"images": f"{site.address}/gone.png"}
    assert len(load([down, down, good, down, down, gone, down], **EDIT).faults) == 6


def test_relative_images_are_resolved_against_the_prompts(dataset_hub: DatasetHub):
    repository = dataset_hub.repositories["studio/animals"] = Repository()
    repository.commit({"art/red.png": png("red")})
    before = repository.head
    repository.commit({"art/red.png": png("blue")})
    for prompts in (f"hf://datasets/studio/animals@{before}/art/all.jsonl", f"hf:studio/animals@{before}:train"):
        name = "red.png" if "jsonl" in prompts else "art/red.png"
        assert fetch(name, prompts) == png("red")
    assert fetch("hf://datasets/studio/animals/art/red.png") == png("blue")
    with pytest.raises(BadRow, match=r"missing image: 'hf://datasets/studio/animals/no\.png' does not exist"):
        fetch("hf://datasets/studio/animals/no.png")
    web = ImageLocations("https://host.invalid/x/all.jsonl?a=1/2")
    assert web.resolve("b c.png") == "https://host.invalid/x/b%20c.png"
    assert ImageLocations("folder/all.jsonl").resolve("/images/a.png") == "/images/a.png"


def test_an_image_in_object_storage_is_read_and_a_missing_one_reported(bucket: str):
    import boto3

    boto3.client("s3").put_object(Bucket=bucket, Key="art/red.png", Body=png("red"))
    assert fetch("art/red.png", f"s3://{bucket}/all.jsonl") == png("red")
    with pytest.raises(BadRow, match="missing image"):
        fetch(f"s3://{bucket}/none.png")


def test_a_location_is_redacted_of_its_user_and_signature():
    assert redact("https://me:word@host/a.png?sig=x#y") == "https://host/a.png"
    assert json.dumps(redact("/folder/a b.png")) == '"/folder/a b.png"'
