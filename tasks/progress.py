"""Progress of a build: counters that workers' events and finished steps advance, read by dashboard and terminal."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from imagemill.data.messages import shown
from imagemill.data.planning.totals import Plan
from imagemill.data.records import SetAside, StepReport, WorkerStats
from imagemill.data.scores.funnel import Funnel
from imagemill.data.scores.records import ScoreReport
from imagemill.tasks.worker_stats import device_idle, images_per_second


@dataclass
class Progress:
    """Counters of one build. All methods are thread-safe."""

    planned: int = 0
    """Images in the plan."""
    notes: tuple[str, ...] = ()
    """The plan's sentences about what the user may not have meant."""
    generated: int = 0
    reused: int = 0
    """Planned images that exist: in the dataset, or staged by an earlier build."""
    model_loads: list[Mapping[str, Any]] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)
    shards: list[Mapping[str, Any]] = field(default_factory=list)
    """One line per committed shard, in the order of the commits."""
    devices: set[str] = field(default_factory=set)
    workers: dict[str, WorkerStats] = field(default_factory=dict)
    """Statistics by worker."""
    cost: float = 0.0
    """Cost of APIs' images and answers, by the recipe's cost_per_image and cost_per_request."""
    truncated: int = 0
    """Generated prompts that are longer than their model's text encoders take."""
    max_tokens: set[int] = field(default_factory=set)
    """Tokens that these text encoders take."""
    library_messages: Counter[str] = field(default_factory=Counter)
    """``library category`` -> number of messages of the workers' libraries."""
    scored: int = 0
    """Scores that were computed."""
    planned_scores: int = 0
    """Scores to compute, where a finished dataset is scored."""
    asked: int = 0
    """Requests to language models."""
    answered: int = 0
    """Their answers, refusals included."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    asking_seconds: float = 0.0
    """From the first request to a language model to its last answer."""
    judges: bool = False
    """True if the build chooses or scores."""
    funnel: Funnel = field(default_factory=Funnel)
    """Fates of the candidates, in the whole dataset."""
    worker_seconds: float = 0.0
    """Seconds that workers and APIs spent on shards, loading included."""
    started: float = field(default_factory=time.monotonic)
    ended: float | None = None
    """End of the build (monotonic seconds), from which on its figures are final."""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    seen: int = 0
    """Images in the workers' events so far, ..."""
    seen_generated: int = 0
    """... and those of them that were generated."""
    seen_scored: int = 0
    """Scores in the workers' events so far."""
    is_generating: bool = False
    first_seen: tuple[float, int] | None = None
    """Time of the first event with generated images (monotonic seconds), and their number."""
    _asking_since: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def plan(self, plan: Plan) -> None:
        """Record the plan's total and its notes."""
        self.planned = sum(plan.drawings.values())
        self.notes = plan.notes
        if plan.judging is not None:
            self.judges, self.funnel = True, plan.judging.funnel

    def on_event(self, event: dict[str, Any]) -> None:
        """Count a worker's event. Events may arrive late; the totals are those of the steps' reports."""
        with self._lock:
            match event["kind"]:
                case "loaded":
                    self.is_generating = True
                case "generated":
                    self.is_generating = True
                    self.seen += event["images"]
                    self.seen_generated += event["images"]
                    self.first_seen = self.first_seen or (time.monotonic(), self.seen_generated)
                case "asked":
                    self.asked += event["requests"]
                    self.cost += event["cost"]
                    self._asking_since = self._asking_since or time.monotonic()
                case "answered":
                    self.answered += 1
                    self.prompt_tokens += event["prompt_tokens"]
                    self.completion_tokens += event["completion_tokens"]
                    self.asking_seconds = time.monotonic() - (self._asking_since or time.monotonic())
                case "paid":
                    self.cost += event["cost"]
                case "scored":
                    self.seen_scored += event["images"]
                case "reused":
                    self.seen += event["images"]

    def step_done(self, report: StepReport) -> None:
        """Count a finished step."""
        with self._lock:
            self.generated += report.generated
            self.reused += report.reused
            self.truncated += report.truncated
            self.max_tokens |= {report.max_tokens} if report.max_tokens else set()
            self.library_messages.update(report.library_messages)
            self.model_loads.extend(report.loads)
            self.worker_seconds += report.stats.seconds
            if report.device:
                self.devices.add(report.device)
            if report.worker:
                self.workers[report.worker] = self.workers.get(report.worker, WorkerStats()) + report.stats

    def scores_done(self, report: ScoreReport) -> None:
        """Count a finished scoring job. Its device decides no pixels, and so is not among the dataset's."""
        with self._lock:
            self.scored += report.scored
            self.model_loads.extend(report.loads)
            self.worker_seconds += report.stats.seconds
            if report.worker:
                self.workers[report.worker] = self.workers.get(report.worker, WorkerStats()) + report.stats

    def shard_done(self, set_aside: list[SetAside], shard: Mapping[str, Any], funnel: Funnel | None = None) -> None:
        """Count a committed shard and its rows that were set aside. ``funnel``: what became of its candidates."""
        with self._lock:
            self.set_aside.extend(set_aside)
            self.shards.append(shard)
            if funnel is not None:
                self.funnel += funnel

    def stop(self) -> float:
        """End the build, if that has not been done, and make its figures final; returns its seconds."""
        with self._lock:
            self.ended = self.ended or time.monotonic()
            if self.judges:
                # The plan had the most that later steps could need.
                self.planned = self.generated + self.reused
        return self.seconds()

    def seconds(self) -> float:
        """Seconds of the build so far, from its start; they stand still once it has ended."""
        return (self.ended or time.monotonic()) - self.started

    def counts(self, workers: int = 1) -> dict[str, Any]:
        """The counters now, with the figures as runs.jsonl has them (see worker_stats).

        ``workers``: their minimum number; a cluster may have more.
        """
        with self._lock:
            seconds, pace = self.seconds(), self._pace()
            # Events are ahead of the steps' reports, which have the last word.
            generated, reused = self.generated, self.reused
            if self.ended is None:
                generated = max(generated, self.seen_generated)
                reused = max(reused, self.seen - self.seen_generated)
            done = min(self.planned, max(self.seen, self.generated + self.reused))
            return {
                "workers": max(workers, len(self.workers)),
                "planned": self.planned,
                "done": done,
                "generated": generated,
                "reused": reused,
                "set_aside": sum(row.counts for row in self.set_aside),
                "model_loads": len(self.model_loads),
                "seconds": seconds,
                "images_per_second": images_per_second(generated, seconds),
                "seconds_left": (self.planned - done) / pace if pace else None,
                "device_idle": device_idle(self.workers.values()),
            }

    def _pace(self) -> float:
        """Images generated per second since the first event: the start-up of the workers does not come again."""
        if self.first_seen is None:
            return 0.0
        first, images = self.first_seen
        seconds = time.monotonic() - first
        return (self.seen_generated - images) / seconds if seconds > 0 else 0.0


def asking_note(progress: Progress) -> str:
    """Requests to language models and their answers: ``12 requests, 10 answers, 4,000 + 200 tokens``."""
    return (
        f"{progress.asked:,} requests, {progress.answered:,} answers, "
        f"{progress.prompt_tokens:,} + {progress.completion_tokens:,} tokens"
        + (f", cost {progress.cost:g}" if progress.cost else "")
    )


def truncation_note(prompts: int, max_tokens: Collection[int]) -> str:
    """A sentence about prompts that models did not read in full. ``max_tokens``: what their text encoders take."""
    limits = " or ".join(f"{tokens:,}" for tokens in sorted(max_tokens))
    return (
        f"{prompts:,} of the generated prompts are longer than the {limits} tokens that their model's text encoders "
        "take; the rest of each was ignored."
    )


def lora_note(model: str, lora: Mapping[str, Any]) -> str:
    """A sentence about how much of a LoRA's file a model uses. ``lora``: of the loaded model's event."""
    unused = f"; the others, such as {lora['first']}, have no layer there" if "first" in lora else ""
    return f"{lora['used']:,} of {lora['tensors']:,} tensors of the LoRA {shown(lora['lora'])} fit {model}{unused}."
