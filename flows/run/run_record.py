"""Record of a run at its end, successful or not: a line of runs.jsonl, and the workers' statistics in the log."""

from __future__ import annotations

from collections import Counter
from typing import Any

from prefect import get_run_logger
from prefect.exceptions import TerminationSignal

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.published import without_home
from imagemill.data.messages import MAX_REASON, message
from imagemill.flows.run.cancellation import BuildCancelled, has_cancel_intent
from imagemill.models.library_messages import take_counts
from imagemill.tasks.progress import Progress, truncation_note
from imagemill.tasks.worker_stats import log_line, run_figures


def run_line(progress: Progress) -> dict[str, Any]:
    """The figures of a run so far, as a line of runs.jsonl has them."""
    counts = progress.counts()
    return {
        "started": progress.started_at.isoformat(timespec="seconds"),
        "seconds": round(counts["seconds"], 2),
        **{name: counts[name] for name in ("planned", "reused", "generated", "set_aside", "images_per_second")},
        "model_loads": counts["model_loads"],
        "loads": progress.model_loads,
        "worker_seconds": round(progress.worker_seconds, 2),
        **run_figures(progress.workers, counts["seconds"]),
        "devices": sorted(progress.devices),
        **({"notes": list(progress.notes)} if progress.notes else {}),
        **({"prompts_truncated": progress.truncated} if progress.truncated else {}),
        **({"max_prompt_tokens": sorted(progress.max_tokens)} if progress.truncated else {}),
        **({**progress.funnel.to_json(), "scored": progress.scored} if progress.judges else {}),
        **(asking_figures(progress) if progress.asked else {}),
        **({"cost": round(progress.cost, 6)} if progress.cost else {}),
    }


def asking_figures(progress: Progress) -> dict[str, Any]:
    """The figures of what language models were asked."""
    return {
        "asked": progress.asked,
        "answered": progress.answered,
        "prompt_tokens": progress.prompt_tokens,
        "completion_tokens": progress.completion_tokens,
        "asking_seconds": round(progress.asking_seconds, 2),
    }


def stopped_by(error: BaseException) -> dict[str, str]:
    """Status and reason of a run that this error ends."""
    if isinstance(error, BuildCancelled) or (isinstance(error, TerminationSignal) and has_cancel_intent()):
        return {"status": "cancelled", "error": "cancelled by a user"}
    if isinstance(error, TerminationSignal):
        return {"status": "stopped", "error": "ended by SIGTERM"}
    if isinstance(error, KeyboardInterrupt):
        return {"status": "stopped", "error": "interrupted by Ctrl-C"}
    return {"status": "stopped", "error": without_home(message(f"{type(error).__name__}: {error}", MAX_REASON))}


def record_run(folder: Folder, progress: Progress, **more: Any) -> dict[str, Any]:
    """Append this run to runs.jsonl and return its line. ``more``: its status, and its ``error`` if it was stopped."""
    if "error" not in more:
        # From now on the figures are those of the steps' reports. A stopped step has none, but it has staged images.
        progress.stop()
    run = {**run_line(progress), **more}
    progress.stop()
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
