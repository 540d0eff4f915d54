"""Port through which the planning of words asks: a task's client, or the answers that a dataset has."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from imagemill.data.answers.budget import NotAsked
from imagemill.data.answers.records import Answer, Question
from imagemill.data.answers.store import AnswerStore

Result = TypeVar("Result")

LOOKAHEAD = 64
"""Records in flight at least: images are downloaded and questions sent for several at once."""


class Asks(Protocol):
    """Answers questions in an event loop."""

    @property
    def window(self) -> int:
        """Records in flight at a time."""

    def start(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Begin work in the event loop."""

    async def answer(self, question: Question) -> Answer:
        """The answer to a question. Raises NotAsked and BadRow where there is none, BuildFailed to end the build."""

    async def known(self, question: Question) -> Answer | None:
        """The answer that the dataset has; None if it has none."""


class OnlyKnown:
    """Asks nothing: a dataset's answers, for a dry run. ``asks_again``: refusals do not count as answers."""

    window = LOOKAHEAD

    def __init__(self, store: AnswerStore, asks_again: bool = False) -> None:
        self._store = store
        self._asks_again = asks_again
        self._loop = asyncio.new_event_loop()

    def start(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Do all the work at once: it waits for nothing."""
        future: Future[Result] = Future()
        try:
            future.set_result(self._loop.run_until_complete(work))
        except Exception as error:  # noqa: BLE001 - raised again where the result is read
            future.set_exception(error)
        return future

    async def answer(self, question: Question) -> Answer:
        """The answer that the dataset has. Raises NotAsked if it has none."""
        answer = await self.known(question)
        if answer is None or (self._asks_again and answer.values is None):
            raise NotAsked("the dataset has no answer")
        return answer

    async def known(self, question: Question) -> Answer | None:
        """The answer that the dataset has; images are not decoded for it."""
        return self._store.find(question)

    def close(self) -> None:
        """End the event loop."""
        with suppress(RuntimeError):
            self._loop.close()
