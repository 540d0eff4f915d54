"""Askers of a build's language models: one for each place in the recipe, over the dataset's store of answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from imagemill.data.answers.budget import Budget
from imagemill.data.answers.store import AnswerStore
from imagemill.data.config.words.asking import Asking
from imagemill.data.dataset.describe.language_models import IMAGES_SENT
from imagemill.data.dataset.folder import Folder
from imagemill.data.storage.origins import is_loopback, origin_of
from imagemill.models.api.asking import Asker
from imagemill.models.api.data_urls import MAX_SIDE
from imagemill.models.catalog.api_key import origin_in_messages
from imagemill.tasks.runner.dispatch import ApiThread, find_key, gpu_runner

IN_FLIGHT_TIMEOUT_S = 30.0
"""Wait for the answers to questions in flight once a build has failed: they may have been charged."""

STOPPED_TIMEOUT_S = 3.0
"""The same where the build is stopped."""


class Askers(NamedTuple):
    """Clients of a build's language models."""

    thread: ApiThread
    """Has the event loop in which all ask."""
    store: AnswerStore
    by_place: Mapping[str, Asker]
    """Place in the recipe -> what asks its questions."""


@contextmanager
def open_askers(
    folder: Folder, askings: Mapping[str, Asking], asks_again: bool, sent: Counter[str]
) -> Iterator[Askers]:
    """The asker of each of these places of a recipe, whose dataset's folder is locked.

    ``asks_again``: whether questions that earlier builds had refused are sent again. ``sent`` counts, by origin, the
    images that go beyond this machine. Raises RecipeError for a key that is missing or may not go there, before
    anything is asked.
    """
    runner = gpu_runner()
    thread, listener = runner.shared_resource(ApiThread), runner.listener

    def report(event: dict[str, Any]) -> None:
        if event["kind"] == "answered" and event["images"]:
            api = askings[event["asker"]].api
            if not is_loopback(origin_of(api.base_url)):
                sent[origin_in_messages(api)] += event["images"]
        if listener is not None:
            listener(event)

    clients = {place: thread.chat(asking.api, *find_key(asking.api)) for place, asking in askings.items()}
    with AnswerStore.opened(folder) as store:
        askers = {
            place: Asker(clients[place], store, Budget.of(place, asking), report, asks_again)
            for place, asking in askings.items()
        }
        timeout_s = STOPPED_TIMEOUT_S
        try:
            yield Askers(thread, store, askers)
        except Exception:
            timeout_s = IN_FLIGHT_TIMEOUT_S
            raise
        finally:
            thread.start(_close(askers, timeout_s)).result()


async def _close(askers: Mapping[str, Asker], timeout_s: float) -> None:
    await asyncio.gather(*(asker.close(timeout_s) for asker in askers.values()))


def pin_sent(folder: Folder, sent: Counter[str]) -> tuple[str, ...]:
    """Record the origins that received images of the dataset for the first time; a sentence about each."""
    known: dict[str, Any] = folder.pinned().get(IMAGES_SENT) or {}
    new = {origin: count for origin, count in sent.items() if origin not in known}
    if new:
        folder.repin(IMAGES_SENT, {**known, **new})
    return tuple(
        f"{count:,} images, at most {MAX_SIDE} pixels a side, were sent to {origin}, where a language model saw them."
        for origin, count in new.items()
    )
