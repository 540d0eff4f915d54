"""Questions of a recipe's llm steps, asked in the event loop of the flow's API requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from imagemill.data.answers.records import Answer, Question
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BadRow
from imagemill.data.planning.words.asks import LOOKAHEAD
from imagemill.data.planning.words.unasked import asker_of
from imagemill.models.api.transport import ApiFault
from imagemill.tasks.runner.askers import Askers, open_askers

Result = TypeVar("Result")


class LlmAsks:
    """Asks the questions of one recipe's steps (data.planning.words.asks.Asks)."""

    def __init__(self, askers: Askers, window: int) -> None:
        self._askers = askers
        self.window = window

    def start(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Begin work in the event loop."""
        return self._askers.thread.start(work)

    async def answer(self, question: Question) -> Answer:
        """The answer to a question, asked only if there is none yet. Raises NotAsked, BadRow and BuildFailed."""
        try:
            return await self._askers.by_place[question.asker].answer(question)
        except ApiFault as fault:
            raise BadRow(f"{question.asker} has no answer: {fault}; the next build asks again") from fault

    async def known(self, question: Question) -> Answer | None:
        """The answer that the dataset has; None if it has none."""
        return self._askers.store.find(question)


@contextmanager
def llm_asks(recipe: Recipe, asks_again: bool, sent: Counter[str]) -> Iterator[LlmAsks]:
    """Askers for load_rows. ``asks_again``: whether questions that earlier builds had refused are sent again.

    ``sent`` counts, by origin, the images that go beyond this machine. Raises RecipeError for a key that is missing or
    may not go there, before anything is asked.
    """
    steps = {asker_of(number): step for number, step in enumerate(recipe.llm)}
    window = max(LOOKAHEAD, *(2 * step.api.concurrency for step in recipe.llm))
    with open_askers(Folder(recipe.output), steps, asks_again, sent) as askers:
        yield LlmAsks(askers, window)
