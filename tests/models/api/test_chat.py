"""Questions to a chat API: answers in JSON, with and without a schema, and servers that answer wrongly, late or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from imagemill.data.config.words.answer_fields import parse_fields
from imagemill.data.config.words.chat_api import ChatApi
from imagemill.data.errors import BuildFailed
from imagemill.models.api import transport
from imagemill.models.api.chat import MAX_ANSWER_CHARS, ChatClient, ChatQuestion, Reply
from imagemill.models.api.data_urls import encode
from imagemill.models.api.transport import ApiFault
from tests.models.chat_server import (
    Asked,
    ChatServer,
    Http,
    busy,
    completion,
    cuts,
    declines,
    fails,
    half,
    hangs,
    huge,
    is_filtered,
    malformed,
    refuses,
    words,
    wrapped,
)

FIELDS = parse_fields({"follows": "1..5", "reason": "text"})
RIGHT = {"follows": 4, "reason": "It is {red} and *round*."}


def answer(asked: Asked) -> dict[str, Any]:
    return RIGHT


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(answer).running() as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST_RETRY_DELAY_S", 0.01)


def question(text: str = "How well?", **more: Any) -> ChatQuestion:
    return ChatQuestion("judge", "You judge.", text, (), FIELDS, **more)


def ask(
    server: ChatServer, *questions: ChatQuestion, before: Callable[[], None] = lambda: None, **api: Any
) -> list[Reply | BaseException]:
    """The answer to each question, in the order of the questions; of one that fails, its error."""

    async def run() -> list[Reply | BaseException]:
        client = ChatClient(ChatApi(base_url=server.address, **api), "sk", "the test's")
        try:
            return await asyncio.gather(*(client.ask(each, before) for each in questions), return_exceptions=True)
        finally:
            await client.close()

    return asyncio.run(run())


def reply(server: ChatServer, asked: ChatQuestion, **api: Any) -> Reply:
    (found,) = ask(server, asked, **api)
    if isinstance(found, BaseException):
        raise found
    return found


def test_a_request_has_the_system_text_and_the_question_first_and_the_images_last(server: ChatServer) -> None:
    images = tuple(encode(Image.new("RGB", (8, 8), colour)) for colour in ("red", "blue"))
    asked = ChatQuestion("judge", "You judge.", "How well?", images, FIELDS, 0.0, 7, 300, {"top_p": 0.9})
    found = reply(server, asked)
    (request,) = server.requests
    assert [message["role"] for message in request.messages] == ["system", "user"]
    assert [part["type"] for part in request.messages[1]["content"]] == ["text", "image_url", "image_url"]
    assert [image.getpixel((0, 0)) for image in request.images] == [(255, 0, 0), (0, 0, 255)]
    body = {name: value for name, value in request.body.items() if name not in ("messages", "response_format")}
    assert body == {"model": "judge", "temperature": 0.0, "seed": 7, "max_tokens": 300, "top_p": 0.9}
    assert request.body["response_format"]["json_schema"]["schema"]["required"] == ["follows", "reason"]
    assert (found.values, found.fault, found.requests) == (RIGHT, None, 1)
    assert (found.prompt_tokens, found.completion_tokens > 0) == (100, True)


def test_a_server_that_refuses_schemas_is_sent_none_for_the_rest_of_the_run(server: ChatServer) -> None:
    server.takes_schema = False
    found = ask(server, *(question(f"Question {number}") for number in range(5)))
    assert [reply.values for reply in found] == [RIGHT] * 5
    assert [request.by_schema for request in server.requests].count(True) == 1
    contents = {request.messages[1]["content"].partition("\n\n")[2] for request in server.requests}
    assert contents == {
        'Answer with one JSON object and nothing else. Its fields are: "follows" (a whole number from 1 to 5), '
        '"reason" (a text).'
    }


def test_a_question_that_is_refused_says_nothing_of_schemas(server: ChatServer) -> None:
    server.script.extend([fails(400, "The text is too long.")] * 2)
    (first,) = ask(server, question())
    assert isinstance(first, ApiFault)
    server.requests.clear()
    server.script.extend([fails(400, "The text is too long.")] * 2)
    found = ask(server, question("long"), question("short"), concurrency=1)
    assert isinstance(found[0], ApiFault)
    assert found[1].values == RIGHT
    assert [request.by_schema for request in server.requests] == [True, False, True]


@pytest.mark.parametrize(
    "form",
    [
        wrapped("```json\n", "\n```"),
        wrapped("Here is my {honest} judgement:\n\n", "\n\nI hope that helps {you}!"),
        wrapped('<think>{"follows": 1, "reason": "a draft"}</think>', ""),
        lambda server, asked: {"answer": RIGHT},
        lambda server, asked: {**RIGHT, "follows": "4", "more": None},
        lambda server, asked: {**RIGHT, "follows": 4.0},
        lambda server, asked: completion("", content=[{"type": "text", "text": json.dumps(RIGHT)}]),
    ],
)
def test_an_answer_is_read_whatever_stands_round_its_json(server: ChatServer, form: Any) -> None:
    server.script.append(form)
    found = reply(server, question())
    assert (found.values, found.requests) == (RIGHT, 1)


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (malformed, "it holds no JSON object"),
        (words(""), "it is empty"),
        (words('{"follows": 6, "reason": ""}'), "follows is 6, not a whole number from 1 to 5"),
        (words('{"follows": true, "reason": ""}'), "follows is True, not a whole number from 1 to 5"),
        (words('{"follows": 3}'), "it has no field reason"),
        (words('{"follows": 3, "reason": {"a": 1}}'), "reason is {'a': 1}, not a text"),
        (words("[" * 100_000 + '{"a":' * 100_000), "it holds no JSON object"),
        (lambda server, asked: completion('{"follows": 3, "rea', reason="length"), "the limit of its tokens"),
        (declines, "Its answer: \"I'm sorry, but I can't judge"),
        (huge, "it has over 1,048,576 bytes"),
    ],
)
def test_an_unreadable_answer_is_asked_for_once_more_and_then_it_is_the_answer(
    server: ChatServer, form: Any, why: str
) -> None:
    server.script.append(form)
    found = reply(server, question())
    assert (found.values, found.requests) == (RIGHT, 2)
    assert server.requests[-1].is_correction
    server.script.extend([form, form])
    found = reply(server, question())
    assert (found.values, found.requests) == (None, 2)
    assert why in found.fault
    assert len(found.fault) < 400
    assert len(found.text) <= MAX_ANSWER_CHARS


@pytest.mark.parametrize(
    ("form", "words_of_it"),
    [
        (refuses, "I can't help with that."),
        (is_filtered, "its server's content filter stopped it"),
        (fails(400, "The prompt was filtered.", code="content_filter"), "The prompt was filtered."),
    ],
)
def test_a_refusal_is_an_answer_and_is_not_asked_again(server: ChatServer, form: Any, words_of_it: str) -> None:
    server.script.append(form)
    found = reply(server, question())
    assert (found.values, found.requests) == (None, 1)
    assert found.fault.startswith("the model refused: ")
    assert words_of_it in found.fault


@pytest.mark.parametrize("trouble", [fails(500, "oops"), busy(), cuts, half, fails(529, "overloaded")])
def test_a_transient_failure_is_retried(server: ChatServer, trouble: Any) -> None:
    server.script.extend([trouble, trouble])
    found = reply(server, question())
    assert (found.values, found.requests) == (RIGHT, 3)


def test_every_request_is_announced_before_it_is_made(server: ChatServer) -> None:
    server.takes_schema = False
    server.script.extend([busy(), malformed])
    before: list[int] = []
    (found,) = ask(server, question(), before=lambda: before.append(len(server.requests)))
    assert found.requests == 4
    assert before == [0, 1, 2, 3]


def test_a_spent_budget_stops_before_the_request(server: ChatServer) -> None:
    class Spent(Exception):
        pass

    def stop() -> None:
        if len(server.requests) == 2:
            raise Spent

    found = ask(server, *(question(str(number)) for number in range(4)), before=stop, concurrency=1)
    assert [type(reply) for reply in found] == [Reply, Reply, Spent, Spent]
    assert len(server.requests) == 2


@pytest.mark.parametrize("body", [b"not json", b"{}", b'{"choices": [{"message": {"content": 3}}]}', b"[" * 100_000])
def test_a_malformed_response_is_requested_once_more_and_then_there_is_no_answer(
    server: ChatServer, body: bytes
) -> None:
    server.script.append(lambda server, asked: Http(200, body))
    assert reply(server, question()).values == RIGHT
    server.script.extend([lambda server, asked: Http(200, body)] * 2)
    with pytest.raises(ApiFault, match="malformed"):
        reply(server, question())


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (fails(401, "Incorrect API key provided."), "does not accept the key (its key is the test's)"),
        (fails(404, "The model `judge` does not exist."), "The model `judge` does not exist."),
        (fails(429, "You exceeded your quota.", code="insufficient_quota"), "requires payment"),
        (fails(429, "Come back tomorrow.", (("retry-after", "86400"),)), "retry after 86400 s"),
    ],
)
def test_a_failure_that_concerns_every_question_ends_the_build_at_once(
    server: ChatServer, trouble: Any, message: str
) -> None:
    server.troubles = lambda asked, number: trouble
    found = ask(server, question("one"), question("two"), concurrency=1)
    assert [type(error) for error in found] == [BuildFailed, BuildFailed]
    assert message in str(found[0])
    assert str(found[0]).startswith(f"the chat API at {server.address} answers nothing: ")
    assert len(server.requests) == 1


@pytest.mark.slow
def test_an_answer_that_takes_too_long_is_no_answer(server: ChatServer) -> None:
    server.script.extend([hangs, hangs])
    found = ask(server, question(), timeout=0.5, retries=1)
    assert str(found[0]) == "the API did not answer within 0.5 s (2 requests)"


def test_no_more_questions_are_in_flight_than_the_recipe_allows(server: ChatServer) -> None:
    found = ask(server, *(question(str(number)) for number in range(20)), concurrency=3)
    assert all(reply.values == RIGHT for reply in found)
    assert server.max_in_flight <= 3
