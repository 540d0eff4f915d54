"""An asker looks each question up first, pins each answer before it is used, and asks equal questions once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemill.data.answers.budget import Budget, BudgetReached
from imagemill.data.answers.records import Answer, Question, SeenImage
from imagemill.data.answers.store import AnswerStore
from imagemill.data.config.words.answer_fields import parse_fields
from imagemill.data.config.words.chat_api import ChatApi
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BadRow, BuildFailed
from imagemill.data.storage.locations import hash_file
from imagemill.models.api.asking import Asker, answer_all
from imagemill.models.api.chat import ChatClient
from imagemill.models.api.transport import ApiFault
from tests.models.chat_server import Asked, ChatServer, fails

FIELDS = parse_fields({"words": "text"})


def say(asked: Asked) -> dict[str, Any]:
    return {"words": asked.text.upper()}


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with ChatServer(say).running() as server:
        yield server


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnswerStore]:
    folder = Folder(tmp_path / "out")
    with folder.lock("words"), AnswerStore.opened(folder) as store:
        yield store


def question(text: str, *images: SeenImage) -> Question:
    return Question("llm.0", "teller", "", text, FIELDS, images)


def ask(chat: ChatServer, store: AnswerStore, *questions: Question, events: list | None = None, **budget: Any) -> list:
    async def run() -> list:
        client = ChatClient(ChatApi(base_url=chat.address, retries=0, concurrency=2), None, "none")
        report = (events if events is not None else []).append
        try:
            asker = Asker(client, store, Budget("llm.0", **budget), report)
            return await answer_all(questions, asker.answer, 4)
        finally:
            await client.close()

    return asyncio.run(run())


def test_outcomes_have_the_order_of_the_questions(chat: ChatServer, store: AnswerStore) -> None:
    gate, answered = threading.Event(), []

    def answer(asked: Asked) -> dict[str, Any]:
        if asked.text == "c":
            gate.set()
        elif asked.text == "a":
            gate.wait(60)
        answered.append(asked.text)
        return say(asked)

    chat.answer = answer
    events: list[dict[str, Any]] = []
    # A client asks its first question alone, to find out what the server takes.
    found = ask(chat, store, question("first"), *map(question, "abc"), events=events)
    assert answered == ["first", "b", "c", "a"]
    assert [answer.values["words"] for answer in found] == ["FIRST", "A", "B", "C"]
    assert sum(event["requests"] for event in events if event["kind"] == "asked") == 4
    tokens = [event["prompt_tokens"] for event in events if event["kind"] == "answered"]
    assert (len(tokens), set(tokens)) == (4, {100})


def test_equal_questions_are_asked_once(chat: ChatServer, store: AnswerStore) -> None:
    found = ask(chat, store, *[question("a")] * 5)
    assert {answer.values["words"] for answer in found} == {"A"}
    assert len(chat.requests) == 1
    ask(chat, store, question("a"))
    assert len(chat.requests) == 1


def test_the_same_image_in_another_file_asks_nothing(chat: ChatServer, store: AnswerStore, tmp_path: Path) -> None:
    seen = []
    for number, level in enumerate((1, 9)):
        path = tmp_path / f"{number}.png"
        Image.radial_gradient("L").save(path, compress_level=level)
        seen.append(SeenImage(str(path), hash_file(path)))
    assert seen[0].sha256 != seen[1].sha256
    (first,) = ask(chat, store, question("a", seen[0]))
    (second,) = ask(chat, store, question("a", seen[1]))
    assert (second.question, second.values, second.requests) == (first.question, first.values, 0)
    assert len(chat.requests) == 1
    # From now on no image is decoded for it.
    assert store.find(question("a", seen[1])) == second


def test_one_question_that_fails_leaves_the_others(chat: ChatServer, store: AnswerStore, tmp_path: Path) -> None:
    ask(chat, store, question("first"))
    chat.troubles = lambda asked, number: fails(400, "No.") if asked.text == "b" else None
    gone = question("c", SeenImage(str(tmp_path / "gone.png"), "00"))
    a, b, c, d = ask(chat, store, question("a"), question("b"), gone, question("d"))
    assert isinstance(a, Answer)
    assert isinstance(b, ApiFault)
    assert isinstance(c, BadRow)
    assert isinstance(d, Answer)
    # It was paid for, and is not pinned.
    assert store.spent("llm.0").requests == 4
    assert store.find(question("b")) is None


def test_an_api_at_fault_ends_all(chat: ChatServer, store: AnswerStore) -> None:
    chat.key = "another"
    with pytest.raises(BuildFailed, match="does not accept the key"):
        ask(chat, store, *map(question, "abc"))


def test_over_a_budget_what_is_known_is_still_answered(chat: ChatServer, store: AnswerStore) -> None:
    ask(chat, store, question("a"))
    known, new = ask(chat, store, question("a"), question("b"), max_requests=1)
    assert isinstance(known, Answer)
    assert isinstance(new, BudgetReached)
    assert len(chat.requests) == 1
