"""What each worker of a build did with its time and memory, for runs.jsonl and the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imagemill.data.records import StepReport


@dataclass
class WorkerFigures:
    """The sums over one worker's steps; times in seconds."""

    device: str = ""
    generated: int = 0
    loading: float = 0.0
    drawing: float = 0.0
    waiting: float = 0.0
    moves: int = 0
    peak_gib: float = 0.0
    utilisation: list[float] = field(default_factory=list)

    def add(self, report: StepReport) -> None:
        """Count a step that this worker did."""
        spent = report.spent
        self.device = report.device or self.device
        self.generated += report.generated
        self.loading += spent.loading
        self.drawing += spent.drawing
        self.waiting += spent.waiting
        self.moves += spent.moves
        self.peak_gib = max(self.peak_gib, spent.peak_gib)
        self.utilisation += [] if spent.utilisation is None else [spent.utilisation]

    def to_json(self) -> dict[str, Any]:
        """As runs.jsonl has it."""
        busy = self.drawing + self.waiting
        shares = self.utilisation
        return {
            "device": self.device,
            "generated": self.generated,
            "images_per_second": round(self.generated / busy, 2) if busy else 0.0,
            "loading": round(self.loading, 2),
            "drawing": round(self.drawing, 2),
            "waiting": round(self.waiting, 2),
            "moves": self.moves,
            "peak_gib": self.peak_gib,
            "utilisation": round(sum(shares) / len(shares), 1) if shares else None,
        }


def watched(workers: Mapping[str, WorkerFigures]) -> dict[str, Any]:
    """The workers' figures, and over all of them the share of time that their devices waited for the next batch."""
    waiting = sum(one.waiting for one in workers.values())
    drawing = sum(one.drawing for one in workers.values())
    return {
        "workers": {name: workers[name].to_json() for name in sorted(workers)},
        "model_moves": sum(one.moves for one in workers.values()),
        "device_idle": round(waiting / (waiting + drawing), 4) if drawing else 0.0,
    }


def log_line(name: str, figures: Mapping[str, Any]) -> str:
    """One worker's figures in one line."""
    used = "" if figures["utilisation"] is None else f", utilisation {figures['utilisation']:.0f} %"
    return (
        f"Worker {name} ({figures['device']}): {figures['generated']} images, {figures['images_per_second']} a second; "
        f"{figures['loading']} s loading, {figures['drawing']} s drawing, {figures['waiting']} s waiting; "
        f"peak memory {figures['peak_gib']} GiB{used}."
    )
