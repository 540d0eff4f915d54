from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from PIL import Image

from imagemill.data.errors import BadRow, InputError
from imagemill.data.prompts import image_fetcher as given_images
from imagemill.data.prompts.image_fetcher import fetch_image, image_place, shown
from tests.data.conftest import Outcome
from tests.data.dataset_hub import DatasetHub, Repository

EDIT = {"edit": {"instructions": ["make it red"]}}


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (24, 16), colour).save(buffer, "PNG")
    return buffer.getvalue()


class Site:
    """A web site of images: {path: answers in turn, the last for ever}; an answer is a status or a content."""

    def __init__(self) -> None:
        self.pages: dict[str, list[int | bytes]] = {}
        self.stalls: set[str] = set()
        self.go_on = Event()
        self.asked: list[str] = []
        self.retry_after = "0"
        site = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                return None

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                site.asked.append(path)
                if path in site.stalls:
                    site.go_on.wait(30)
                answers = site.pages.get(path, [404])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                self.send_response(answer if isinstance(answer, int) else 200)
                if answer == 302:
                    self.send_header("Location", "/red.png")
                self.send_header("Retry-After", site.retry_after)
                self.end_headers()
                if isinstance(answer, bytes):
                    self.wfile.write(answer)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(given_images, "RETRY_DELAY_S", 0.0)
    site = Site()
    site.pages |= {"/red.png": [png("red")], "/blue.png": [png("blue")]}
    yield site
    site.go_on.set()
    site.server.shutdown()
    site.server.server_close()


Load = Callable[..., Outcome]


def test_an_image_at_a_url_is_handled_as_a_local_one(load: Load, site: Site, tmp_path: Path):
    (tmp_path / "red.png").write_bytes(png("red"))
    rows = load([{"images": [f"{site.address}/red.png?size=1"]}, {"images": "red.png"}], **EDIT).rows
    assert rows[0].image_hash == rows[1].image_hash
    assert Path(rows[0].image).read_bytes() == png("red")
    assert Path(rows[0].image).name == "red.png"
    # Equal content, equal identity: moving images to a server generates nothing anew.
    assert rows[1].id == f"{rows[0].id}-2"


def test_one_image_is_fetched_once_a_build_also_when_that_was_interrupted(load: Load, site: Site):
    rows = [{"images": f"{site.address}/red.png", "id": str(number)} for number in range(3)]
    assert len(load(rows, **EDIT).rows) == 3
    assert len(load(rows, **EDIT).rows) == 3
    assert site.asked == ["/red.png"]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([404], "cannot be fetched: HTTP 404"),
        ([503], "cannot be fetched: HTTP 503, 3 times"),
        ([b"<html>no image</html>"], "undecodable image: "),
        ([png("green") + bytes(3000)], "is larger than 0 MiB"),
    ],
)
def test_an_image_that_cannot_be_fetched_sets_its_row_aside_with_the_reason(
    load: Load, site: Site, monkeypatch: pytest.MonkeyPatch, answers: list[int | bytes], words: str
):
    monkeypatch.setattr(given_images, "MAX_BYTES", 2000)
    site.pages["/bad.png"] = answers
    bad = f"{site.address}/bad.png?signature=secret"
    outcome = load([{"images": bad}, {"images": f"{site.address}/blue.png"}], **EDIT)
    assert (len(outcome.rows), outcome.faults[0].line, words in outcome.reason) == (1, 1, True)
    assert f"'{site.address}/bad.png'" in outcome.reason
    assert "secret" not in outcome.reason


@pytest.mark.parametrize("answers", [[500, 429, png("red")], [302]])
def test_a_server_that_stumbles_or_points_elsewhere_still_gives_the_image(site: Site, answers: list[int | bytes]):
    site.pages["/late.png"] = answers
    assert fetch_image(f"{site.address}/late.png") == png("red")


def test_a_server_that_says_nothing_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(given_images, "READ_TIMEOUT_S", 0.1)
    site.stalls.add("/red.png")
    with pytest.raises(BadRow, match="cannot be fetched: timed out, 3 times"):
        fetch_image(f"{site.address}/red.png")


def test_a_server_is_given_the_time_that_it_asks_for(site: Site, monkeypatch: pytest.MonkeyPatch):
    waited: list[float] = []
    monkeypatch.setattr(given_images.time, "sleep", waited.append)
    site.pages["/late.png"], site.retry_after = [429, 429, png("red")], "7"
    assert fetch_image(f"{site.address}/late.png") == png("red")
    assert waited == [7.0, 7.0]


def test_where_no_server_answers_the_build_stops_and_no_finished_row_is_lost(
    load: Load, site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(given_images, "MAX_UNREACHABLE", 3)
    site.pages["/down.png"] = [503]
    down = {"images": f"{site.address}/down.png"}
    with pytest.raises(InputError, match=r"3 rows one after another cannot be reached, .* Nothing was changed"):
        load([down] * 4, **EDIT)
    good, gone = {"images": f"{site.address}/red.png"}, {"images": f"{site.address}/gone.png"}
    assert len(load([down, down, good, down, down, gone, down], **EDIT).faults) == 6


def test_images_lie_beside_prompts_wherever_these_are(dataset_hub: DatasetHub):
    repository = dataset_hub.repositories["studio/animals"] = Repository()
    repository.commit({"art/red.png": png("red")})
    before = repository.head
    repository.commit({"art/red.png": png("blue")})
    for prompts in (f"hf://datasets/studio/animals@{before}/art/all.jsonl", f"hf:studio/animals@{before}:train"):
        name = "red.png" if "jsonl" in prompts else "art/red.png"
        assert fetch_image(image_place(prompts, name)) == png("red")
    assert fetch_image("hf://datasets/studio/animals/art/red.png") == png("blue")
    with pytest.raises(BadRow, match=r"missing image: 'hf://datasets/studio/animals/no\.png' does not exist"):
        fetch_image("hf://datasets/studio/animals/no.png")
    assert image_place("https://host/x/all.jsonl?a=1/2", "b c.png") == "https://host/x/b%20c.png"
    assert image_place("folder/all.jsonl", "/images/a.png") == "/images/a.png"


def test_an_image_in_object_storage_is_read_and_a_missing_one_said(bucket: str):
    import boto3

    boto3.client("s3").put_object(Bucket=bucket, Key="art/red.png", Body=png("red"))
    assert fetch_image(image_place(f"s3://{bucket}/all.jsonl", "art/red.png")) == png("red")
    with pytest.raises(BadRow, match="missing image"):
        fetch_image(f"s3://{bucket}/none.png")
    with pytest.raises(BadRow, match="cannot be fetched: Protocol not known"):
        fetch_image("ftpx://host/a.png")


def test_a_place_is_told_without_its_user_and_signature():
    assert shown("https://me:word@host/a.png?sig=x#y") == "https://host/a.png"
    assert json.dumps(shown("/folder/a b.png")) == '"/folder/a b.png"'
