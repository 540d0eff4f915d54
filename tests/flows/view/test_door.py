"""Tests of the gallery's door: only who has the link, from this machine, reads anything, and nothing is changed."""

from __future__ import annotations

from contextlib import closing

import pytest
from starlette.testclient import TestClient

from imagemill.flows.view.door import HEADERS, OPEN, Door

PATHS = (
    "/",
    "/scores",
    "/runs",
    "/state",
    "/static/page.js",
    "/image/data/train-00000-00000000.parquet/0/image",
    "/no",
)


@pytest.fixture
def stranger(door: Door) -> TestClient:
    return TestClient(door, base_url="http://127.0.0.1:5000", follow_redirects=False)


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_answered_without_the_cookie(stranger: TestClient, path: str) -> None:
    for cookies in ({}, {"imagemill-view-5000": "guess"}, {"imagemill-view-5000": "käse"}):
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()).encode()}
        answer = stranger.get(path, headers=headers)
        assert (answer.status_code, "shapes" in answer.text) == (403, False)


def test_the_link_is_exchanged_for_a_cookie_that_no_script_reads(door: Door, stranger: TestClient) -> None:
    token = door.new_token()
    answer = stranger.get(OPEN + token)

    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert token not in cookie
    assert stranger.get("/").status_code == 200


def test_a_link_works_once(door: Door, stranger: TestClient) -> None:
    token = door.new_token()
    assert stranger.get(OPEN + token).status_code == 303

    stranger.cookies.clear()
    for again in (token, token[:-1], "", "ü"):
        assert stranger.get(OPEN + again).status_code == 403
    assert stranger.get("/").status_code == 403


@pytest.mark.parametrize(
    "host", ["example.com", "example.com:5000", "127.0.0.1.example.com:5000", "192.168.0.9:5000", ""]
)
def test_a_request_that_names_another_host_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/", headers={"host": host})
    assert (answer.status_code, "shapes" in answer.text) == (421, False)


@pytest.mark.parametrize("host", ["127.0.0.1:5000", "localhost:5000", "localhost:8080", "localhost", "[::1]:5000"])
def test_this_machine_is_known_by_its_names_and_through_a_tunnel(client: TestClient, host: str) -> None:
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    assert client.get("/state", headers={"host": host, "cookie": cookie}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_it_is_read_only(client: TestClient, method: str) -> None:
    assert client.request(method, "/").status_code == 405


@pytest.mark.parametrize("path", [*PATHS, "/row/0", "/?where=x"])
def test_every_answer_forbids_scripts_of_others_and_embedding(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_no_page_has_the_session_or_a_token(door: Door, judged: object) -> None:
    with closing(TestClient(door, base_url="http://127.0.0.1:5000")) as client:
        token = door.new_token()
        client.get(OPEN + token)
        (session,) = client.cookies.values()
        spare = door.new_token()
        for path in ("/", "/scores", "/runs", "/pairs", "/set-aside", "/at?i=0", "/state"):
            text = client.get(path).text
            assert not [secret for secret in (token, spare, session) if secret in text]
