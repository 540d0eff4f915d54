"""Figures of a build's workers, and the one definition of images/s and of device idle: runs.jsonl, report and log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from imagemill.data.records import WorkerStats


def images_per_second(generated: int, seconds: float) -> float:
    """Images generated, divided by the seconds of the build so far.

    The seconds run from the flow's start to its end, planning, start-up and loading included: what a build takes is its
    images divided by this. A worker's figure has the same seconds, so that the workers' figures add up to the build's.
    """
    return round(generated / seconds, 2) if seconds > 0 else 0.0


def device_idle(workers: Iterable[WorkerStats]) -> float | None:
    """Share, 0 to 1, of the time from a worker's first batch to its last in which its device waited for the next one.

    Over all workers; loading counts as neither. None before the first batch, and where an API generates.
    """
    total = sum(workers, WorkerStats())
    return round(total.waiting / (total.waiting + total.drawing), 4) if total.drawing else None


def worker_figures(stats: WorkerStats, seconds: float) -> dict[str, Any]:
    """One worker's entry in runs.jsonl. ``seconds``: of the build."""
    return {
        "device": stats.device or "",
        "generated": stats.generated,
        "images_per_second": images_per_second(stats.generated, seconds),
        "loading": round(stats.loading, 2),
        "drawing": round(stats.drawing, 2),
        "waiting": round(stats.waiting, 2),
        "moves": stats.moves,
        "peak_gib": stats.peak_gib,
        "utilisation": round(stats.utilisation / stats.samples, 1) if stats.samples else None,
    }


def run_figures(workers: Mapping[str, WorkerStats], seconds: float) -> dict[str, Any]:
    """The entries of all workers, and their figures together. ``seconds``: of the build."""
    return {
        "workers": {name: worker_figures(workers[name], seconds) for name in sorted(workers)},
        "model_moves": sum(stats.moves for stats in workers.values()),
        "device_idle": device_idle(workers.values()),
    }


def log_line(name: str, figures: Mapping[str, Any]) -> str:
    """One worker's figures as a log line."""
    utilisation = "" if figures["utilisation"] is None else f", utilisation {figures['utilisation']:.0f} %"
    return (
        f"Worker {name} ({figures['device']}): {figures['generated']} images, {figures['images_per_second']} images/s; "
        f"{figures['loading']} s loading, {figures['drawing']} s generating, {figures['waiting']} s waiting; "
        f"peak memory {figures['peak_gib']} GiB{utilisation}."
    )
