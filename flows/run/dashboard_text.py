"""What the dashboard says of a build: plain text and tables made of its counts, nothing of Prefect."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from imagemill.data.dataset.contact_sheet import shrink_sheet
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.shard_files import DATA_FILES
from imagemill.data.records import Plan, SetAside
from imagemill.tasks.progress import Progress

MAX_TABLE_ROWS = 200
"""Lines of a table; an artifact is for a person to read."""

MAX_BYTES = 300_000
"""Of the contact sheet in the report."""


def duration(seconds: float) -> str:
    """A time as a person says it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60} min"


def report(
    name: str, folder: Folder, plan: Plan, progress: Progress, workers: int, set_aside: int, end: str = ""
) -> str:
    """The report in Markdown. ``end``: how the build ended, empty while it is under way."""
    counts = progress.counts(workers)
    workers = counts["workers"]
    left = counts["seconds_left"]
    state = end or (f"Under way, about {duration(left)} left." if left is not None else "Under way.")
    lines = {
        "rows": f"{plan.rows:,} in the prompts; {plan.reused:,} finished before, {plan.removed:,} to be removed",
        "images to draw": f"{counts['planned']:,}"
        + "".join(f"<br>{count:,} with {_cell(model)}" for model, count in plan.drawings.items()),
        "generated": f"{counts['generated']:,}",
        "found, not generated": f"{counts['reused']:,}",
        "set aside": f"{set_aside:,}",
        "shards": f"{len(progress.shards):,} of {plan.shards:,}",
        "images/s": f"{counts['images_per_second']:.2f}",
        "device idle": f"{counts['idle']:.0%} of {workers} {'worker' if workers == 1 else 'workers'}",
        "model loads": f"{counts['model_loads']:,}",
        "time": duration(counts["seconds"]),
        "devices": _cell(", ".join(sorted(progress.devices)) or "none yet"),
    }
    table = "\n".join(f"| {what} | {said} |" for what, said in lines.items())
    return f"# {name}\n\n**{state}**\n\n| | |\n|---|---|\n{table}\n\n## Where it is\n\n{_where(folder)}"


def _where(folder: Folder) -> str:
    place = folder.root if folder.is_remote else folder.root.absolute()
    return f"""`{place}`

```python
from datasets import load_dataset
rows = load_dataset("parquet", data_files="{place}/{DATA_FILES}", split="train")
rows[0]
```
"""


def embedded_sheet(folder: Folder) -> str:
    """The contact sheet as Markdown that holds the image itself: no other server has to be asked for it."""
    small = shrink_sheet(folder.contact_sheet.read_bytes(), MAX_BYTES)
    return f"\n## Contact sheet\n\n![Some rows](data:image/jpeg;base64,{base64.b64encode(small).decode()})\n"


def set_aside_table(rows: list[SetAside]) -> list[dict[str, Any]]:
    """A line for each row that was set aside, as many as fit."""
    shown = rows[:MAX_TABLE_ROWS]
    return [
        {"file": one.file, "line": one.line, "id": one.id, "step": one.stage, "reason": one.reason} for one in shown
    ]


def set_aside_line(one: SetAside) -> dict[str, Any]:
    """Where the row is, and why."""
    return {"file": one.file, "line": one.line, "id": one.id, "step": one.stage, "reason": one.reason}


def set_aside_words(count: int, folder: Folder) -> str:
    """What stands above that table."""
    some = f"the first {MAX_TABLE_ROWS} of " if count > MAX_TABLE_ROWS else ""
    return f"Rows set aside: {some}{count:,}. All are in {folder.set_aside} when the build is done."


def shards_table(shards: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line for each shard that is committed, the newest first, as many as fit."""
    return [dict(one) for one in reversed(shards[-MAX_TABLE_ROWS:])]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
