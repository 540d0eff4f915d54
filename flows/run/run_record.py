"""Record of a run at its end, successful or not: a line of runs.jsonl, and the workers' statistics in the log."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prefect import get_run_logger

from imagemill.data.dataset.folder import Folder
from imagemill.models.library_messages import take_counts
from imagemill.tasks.progress import Progress, truncation_note
from imagemill.tasks.worker_stats import images_per_second, log_line, run_figures


def record_run(folder: Folder, progress: Progress, **more: Any) -> dict[str, Any]:
    """Append this run to runs.jsonl and return its line."""
    seconds = progress.stop()
    run = {
        "started": progress.started_at.isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "planned": progress.planned,
        "reused": progress.reused,
        "generated": progress.generated,
        "set_aside": len(progress.set_aside),
        "images_per_second": images_per_second(progress.generated, seconds),
        "model_loads": len(progress.model_loads),
        "loads": progress.model_loads,
        "worker_seconds": round(progress.worker_seconds, 2),
        **run_figures(progress.workers, seconds),
        "devices": sorted(progress.devices),
        **({"prompts_truncated": progress.truncated} if progress.truncated else {}),
        **({"max_prompt_tokens": sorted(progress.max_tokens)} if progress.truncated else {}),
        **({"cost": round(progress.cost, 6)} if progress.cost else {}),
        **more,
    }
    folder.add_run(run)
    if progress.truncated:
        get_run_logger().warning("%s", truncation_note(progress.truncated, progress.max_tokens))
    messages = sorted((progress.library_messages + Counter(take_counts())).items())
    if messages:
        counted = ", ".join(f"{kind} {count}" for kind, count in messages)
        get_run_logger().debug("Messages of libraries, none of them shown: %s.", counted)
    for name, figures in run["workers"].items():
        get_run_logger().info("%s", log_line(name, figures))
    return run
