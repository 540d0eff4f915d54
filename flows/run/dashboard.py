"""Dashboard of a build on the Prefect server: artifacts, events and log lines of its flow run.

One thread writes the artifacts a few times a minute, whatever the number of shards. A temporary server outage does not
stop a build: the next update carries everything.
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

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.records import Plan, SetAside
from imagemill.flows.run.dashboard_text import (
    embedded_sheet,
    report,
    set_aside_heading,
    set_aside_line,
    set_aside_table,
    shards_table,
)
from imagemill.tasks.progress import Progress

UPDATE_INTERVAL_S = 5.0
"""Seconds between two updates of the artifacts."""

LOG_INTERVAL_S = 30.0
"""Seconds between two log lines with the rate."""

LAST_UPDATE_TIMEOUT_S = 3.0
"""How long a terminated build waits for its last update."""

MAX_REPORTED = 100
"""Number of rows set aside that get a log line and an event each."""


class Board:
    """Artifacts, events and log lines of one build, from its plan on.

    ``bad_rows``: those set aside before anything is generated. ``workers``: their minimum number.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Folder,
        plan: Plan,
        bad_rows: list[SetAside],
        progress: Progress,
        workers: int,
    ) -> None:
        self.recipe, self.folder, self.plan, self.bad_rows = recipe, folder, plan, bad_rows
        self.progress, self.workers = progress, workers
        self.name = flow_run.name or recipe.name
        self._key = re.sub(r"[^a-z0-9]+", "-", recipe.name.lower()).strip("-")
        self._log = get_run_logger()
        self._written: dict[str, Any] = {}
        self._ids: dict[str, UUID] = {}
        self._reported = 0
        self._committed = 0
        self._end = ""

    @contextmanager
    def updated(self) -> Iterator[None]:
        """Keep the dashboard up to date until the block ends, with a last update then."""
        self._refresh()
        stop = threading.Event()
        thread = threading.Thread(target=copy_context().run, args=(self._follow, stop), daemon=True, name="board")
        thread.start()
        self._end, timeout_s = "Stopped: finished rows are kept.", None
        try:
            yield
            self._end = ""
        except TerminationSignal:
            timeout_s = LAST_UPDATE_TIMEOUT_S
            raise
        finally:
            stop.set()
            thread.join(timeout_s)

    def finish(self, figures: Mapping[str, Any]) -> None:
        """Show the result and the contact sheet, and emit the event that automations may wait for."""
        end = f"{figures['status'].capitalize()}: {figures['rows']:,} rows, {figures['set_aside']:,} set aside."
        self._refresh(end, embedded_sheet(self.folder))
        self._try(self._link)
        self._event("imagemill.build.finished", figures)

    def _link(self) -> None:
        root = self.folder.root
        link = str(root) if self.folder.is_remote else root.absolute().as_uri()
        create_link_artifact(link, str(root), f"{self._key}-dataset", f"The dataset {self.recipe.name}")

    def _follow(self, stop: threading.Event) -> None:
        logged = time.monotonic()
        while not stop.wait(UPDATE_INTERVAL_S):
            self._refresh()
            if time.monotonic() - logged >= LOG_INTERVAL_S:
                logged = time.monotonic()
                self._log_rate()
        self._refresh(self._end)

    def _log_rate(self) -> None:
        counts = self.progress.counts()
        self._log.info(
            "%d of %d images, %.2f images/s, %d set aside.",
            counts["done"],
            counts["planned"],
            counts["images_per_second"],
            len(self.bad_rows) + counts["set_aside"],
        )

    def _refresh(self, end: str = "", more: str = "") -> None:
        counts = self.progress.counts()
        share = 100.0 if end and more else min(100.0, 100 * counts["done"] / max(1, counts["planned"]))
        shards, aside = list(self.progress.shards), [*self.bad_rows, *self.progress.set_aside]
        text = report(self.name, self.folder, self.plan, self.progress, self.workers, len(aside), end) + more
        title = f"{self.recipe.name}: images generated"
        self._put("progress", share, lambda key: create_progress_artifact(share, key, title))
        self._put("report", text, lambda key: create_markdown_artifact(text, key, f"Build of {self.recipe.name}"))
        if shards:
            table = shards_table(shards)
            self._put("shards", table, lambda key: create_table_artifact(table, key, "Shards, newest first"))
        if aside:
            rows, heading = set_aside_table(aside), set_aside_heading(len(aside), self.folder)
            self._put("set-aside", rows, lambda key: create_table_artifact(rows, key, heading), heading)
        self._emit(aside, shards)

    def _put(self, name: str, data: Any, create: Callable[[str], UUID], description: str | None = None) -> None:
        """Write an artifact if it has changed. Its key is the same in every build, so that its versions line up."""
        if self._written.get(name) == (data, description):
            return

        def write() -> None:
            if name not in self._ids:
                self._ids[name] = create(f"{self._key}-{name}")
            else:
                body = {"data": json.dumps(data) if isinstance(data, list) else data}
                body |= {"description": description} if description else {}
                with get_client(sync_client=True) as client:
                    client.update_artifact(self._ids[name], ArtifactUpdate(**body))
            self._written[name] = (data, description)

        self._try(write)

    def _try(self, write: Callable[[], Any]) -> None:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - an unreachable server raises many types, and none stops a build
            self._log.warning("The dashboard is out of date: %s: %s", type(error).__name__, error)

    def _emit(self, aside: list[SetAside], shards: list[Mapping[str, Any]]) -> None:
        for shard in shards[self._committed :]:
            self._event("imagemill.shard.committed", shard)
        self._committed = len(shards)
        for row in aside[self._reported : MAX_REPORTED]:
            self._log.warning("Set aside %s, line %d (%s): %s", row.file, row.line, row.stage, row.reason)
            self._event("imagemill.row.set_aside", set_aside_line(row))
        if len(aside) > MAX_REPORTED >= self._reported:
            self._log.warning("More rows are set aside; %s lists all when the build is done.", self.folder.set_aside)
        self._reported = len(aside)

    def _event(self, event: str, payload: Mapping[str, Any]) -> None:
        resource = {
            "prefect.resource.id": f"imagemill.dataset.{self.recipe.name}",
            "prefect.resource.name": self.recipe.name,
        }
        run = {"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}
        emit_event(event, resource, related=[run], payload=dict(payload))
