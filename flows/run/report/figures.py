"""Tables of a build's report: a line for each worker, and the figures of the dataset's run before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.reader import read_runs
from imagemill.data.messages import markdown_text
from imagemill.flows.run.dashboard_text import format_duration
from imagemill.tasks.progress import Progress
from imagemill.tasks.worker_stats import worker_figures

MAX_WORKERS = 32
"""Workers that the table lists; runs.jsonl has all of them."""


def last_run(folder: Folder) -> dict[str, Any] | None:
    """The line of runs.jsonl of the run before; None for a dataset's first run."""
    return next(iter(read_runs(folder)[-1:]), None)


def figures_before(run: Mapping[str, Any] | None) -> dict[str, str]:
    """Label in the report's table -> what the run before has there; "" -> its heading. Empty without such a run."""
    if run is None:
        return {}
    seconds, idle = run.get("seconds"), run.get("device_idle")
    figures = {
        # A heading on several lines leaves the columns narrow enough for both dashboards.
        "": "<br>".join(["last run", *map(markdown_text, str(run.get("started", ""))[:16].split("T"))])
        + f", {markdown_text(str(run.get('status', '')))}",
        "rows": _count(run.get("rows")),
        "images to generate": _count(run.get("planned")),
        "generated": _count(run.get("generated")),
        "reused": _count(run.get("reused")),
        "set aside": _count(run.get("set_aside")),
        "images/s": f"{run['images_per_second']:.2f}" if _is_number(run.get("images_per_second")) else "",
        "workers": _count(len(run["workers"])) if isinstance(run.get("workers"), Mapping) else "",
        "device idle": f"{idle:.1%}" if _is_number(idle) else "",
        "model loads": _count(run.get("model_loads")),
        "time": format_duration(seconds) if _is_number(seconds) else "",
        "scores": _count(run.get("scored")),
    }
    return {label: value for label, value in figures.items() if value}


def workers_section(progress: Progress) -> str:
    """The workers' table as Markdown, by the steps that they have finished; empty before there is one."""
    seconds, workers = progress.seconds(), dict(progress.workers)
    if not workers:
        return ""
    # Without GPUs there is none.
    has_use = any(stats.samples for stats in workers.values())
    lines = []
    for name in sorted(workers)[:MAX_WORKERS]:
        figures = worker_figures(workers[name], seconds)
        busy = f"{figures['drawing']:.0f} s generating, {figures['waiting']:.0f} s waiting, {figures['loading']:.0f} s"
        cells = [
            markdown_text(name),
            markdown_text(figures["device"]),
            _count(figures["generated"]),
            f"{figures['images_per_second']:.2f}",
            f"{busy} loading",
            f"{figures['peak_gib']:.1f} GiB",
            *([_percent(figures["utilisation"])] if has_use else []),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    more = f"\nThe first {MAX_WORKERS} of {len(workers):,}.\n" if len(workers) > MAX_WORKERS else ""
    labels = ["worker", "device", "images", "images/s", "time", "peak memory", *(["utilisation"] if has_use else [])]
    heading = f"| {' | '.join(labels)} |\n|{'---|' * len(labels)}"
    return f"\n## Workers\n\n{heading}\n" + "\n".join(lines) + f"\n{more}"


def _percent(value: Any) -> str:
    return f"{value:.0f} %" if _is_number(value) else ""


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
