"""Questions of a recipe's chat scorers, asked in the event loop of the flow's API requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager

from prefect import get_run_logger

from imagemill.data.config.judging.chat import ChatScorer
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BuildFailed
from imagemill.data.scores.records import ScoreReport
from imagemill.models.ask_job import AskJob
from imagemill.models.scoring.chat import ask_scores
from imagemill.tasks.runner.askers import Askers, open_askers, pin_sent
from imagemill.tasks.runner.dispatch import gpu_runner


class JudgeAsks:
    """Access of a flow's chat scorers to their models; closed until ``judge_asks`` opens it."""

    def __init__(self) -> None:
        self.askers: Askers | None = None

    def close(self) -> None:
        """Nothing to do: the block that opens it closes it."""


@contextmanager
def judge_asks(folder: Folder, scorers: Mapping[str, ChatScorer], asks_again: bool) -> Iterator[None]:
    """Let a build's ask tasks ask within the block. ``scorers``: the recipe's chat scorers; none opens nothing.

    ``asks_again``: whether questions that earlier builds had refused are sent again. Raises RecipeError for a key
    that is missing or may not go there, before anything is asked.
    """
    if not scorers:
        yield
        return
    asks, sent = gpu_runner().shared_resource(JudgeAsks), Counter[str]()
    places = {place_of(name): scorer for name, scorer in scorers.items()}
    try:
        with open_askers(folder, places, asks_again, sent) as asks.askers:
            yield
    finally:
        asks.askers = None
        for note in pin_sent(folder, sent):
            get_run_logger().warning("%s", note)


def ask_job(job: AskJob) -> ScoreReport:
    """Ask about a job's images from inside a task. Raises ImagemillError if a retry would not help."""
    askers = gpu_runner().shared_resource(JudgeAsks).askers
    if askers is None:
        raise BuildFailed("the build was stopped while language models were asked.")
    answering = {place.removeprefix(place_of("")): asker.answer for place, asker in askers.by_place.items()}
    try:
        return askers.thread.start(ask_scores(job, answering)).result()
    except CancelledError as error:
        raise BuildFailed("the build was stopped while it waited for language models.") from error


def place_of(scorer: str) -> str:
    """The place of a scorer in the recipe."""
    return f"scorers.{scorer}"
