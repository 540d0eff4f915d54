"""Questions to a language model: each is looked up first, and its answer pinned before it is used.

Runs in one event loop. Which answer a question has does not depend on the order in which they arrive.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from imagemill.data.answers.budget import Budget, BudgetReached
from imagemill.data.answers.records import Answer, Question, SeenImage
from imagemill.data.answers.store import AnswerStore
from imagemill.data.errors import BadRow
from imagemill.data.images.codec import decode_image
from imagemill.data.images.pixels import hash_pixels
from imagemill.data.images.sources import read_unchanged
from imagemill.models.api.chat import ChatClient, ChatQuestion
from imagemill.models.api.data_urls import encode
from imagemill.models.api.transport import ApiFault

MAX_DECODED = 4
"""Images that are decoded at a time."""

Report = Callable[[dict[str, Any]], None]

Read = Callable[[SeenImage], Image.Image]
"""Decodes an image. Raises BadRow."""

Outcome = Answer | BudgetReached | ApiFault | BadRow
"""An answer, or why there is none: a budget, a request that failed, an image that cannot be read."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """An image as it is sent."""

    content: bytes
    pixels: str


class Asker:
    """Asks the questions of one place in the recipe.

    ``asks_again``: whether a question that an earlier build had refused is sent again, once.
    """

    def __init__(
        self, client: ChatClient, store: AnswerStore, budget: Budget, report: Report, asks_again: bool = False
    ) -> None:
        self._client = client
        self._store = store
        self._budget = budget
        self._report = report
        self._asks_again = asks_again
        self._in_flight: dict[str, asyncio.Task[Answer]] = {}
        self._new: set[str] = set()
        """Requests that this object has asked."""
        self._places = asyncio.Semaphore(2 * client.api.concurrency)
        """Bounds the questions whose images are in memory."""
        self._decoders = asyncio.Semaphore(MAX_DECODED)

    async def answer(self, question: Question, read: Read | None = None) -> Answer:
        """The answer to a question, requested only if there is none yet. ``read`` decodes its images, which are files.

        Raises BudgetReached, ApiFault or BadRow if this question has no answer, BuildFailed if the API is at fault.
        """
        request = question.request_id
        if (known := self._known(question)) is not None:
            return known
        # Equal questions of several rows are one.
        task = self._in_flight.get(request)
        if task is None:
            task = self._in_flight[request] = asyncio.create_task(self._answer(question, read or read_file))
            task.add_done_callback(lambda done: self._forget(request, done))
        return await asyncio.shield(task)

    async def close(self, timeout_s: float) -> None:
        """Wait for the questions in flight, then cancel them."""
        tasks = list(self._in_flight.values())
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, request: str, done: asyncio.Task[Answer]) -> None:
        self._in_flight.pop(request, None)
        if not done.cancelled():
            # Seen, also where all who waited for it were cancelled.
            done.exception()

    def _known(self, question: Question) -> Answer | None:
        answer = self._store.find(question)
        return None if answer is None or self._is_asked_again(answer) else answer

    def _is_asked_again(self, answer: Answer) -> bool:
        return self._asks_again and answer.values is None and answer.request not in self._new

    async def _answer(self, question: Question, read: Read) -> Answer:
        async with self._places:
            return await self._looked_up_or_asked(question, read)

    async def _looked_up_or_asked(self, question: Question, read: Read) -> Answer:
        self._budget.check(self._store.spent(question.asker))
        images = [await self._sent(image, read) for image in question.images]
        question_id = question.question_id([image.pixels for image in images])
        if question.images:
            known = self._store.find_by_pixels(question_id)
            if known is not None and not self._is_asked_again(known):
                return await self._pin(
                    replace(
                        known,
                        request=question.request_id,
                        asker=question.asker,
                        **{"requests": 0, "prompt_tokens": 0, "completion_tokens": 0, "cost": 0.0, "seconds": 0.0},
                    )
                )
        started = time.perf_counter()
        sent = ChatQuestion(
            model=question.model,
            system=question.system,
            text=question.text,
            images=tuple(image.content for image in images),
            fields=question.fields,
            temperature=question.temperature,
            seed=question.seed,
            max_tokens=question.max_tokens,
            extra=question.extra,
        )
        reply = await self._client.ask(sent, lambda: self._begin_request(question))
        answer = Answer(
            question=question_id,
            request=question.request_id,
            asker=question.asker,
            model=question.model,
            values=reply.values,
            fault=reply.fault,
            text=reply.text,
            requests=reply.requests,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cost=reply.requests * self._budget.price,
            seconds=round(time.perf_counter() - started, 3),
        )
        pinned = await self._pin(answer)
        tokens = {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        self._report({"kind": "answered", "asker": question.asker, "images": len(images), **tokens})
        return pinned

    async def _pin(self, answer: Answer) -> Answer:
        self._new.add(answer.request)
        await asyncio.to_thread(self._store.add, answer)
        return answer

    def _begin_request(self, question: Question) -> None:
        self._store.begin_request(question.asker, self._budget)
        self._report({"kind": "asked", "asker": question.asker, "requests": 1, "cost": self._budget.price})

    async def _sent(self, image: SeenImage, read: Read) -> _Sent:
        async with self._decoders:
            return await asyncio.to_thread(_encoded, image, read)


async def answer_all(
    questions: Iterable[Question], answer: Callable[[Question], Awaitable[Answer]], window: int
) -> list[Outcome]:
    """The outcome of each question, in their order; at most ``window`` of them wait at a time.

    ``answer``: an Asker's. Raises BuildFailed where the API itself is at fault, or another error of this machine.
    """
    places = asyncio.Semaphore(window)

    async def one(question: Question) -> Outcome:
        async with places:
            return await outcome(answer(question))

    tasks = [asyncio.create_task(one(question)) for question in questions]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


async def outcome(answer: Awaitable[Answer]) -> Outcome:
    """An answer, or why there is none. Raises what concerns all questions."""
    try:
        return await answer
    except (BudgetReached, ApiFault, BadRow) as error:
        return error


def read_file(image: SeenImage) -> Image.Image:
    """The image in a file, decoded. Raises BadRow."""
    content = read_unchanged("image", image.path, image.sha256)
    return decode_image(content, Path(image.path).name, truncated=image.truncated)


def _encoded(image: SeenImage, read: Read) -> _Sent:
    decoded = read(image)
    return _Sent(encode(decoded), hash_pixels(decoded))
