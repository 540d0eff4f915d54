"""Dashboard while language models are asked, before there is a plan: one artifact with the counts so far."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from imagemill.data.config.recipe import Recipe
from imagemill.data.messages import markdown_text
from imagemill.flows.run.artifacts import Artifacts
from imagemill.tasks.progress import Progress, asking_note

INTERVAL_S = 5.0
"""Seconds between two updates."""


@contextmanager
def asking_board(recipe: Recipe, progress: Progress) -> Iterator[None]:
    """Show on the dashboard, and in the log, what the recipe's language models have been asked."""
    if not recipe.llm:
        yield
        return
    log, stop = get_run_logger(), threading.Event()
    artifacts = Artifacts(recipe.name, log)
    models = ", ".join(dict.fromkeys(step.model for step in recipe.llm))

    def refresh() -> None:
        note = asking_note(progress)
        text = f"# {markdown_text(recipe.name)}\n\nLanguage models: {markdown_text(models)}\n\n{markdown_text(note)}\n"
        artifacts.put("words", text, note, lambda key: create_markdown_artifact("", key, f"Words of {recipe.name}"))

    def follow() -> None:
        while not stop.wait(INTERVAL_S):
            if progress.asked:
                refresh()
                log.info("Language models: %s.", asking_note(progress))

    thread = threading.Thread(target=copy_context().run, args=(follow,), daemon=True, name="asking")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        if progress.asked:
            refresh()
            log.info("Language models: %s.", asking_note(progress))
