"""How far a build is: counted from what the workers tell, shown by whoever asks for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from imagemill.data.records import Plan, SetAside, StepReport
from imagemill.tasks.worker_stats import WorkerFigures


@dataclass
class Progress:
    """The counts of one build; its methods may be called from any thread."""

    planned: int = 0
    """Pictures that the plan asks for."""
    drawn: int = 0
    reused: int = 0
    """Pictures among these that were found: in the dataset, or staged by a build before."""
    model_loads: list[Mapping[str, Any]] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    shards: list[Mapping[str, Any]] = field(default_factory=list)
    """A line for every shard that is committed, in the order in which they were."""
    devices: set[str] = field(default_factory=set)
    workers: dict[str, WorkerFigures] = field(default_factory=dict)
    """By name, those that drew."""
    cost: float = 0.0
    """Of the pictures that an API has given, as the recipe has it (api.cost_per_picture)."""
    truncated: int = 0
    """Drawn prompts that their model could not read in full."""
    worker_seconds: float = 0.0
    """Seconds that the workers spent on shards, loading included."""
    last_step: float | None = None
    """When the last step ended (monotonic seconds)."""
    started: float = field(default_factory=time.monotonic)
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seen: int = 0
    """Pictures that the workers have told of so far, ..."""
    seen_drawn: int = 0
    """... and those among them that were drawn."""
    is_drawing: bool = False
    first_seen: tuple[float, int] | None = None
    """When the first pictures were drawn (monotonic seconds), and how many."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def plan(self, plan: Plan) -> None:
        """Take the plan's sums."""
        self.planned = sum(plan.drawings.values())

    def told(self, event: dict[str, Any]) -> None:
        """Take what a worker tells while it draws. It may come late: what counts is the step's report."""
        with self._lock:
            match event["kind"]:
                case "loaded":
                    self.is_drawing = True
                case "drawn":
                    self.is_drawing = True
                    self.seen += event["pictures"]
                    self.seen_drawn += event["pictures"]
                    self.first_seen = self.first_seen or (time.monotonic(), self.seen_drawn)
                case "paid":
                    self.cost += event["cost"]
                case "reused":
                    self.seen += event["pictures"]

    def step_done(self, report: StepReport) -> None:
        """Count what a finished step reports."""
        with self._lock:
            self.drawn += report.drawn
            self.reused += report.reused
            self.truncated += report.truncated
            self.model_loads.extend(report.loads)
            self.worker_seconds += report.seconds
            self.last_step = time.monotonic()
            if report.device:
                self.devices.add(report.device)
            if report.worker:
                self.workers.setdefault(report.worker, WorkerFigures()).add(report)

    def shard_done(self, set_aside: list[SetAside], shard: Mapping[str, Any]) -> None:
        """Count a committed shard, and its rows that were set aside."""
        with self._lock:
            self.set_aside.extend(set_aside)
            self.shards.append(shard)

    def counts(self, workers: int = 1) -> dict[str, Any]:
        """How far the build is, as numbers: pictures, seconds, and ``idle``, the share of time the workers waited.

        ``workers``: how many there are at the least; a cluster may have more.
        """
        with self._lock:
            seconds = time.monotonic() - self.started
            known = (self.last_step or self.started) - self.started
            done = min(self.planned, max(self.seen, self.drawn + self.reused))
            rate, workers = self.rate(), max(workers, len(self.workers))
            return {
                "workers": workers,
                "planned": self.planned,
                "done": done,
                "drawn": max(self.drawn, self.seen_drawn),
                "reused": max(self.reused, self.seen - self.seen_drawn),
                "set_aside": len(self.set_aside),
                "model_loads": len(self.model_loads),
                "seconds": seconds,
                "images_per_second": rate,
                "seconds_left": (self.planned - done) / rate if rate else None,
                "idle": max(0.0, 1 - self.worker_seconds / (known * workers)) if known else 1.0,
            }

    def rate(self) -> float:
        """Pictures drawn per second since the first were."""
        if self.first_seen is None:
            return 0.0
        first, pictures = self.first_seen
        seconds = time.monotonic() - first
        return (self.seen_drawn - pictures) / seconds if seconds > 0 else 0.0


watcher: ContextVar[Callable[[Progress], None] | None] = ContextVar("watcher", default=None)
"""Called with the build's progress when it begins, in the process that runs the flow."""
