"""The chat client against a server that is not ours: `transformers serve`, with a tiny vision-language model."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemill.data.config.words.answer_fields import parse_fields
from imagemill.data.config.words.chat_api import ChatApi
from imagemill.models.api.chat import ChatClient, ChatQuestion, Reply
from imagemill.models.api.data_urls import encode
from imagemill.models.api.transport import ApiFault
from tests.models.transformers_server import needs_serving, serving

pytestmark = [pytest.mark.slow, needs_serving]

FIELDS = parse_fields({"follows": "1..5", "reason": "text"})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.models.tiny.vision_language import save_llava

    return save_llava(tmp_path_factory.mktemp("llava"))


@pytest.fixture(scope="module")
def address(model: Path) -> Iterator[str]:
    with serving(model) as address:
        yield address


def ask(address: str, model: Path | str, *colours: str, **settings: Any) -> Reply:
    images = tuple(encode(Image.new("RGB", (64, 64), colour)) for colour in colours)
    settings = {"max_tokens": 20, "seed": 7, **settings}

    async def run() -> Reply:
        client = ChatClient(ChatApi(base_url=address, retries=0), None, "none")
        try:
            return await client.ask(
                ChatQuestion(str(model), "You judge.", "How well?", images, FIELDS, **settings), lambda: None
            )
        finally:
            await client.close()

    return asyncio.run(run())


def test_it_takes_the_questions_and_its_garbage_is_an_unreadable_answer(address: str, model: Path) -> None:
    reply = ask(address, model, "red")
    assert (reply.values, reply.requests) == (None, 2)
    assert reply.text
    assert reply.fault is not None
    assert reply.fault.startswith("the model's answer is unreadable, as ")
    assert 1 <= reply.completion_tokens <= 40


def test_every_image_reaches_the_model_as_tokens(address: str, model: Path) -> None:
    tokens = [ask(address, model, *colours).prompt_tokens for colours in ((), ("red",), ("red", "blue"))]
    # 16 patches each; a question is sent twice, the second time with the first answer.
    assert tokens[1] - tokens[0] > 20
    assert tokens[2] - tokens[1] > 20


def test_the_same_question_with_a_seed_and_temperature_0_has_the_same_answer(address: str, model: Path) -> None:
    assert ask(address, model, "red") == ask(address, model, "red")


def test_its_own_words_say_that_it_does_not_serve_a_model(address: str) -> None:
    with pytest.raises(ApiFault, match="the API refused: 400 Bad Request: Server is pinned to"):
        ask(address, "no/such-model")
