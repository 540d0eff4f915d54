"""Images from an images API: one job against a server with right, wrong, late or no answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.api import Api
from imagemill.data.errors import BuildFailed
from imagemill.data.images.codec import Encoding, decode_image
from imagemill.data.records import Drawing, StepReport
from imagemill.data.staging.store import Staging
from imagemill.models.api import client, transport
from imagemill.models.catalog.api_spec import ApiSpec
from imagemill.models.drawing.api import draw_with_api
from imagemill.models.job import Job
from tests.data.web_site import Site
from tests.models.images_server import (
    Answer,
    ImagesServer,
    body,
    by_url,
    cuts,
    hangs,
    image,
    no_image,
    refusal,
    right,
    says,
    wrong_size,
)

PNG = Encoding("png")
CHECKS = frozenset({"size", "blank", "not_finite", "unchanged"})


@pytest.fixture
def api() -> Iterator[ImagesServer]:
    with ImagesServer().running() as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_RETRY_DELAY_S", 0.01)


def drawing(prompt: str, **more: Any) -> Drawing:
    return Drawing(key=f"{prompt:x<32}".replace(" ", "-"), prompt=prompt, seed=7, steps=None, **more)


def generate(
    server: ImagesServer,
    folder: Path,
    *drawings: Drawing,
    key: str = "sk",
    allow_hosts: tuple[str, ...] = (),
    **settings: Any,
) -> StepReport:
    spec = ApiSpec("painter", None, Api(base_url=server.address, **settings), is_edit=False)
    encodings = {drawing.key: (PNG,) for drawing in drawings}
    job = Job(spec, drawings, encodings, 1, CHECKS, str(folder))
    events: list[dict[str, Any]] = []

    async def run() -> StepReport:
        images_api = client.ImagesApi(spec.api, key, "the test's", allow_hosts)
        try:
            return await draw_with_api(job, images_api, events.append)
        finally:
            await images_api.close()

    report = asyncio.run(run())
    assert sum(event["images"] for event in events if event["kind"] == "generated") == report.generated
    return report


def staged(folder: Path, drawing: Drawing) -> Any:
    found = Staging(folder).read(drawing.key, PNG.name)
    return found and decode_image(found[0], drawing.key).tobytes()


def test_a_request_has_the_standards_field_names_and_its_image_is_staged_pixel_by_pixel(
    api: ImagesServer, tmp_path: Path
) -> None:
    fox = drawing("a fox", width=96, height=64, guidance_scale=3.5)
    report = generate(api, tmp_path, fox, quality="high", extra={"true_cfg_scale": 4.0})
    assert (report.generated, report.failed) == (1, {})
    fields = {"model": "painter", "prompt": "a fox", "n": 1, "size": "96x64", "quality": "high", "seed": 7}
    assert api.requests == [{**fields, "guidance_scale": 3.5, "true_cfg_scale": 4.0}]
    assert staged(tmp_path, fox) == decode_image(image(api.requests[0]), "").tobytes()


def test_an_image_behind_a_url_is_fetched_without_the_key(api: ImagesServer, tmp_path: Path) -> None:
    fox = drawing("a fox")
    api.answers["a fox"] = [by_url]
    assert generate(api, tmp_path, fox, send_seed=False, allow_hosts=("127.0.0.1",)).generated == 1
    assert api.requests == [{"model": "painter", "prompt": "a fox", "n": 1}]
    assert staged(tmp_path, fox) == decode_image(image(api.requests[0]), "").tobytes()


def test_an_answer_names_no_address_that_is_not_public(api: ImagesServer, tmp_path: Path) -> None:
    fox = drawing("a fox")
    with Site() as internal:
        for url in (f"{internal.address}/red.png", f"http://localhost:{internal.server.server_port}/red.png"):
            api.answers["a fox"] = [body(json.dumps({"data": [{"url": url}]}).encode())] * 2
            report = generate(api, tmp_path, fox)
            assert "is not a public one" in report.failed[fox.key].reason
        assert internal.requests == []


def test_a_redirect_is_not_followed_and_its_target_gets_no_key(api: ImagesServer, tmp_path: Path) -> None:
    with ImagesServer().running() as elsewhere:
        target = f"{elsewhere.address}/images/generations?token=hidden"
        api.always = says(307, "moved", {"location": target})
        with pytest.raises(BuildFailed, match="it redirects to") as caught:
            generate(api, tmp_path, drawing("a fox"))
        assert elsewhere.requests == []
    assert "hidden" not in str(caught.value)


def test_a_key_that_an_answer_repeats_is_left_out(api: ImagesServer, tmp_path: Path) -> None:
    api.always = says(401, "Incorrect API key provided: test-key-0123.")
    with pytest.raises(BuildFailed, match=r"Incorrect API key provided: \.\.\.") as caught:
        generate(api, tmp_path, drawing("a fox"), key="test-key-0123")
    assert "0123" not in str(caught.value)


@pytest.mark.parametrize(
    "trouble", [says(500, "oops"), says(429, "slow down"), cuts, says(503, "busy", {"retry-after": "0"})]
)
def test_a_transient_failure_is_retried(api: ImagesServer, tmp_path: Path, trouble: Any) -> None:
    api.answers["a fox"] = [trouble, trouble]
    assert generate(api, tmp_path, drawing("a fox")).generated == 1
    assert api.prompts == ["a fox"] * 3


def test_a_retry_after_delays_every_request(api: ImagesServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)
        if seconds > 1:
            clock[0] += seconds

    clock = [0.0]
    monkeypatch.setattr(transport.asyncio, "sleep", note)
    monkeypatch.setattr(transport.Transport, "_now", lambda self: clock[0])
    api.answers["a fox"] = [says(429, "slow down", {"retry-after": "30"})]
    assert generate(api, tmp_path, drawing("a fox"), drawing("a kite"), concurrency=1).generated == 2
    assert [wait for wait in waits if wait > 1] == [30.0]
    assert api.prompts == ["a fox", "a kite", "a fox"] or api.prompts == ["a fox", "a fox", "a kite"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (body(b"not json"), "malformed: 'not json'"),
        (body(b'{"data": []}'), "malformed"),
        (body(b'{"data": [{"b64_json": "@@@"}]}'), "not base64"),
        (body(b'{"data": [{}]}'), "neither b64_json nor url"),
        (no_image, "is a web page; images are PNG, JPEG"),
        (wrong_size, "32 x 32 pixels, not 64 x 64"),
    ],
)
def test_after_a_wrong_answer_one_more_request_is_made_and_then_that_row_alone_fails(
    api: ImagesServer, tmp_path: Path, answer: Any, reason: str
) -> None:
    fox, kite = (drawing(prompt, width=64, height=64) for prompt in ("a fox", "a kite"))
    api.answers["a fox"] = [answer, answer]
    report = generate(api, tmp_path, fox, kite)
    assert report.generated == 1
    assert reason in report.failed[fox.key].reason
    assert sorted(api.prompts) == ["a fox", "a fox", "a kite"]


def test_a_refused_prompt_is_set_aside_with_the_apis_own_message(api: ImagesServer, tmp_path: Path) -> None:
    fox = drawing("a fox")
    api.answers["a fox"] = [
        says(400, "Your request was rejected by the safety system.", code="content_policy_violation")
    ]
    report = generate(api, tmp_path, fox, drawing("a kite"))
    assert report.failed[fox.key].reason.endswith("Bad Request: Your request was rejected by the safety system.")
    assert sorted(api.prompts) == ["a fox", "a kite"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (says(401, "Incorrect API key provided."), "does not accept the key (its key is the test's)"),
        (says(404, "The model `painter` does not exist."), "The model `painter` does not exist."),
        (says(400, "Unknown parameter: 'seed'.", param="seed"), "set api.send_seed to false"),
        (says(429, "You exceeded your quota.", code="insufficient_quota"), "requires payment"),
        (says(429, "Come back tomorrow.", {"retry-after": "86400"}), "retry after 86400 s"),
    ],
)
def test_a_failure_that_concerns_every_row_ends_the_build_at_once(
    api: ImagesServer, tmp_path: Path, answer: Any, message: str
) -> None:
    api.always = answer
    with pytest.raises(BuildFailed) as error:
        generate(api, tmp_path, drawing("a fox"), drawing("a kite"), concurrency=1)
    assert message in str(error.value)
    assert len(api.requests) == 1


def test_an_unreachable_api_ends_the_build_and_a_row_that_breaks_the_connection_does_not(
    api: ImagesServer, tmp_path: Path
) -> None:
    fox = drawing("a fox")
    api.answers["a fox"] = [cuts] * 3
    report = generate(api, tmp_path, fox, drawing("a kite"), retries=2)
    assert report.failed[fox.key].attempts == 3
    api._http.server_close()
    with pytest.raises(BuildFailed, match="no server answers there"):
        generate(api, tmp_path / "other", drawing("a fox"), retries=1)


@pytest.mark.slow
def test_an_answer_that_takes_too_long_fails_its_row(api: ImagesServer, tmp_path: Path) -> None:
    fox = drawing("a fox")
    api.answers["a fox"] = [hangs, hangs]
    report = generate(api, tmp_path, fox, drawing("a kite"), timeout=0.5, retries=1)
    assert report.failed[fox.key].reason == "the API did not answer within 0.5 s (2 requests)"


def test_if_a_plain_image_fails_too_no_row_is_at_fault(api: ImagesServer, tmp_path: Path) -> None:
    api.always = says(400, "height must be at least 512")
    with pytest.raises(BuildFailed, match=r"a plain one too, so no single row is at fault: .*at least 512"):
        generate(api, tmp_path, drawing("a fox"), drawing("a kite"))
    api.always = lambda server, fields: (
        right(server, fields) if fields["prompt"] == "an image" else refusal(400, "No animals.")
    )
    assert len(generate(api, tmp_path, drawing("a fox"), drawing("a kite")).failed) == 2


def test_no_more_requests_are_in_flight_than_the_recipe_allows(api: ImagesServer, tmp_path: Path) -> None:
    fourth = threading.Event()

    def wait_for_a_fourth(server: ImagesServer, fields: dict[str, Any]) -> Answer:
        if server.in_flight > 3:
            fourth.set()
        # Long enough for one request too many; the first three wait for it together.
        if not fourth.is_set() and len(server.requests) <= 3:
            fourth.wait(0.5)
        return right(server, fields)

    api.always = wait_for_a_fourth
    assert generate(api, tmp_path, *(drawing(f"fox {number}") for number in range(6)), concurrency=3).generated == 6
    assert api.max_in_flight == 3
