"""The tests' language model that sees is right about the bundled model's scenes, through a real client."""

from __future__ import annotations

import asyncio

import numpy as np
from PIL import Image

from imagemill.data.config.words.answer_fields import parse_fields
from imagemill.data.config.words.chat_api import ChatApi
from imagemill.models.api.chat import ChatClient, ChatQuestion
from imagemill.models.api.data_urls import encode
from imagemill.models.bundled.scenes import draw, draw_jitter, sample_edits
from imagemill.models.bundled.wording import edited, instruct
from tests.models.chat_server import ChatServer
from tests.models.seeing_judge import see


def test_it_judges_right_and_wrong_edits_and_writes_instructions_for_what_it_sees() -> None:
    rng = np.random.default_rng(1)
    edits = sample_edits(rng, 12)
    jitter = draw_jitter(rng, len(edits))
    before, after = (
        [encode(Image.fromarray(image)) for image in draw([edit[side] for edit in edits], jitter)] for side in (0, 2)
    )
    instructions = [instruct(*edit, rng) for edit in edits]
    judging = parse_fields({"follows": "1..5", "keeps": "1..5", "reason": "text"})
    writing = parse_fields({"edit_prompt": "text", "short": "text", "target_prompt": "text", "inverse_edit": "text"})

    async def run(server: ChatServer) -> tuple[list, list, list]:
        client = ChatClient(ChatApi(base_url=server.address), None, "none")

        async def ask(text: str, *images: bytes, fields=judging):
            return await client.ask(ChatQuestion("m", "", text, images, fields), lambda: None)

        questions = [f"Judge this edit.\nInstruction: {text}" for text in instructions]
        right = [await ask(text, *images) for text, *images in zip(questions, before, after)]
        wrong = [await ask(text, image, image) for text, image in zip(questions, before)]
        written = [await ask("Write an instruction for this image.", image, fields=writing) for image in before]
        await client.close()
        return right, wrong, written

    with ChatServer(see).running() as server:
        right, wrong, written = asyncio.run(run(server))
    assert [(reply.values["follows"], reply.values["keeps"]) for reply in right] == [(5, 5)] * 12
    assert [reply.values["follows"] for reply in wrong] == [1] * 12
    for (scene, _, _), reply in zip(edits, written):
        target = edited(scene, reply.values["edit_prompt"])
        assert target != scene
        assert edited(scene, reply.values["short"]) == target
        assert edited(target, reply.values["inverse_edit"]) == scene
