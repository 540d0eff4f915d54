"""Questions of a recipe's llm steps, asked in the event loop of the flow's API requests."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from imagemill.data.answers.budget import Budget
from imagemill.data.answers.records import Answer, Question
from imagemill.data.answers.store import AnswerStore
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BadRow
from imagemill.data.planning.words.asks import LOOKAHEAD
from imagemill.data.planning.words.unasked import asker_of
from imagemill.data.storage.origins import is_loopback, origin_of
from imagemill.models.api.asking import Asker
from imagemill.models.api.transport import ApiFault
from imagemill.models.catalog.api_key import origin_in_messages
from imagemill.tasks.runner.dispatch import ApiThread, find_key, gpu_runner

IN_FLIGHT_TIMEOUT_S = 30.0
"""Wait for the answers to questions in flight once loading has failed: they may have been charged."""

STOPPED_TIMEOUT_S = 3.0
"""The same where the build is stopped."""

Result = TypeVar("Result")


class LlmAsks:
    """Asks the questions of one recipe's steps (data.planning.words.asks.Asks)."""

    def __init__(self, thread: ApiThread, askers: Sequence[Asker], store: AnswerStore, window: int) -> None:
        self._thread = thread
        self._askers = {asker_of(number): asker for number, asker in enumerate(askers)}
        self._store = store
        self.window = window

    def start(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Begin work in the event loop."""
        return self._thread.start(work)

    async def answer(self, question: Question) -> Answer:
        """The answer to a question, asked only if there is none yet. Raises NotAsked, BadRow and BuildFailed."""
        try:
            return await self._askers[question.asker].answer(question)
        except ApiFault as fault:
            raise BadRow(f"{question.asker} has no answer: {fault}; the next build asks again") from fault

    async def known(self, question: Question) -> Answer | None:
        """The answer that the dataset has; None if it has none."""
        return self._store.find(question)

    async def close(self, timeout_s: float) -> None:
        """Wait for the questions in flight, then cancel them."""
        await asyncio.gather(*(asker.close(timeout_s) for asker in self._askers.values()))


@contextmanager
def llm_asks(recipe: Recipe, asks_again: bool, sent: Counter[str]) -> Iterator[LlmAsks]:
    """What load_rows needs to ask. ``asks_again``: whether refusals of earlier builds are asked for again.

    ``sent`` counts, by origin, the images that go beyond this machine. Raises RecipeError for a key that is missing or
    may not go there, before anything is asked.
    """
    runner, folder = gpu_runner(), Folder(recipe.output)
    thread, listener = runner.shared_resource(ApiThread), runner.listener

    def report(event: dict[str, Any]) -> None:
        if event["kind"] == "answered" and event["images"]:
            step = recipe.llm[int(event["asker"].partition(".")[2])]
            if not is_loopback(origin_of(step.api.base_url)):
                sent[origin_in_messages(step.api)] += event["images"]
        if listener is not None:
            listener(event)

    clients = [thread.chat(step.api, *find_key(step.api)) for step in recipe.llm]
    with AnswerStore.opened(folder) as store:
        askers = [
            Asker(client, store, Budget.of(asker_of(number), step), report, asks_again)
            for number, (step, client) in enumerate(zip(recipe.llm, clients, strict=True))
        ]
        window = max(LOOKAHEAD, *(2 * step.api.concurrency for step in recipe.llm))
        asks, timeout_s = LlmAsks(thread, askers, store, window), STOPPED_TIMEOUT_S
        try:
            yield asks
        except Exception:
            timeout_s = IN_FLIGHT_TIMEOUT_S
            raise
        finally:
            thread.start(asks.close(timeout_s)).result()
