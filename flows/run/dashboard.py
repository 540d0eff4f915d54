"""A build on Prefect's dashboard: its tags, its artifacts, its events, and what its workers say in the run's log.

Artifacts are written a few times a minute by one thread, whatever the number of shards. That the server cannot be
reached for a while stops no build: the next time says it all.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.events import emit_event
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

from imagemill.data.config.chain import chain_of
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.records import Plan, SetAside
from imagemill.flows.run.dashboard_text import (
    embedded_sheet,
    report,
    set_aside_line,
    set_aside_table,
    set_aside_words,
    shards_table,
)
from imagemill.tasks.progress import Progress

EVERY_SECONDS = 5.0
"""How often what stands on the dashboard is written anew."""

EMIT_INTERVAL_S = 30.0
"""How often the log tells of the pace."""

LAST_SECONDS = 3.0
"""How long a build that is told to end waits until that stands on the dashboard."""

MAX_REPORTED = 100
"""Rows set aside that have a line in the log and an event each."""


def tag_run(recipe: Recipe) -> list[str]:
    """Tag the run that is under way with its dataset and its models; returns these tags, for its task runs."""
    models = {link.section.model for link in chain_of(recipe)}
    tags = [f"dataset:{recipe.name}", *sorted(f"model:{model}" for model in models)]
    with get_client(sync_client=True) as client:
        client.update_flow_run(UUID(str(flow_run.id)), tags=sorted({*(flow_run.tags or ()), *tags}))
    return tags


class Board:
    """What one build shows; made when its plan is known."""

    def __init__(self, recipe: Recipe, plan: Plan, bad: list[SetAside], progress: Progress, workers: int) -> None:
        self.recipe, self.plan, self.progress, self.workers = recipe, plan, progress, workers
        self.bad = bad
        """Rows that are set aside before anything is generated."""
        self.folder = Folder(recipe.output)
        self.name = flow_run.name or recipe.name
        self._key = re.sub(r"[^a-z0-9]+", "-", recipe.name.lower()).strip("-")
        self._log = get_run_logger()
        self._written: dict[str, Any] = {}
        self._ids: dict[str, UUID] = {}
        self._told = 0
        self._committed = 0
        self._end = ""

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the dashboard current while the build is under way, and leave it so when it ends."""
        self._refresh()
        stop = threading.Event()
        thread = threading.Thread(target=copy_context().run, args=(self._follow, stop), daemon=True, name="board")
        thread.start()
        self._end, timeout_s = "Stopped: what is finished is kept.", None
        try:
            yield
            self._end = ""
        except TerminationSignal:
            timeout_s = LAST_SECONDS
            raise
        finally:
            stop.set()
            thread.join(timeout_s)

    def finish(self, figures: Mapping[str, Any]) -> None:
        """Show how it ended, with the contact sheet, and tell whoever waits for the event."""
        end = f"{figures['status'].capitalize()}: {figures['rows']:,} rows, {figures['set_aside']:,} set aside."
        self._refresh(end, embedded_sheet(self.folder))
        self._try(self._link)
        self._event("imagemill.build.finished", figures)

    def _link(self) -> None:
        root = self.folder.root
        link = str(root) if self.folder.is_remote else root.absolute().as_uri()
        create_link_artifact(link, str(root), f"{self._key}-dataset", f"The dataset {self.recipe.name}")

    def _follow(self, stop: threading.Event) -> None:
        said = time.monotonic()
        while not stop.wait(EVERY_SECONDS):
            self._refresh()
            if time.monotonic() - said >= EMIT_INTERVAL_S:
                said = time.monotonic()
                self._say()
        self._refresh(self._end)

    def _say(self) -> None:
        counts = self.progress.counts()
        self._log.info(
            "%d of %d images, %.2f images/s, %d set aside.",
            counts["done"],
            counts["planned"],
            counts["images_per_second"],
            len(self.bad) + counts["set_aside"],
        )

    def _refresh(self, end: str = "", more: str = "") -> None:
        counts = self.progress.counts()
        share = 100.0 if end and more else min(100.0, 100 * counts["done"] / max(1, counts["planned"]))
        shards, aside = list(self.progress.shards), [*self.bad, *self.progress.set_aside]
        text = report(self.name, self.folder, self.plan, self.progress, self.workers, len(aside), end) + more
        words = f"{self.recipe.name}: images generated"
        self._put("progress", share, lambda key: create_progress_artifact(share, key, words))
        self._put("report", text, lambda key: create_markdown_artifact(text, key, f"Build of {self.recipe.name}"))
        if shards:
            table = shards_table(shards)
            self._put("shards", table, lambda key: create_table_artifact(table, key, "Shards, the newest first"))
        if aside:
            rows, above = set_aside_table(aside), set_aside_words(len(aside), self.folder)
            self._put("set-aside", rows, lambda key: create_table_artifact(rows, key, above), above)
        self._emit(aside, shards)

    def _put(self, what: str, data: Any, create: Callable[[str], UUID], description: str | None = None) -> None:
        """Write an artifact where it has changed. Its key is the same in every build: the versions line up."""
        if self._written.get(what) == (data, description):
            return

        def write() -> None:
            if what not in self._ids:
                self._ids[what] = create(f"{self._key}-{what}")
            else:
                body = {"data": json.dumps(data) if isinstance(data, list) else data}
                body |= {"description": description} if description else {}
                with get_client(sync_client=True) as client:
                    client.update_artifact(self._ids[what], ArtifactUpdate(**body))
            self._written[what] = (data, description)

        self._try(write)

    def _try(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - a server that is away has many faces, and none stops a build
            self._log.warning("The dashboard is behind: %s: %s", type(error).__name__, error)

    def _emit(self, aside: list[SetAside], shards: list[Mapping[str, Any]]) -> None:
        for one in shards[self._committed :]:
            self._event("imagemill.shard.committed", one)
        self._committed = len(shards)
        for one in aside[self._told : MAX_REPORTED]:
            self._log.warning("Set aside %s, line %d (%s): %s", one.file, one.line, one.stage, one.reason)
            self._event("imagemill.row.set_aside", set_aside_line(one))
        if len(aside) > MAX_REPORTED >= self._told:
            self._log.warning("More are set aside: all are in %s when the build is done.", self.folder.set_aside)
        self._told = len(aside)

    def _event(self, event: str, what: Mapping[str, Any]) -> None:
        resource = {
            "prefect.resource.id": f"imagemill.dataset.{self.recipe.name}",
            "prefect.resource.name": self.recipe.name,
        }
        run = {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}
        emit_event(event, resource, related=[run], payload=dict(what))
