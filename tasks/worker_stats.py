"""Statistics of a build's workers, as runs.jsonl and the log have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.data.records import WorkerStats


def worker_figures(stats: WorkerStats) -> dict[str, Any]:
    """One worker's entry in runs.jsonl."""
    busy = stats.drawing + stats.waiting
    return {
        "device": stats.device or "",
        "generated": stats.generated,
        "images_per_second": round(stats.generated / busy, 2) if busy else 0.0,
        "loading": round(stats.loading, 2),
        "drawing": round(stats.drawing, 2),
        "waiting": round(stats.waiting, 2),
        "moves": stats.moves,
        "peak_gib": stats.peak_gib,
        "utilisation": round(stats.utilisation / stats.samples, 1) if stats.samples else None,
    }


def run_figures(workers: Mapping[str, WorkerStats]) -> dict[str, Any]:
    """The entries of all workers, and the share of time that their devices waited for the next batch."""
    total = sum(workers.values(), WorkerStats())
    return {
        "workers": {name: worker_figures(workers[name]) for name in sorted(workers)},
        "model_moves": total.moves,
        "device_idle": round(total.waiting / (total.waiting + total.drawing), 4) if total.drawing else 0.0,
    }


def log_line(name: str, figures: Mapping[str, Any]) -> str:
    """One worker's figures as a log line."""
    utilisation = "" if figures["utilisation"] is None else f", utilisation {figures['utilisation']:.0f} %"
    return (
        f"Worker {name} ({figures['device']}): {figures['generated']} images, {figures['images_per_second']} images/s; "
        f"{figures['loading']} s loading, {figures['drawing']} s generating, {figures['waiting']} s waiting; "
        f"peak memory {figures['peak_gib']} GiB{utilisation}."
    )
