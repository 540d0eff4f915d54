"""Dashboard of a build on the Prefect server: artifacts, events and log lines of its flow run.

One thread writes the artifacts, ever more rarely the longer a build runs, whatever the number of shards. A temporary
server outage does not stop a build: the next update carries everything.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.events import emit_event
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.sheet.last_images import last_images
from imagemill.data.planning.totals import Plan
from imagemill.data.records import SetAside
from imagemill.flows.run.artifacts import Artifacts
from imagemill.flows.run.dashboard_text import (
    MAX_STRIP_BYTES,
    embedded_last_images,
    embedded_scores,
    embedded_sheet,
    format_duration,
    report,
    set_aside_heading,
    set_aside_line,
    set_aside_table,
    time_left,
)
from imagemill.flows.run.report.figures import figures_before, last_run, workers_section
from imagemill.flows.run.report.rate import RateHistory, rate_section
from imagemill.tasks.progress import Progress

EVENT_INTERVAL_S = 5.0
"""Seconds between two searches for committed shards and rows set aside, each of which is an event."""

UPDATE_INTERVALS_S = ((60.0, 5.0), (600.0, 30.0))
"""(Seconds of the build, seconds between two updates of the artifacts until then)."""

LAST_UPDATE_INTERVAL_S = 60.0
"""Seconds between two updates from then on: a build of 30 hours writes 2,000 times."""

LOG_INTERVAL_S = 30.0
"""Least number of seconds between two log lines with the rate, each of which comes with an update."""

LAST_UPDATE_TIMEOUT_S = 3.0
"""Seconds that a terminated build waits for its last update."""

MAX_REPORTED = 100
"""Number of rows set aside that get a log line and an event each."""


def update_interval(seconds: float) -> float:
    """Seconds until the next update of the artifacts of a build that has run for ``seconds``."""
    return next((interval for until, interval in UPDATE_INTERVALS_S if seconds < until), LAST_UPDATE_INTERVAL_S)


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
        self._log = get_run_logger()
        self._artifacts = Artifacts(recipe.name, self._log)
        self._reported = 0
        self._committed = 0
        self._end = ""
        self._rates = RateHistory()
        self._before = figures_before(last_run(folder))
        self._strip: bytes | None = None

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
            self.progress.stop()
            stop.set()
            thread.join(timeout_s)

    def finish(self, figures: Mapping[str, Any]) -> None:
        """Show the result and the contact sheet, and emit the event that automations may wait for."""
        end = f"{figures['status'].capitalize()}: {figures['rows']:,} rows, {figures['set_aside']:,} set aside."
        self._refresh(end, embedded_sheet(self.folder) + embedded_scores(self.folder, self.recipe))
        self._event("imagemill.build.finished", figures)

    def _follow(self, stop: threading.Event) -> None:
        updated = logged = time.monotonic()
        while not stop.wait(EVENT_INTERVAL_S):
            self._rates.add(self.progress.seconds(), self.progress.counts()["generated"])
            if time.monotonic() - updated >= update_interval(self.progress.seconds()):
                updated = time.monotonic()
                self._refresh()
                if updated - logged >= LOG_INTERVAL_S:
                    logged = updated
                    self._log_figures()
            self._emit()
        self._refresh(self._end)
        self._log_figures()

    def _log_figures(self) -> None:
        counts, idle = self.progress.counts(), ""
        if counts["device_idle"] is not None:
            idle = f", device idle {counts['device_idle']:.1%}"
        self._log.info(
            "%d of %d images, %.2f images/s%s, %d set aside%s.",
            counts["done"],
            counts["planned"],
            counts["images_per_second"],
            idle,
            len(self.bad_rows) + counts["set_aside"],
            time_left(counts["seconds_left"]) if self.progress.ended is None else "",
        )

    def _refresh(self, end: str = "", more: str = "") -> None:
        aside, counts = self._aside(), self.progress.counts()
        self._rates.add(counts["seconds"], counts["generated"])
        shown = (self.name, self.folder, self.plan, self.progress, self.workers, len(aside), end)
        text = report(*shown, self._before, self._details(has_sheet=bool(more))) + more
        # Time alone is no news.
        counted = [counts[name] for name in ("done", "generated", "model_loads", "workers")]
        news = [more, end, len(self.progress.shards), len(aside), *counted]
        self._artifacts.put(
            "report", text, news, lambda key: create_markdown_artifact("", key, f"Build of {self.recipe.name}")
        )
        if aside:
            rows, heading = set_aside_table(aside), set_aside_heading(len(aside), self.folder)
            self._artifacts.put(
                "set-aside", rows, len(aside), lambda key: create_table_artifact([], key, heading), heading
            )
        self._emit()

    def _details(self, has_sheet: bool) -> str:
        """The report's sections on rate, workers and, before there is a contact sheet, the last images."""
        if not has_sheet:
            # A shard's images leave their folder when it is committed: the last ones seen stay.
            self._strip = last_images(self.folder.staged, MAX_STRIP_BYTES) or self._strip
        images = "" if has_sheet else embedded_last_images(self._strip)
        length = format_duration(self.progress.seconds())
        return rate_section(self._rates, length) + workers_section(self.progress) + images

    def _aside(self) -> list[SetAside]:
        return [*self.bad_rows, *self.progress.set_aside]

    def _emit(self) -> None:
        shards, aside = list(self.progress.shards), self._aside()
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
