"""Markdown and tables for the dashboard, from a build's counters. Imports no Prefect."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from imagemill.data.config.judging.scorers import score_names
from imagemill.data.config.recipe import Recipe
from imagemill.data.dataset.files.area import files_of
from imagemill.data.dataset.files.shard_files import data_files
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.sheet.contact_sheet import shrink_sheet
from imagemill.data.dataset.sheet.score_sheet import score_sheet
from imagemill.data.messages import code_span, markdown_text
from imagemill.data.planning.totals import Plan
from imagemill.data.records import SetAside
from imagemill.tasks.progress import Progress, asking_note, truncation_note

MAX_TABLE_ROWS = 200
"""Maximum number of lines in a table; an artifact is for reading."""

MAX_SHEET_BYTES = 20_000
"""Maximum size of the contact sheet in the report, which every build's report in the server's database has."""

MAX_STRIP_BYTES = 8_000
"""The same for the images that a running build generated last."""


def format_duration(seconds: float) -> str:
    """``90 s``, ``12 min`` or ``3 h 20 min``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60} min"


def time_left(seconds: float | None) -> str:
    """``, about 20 min left, ends about 2026-11-29 14:32 UTC``; empty where that is not known, or nothing is left."""
    if not seconds:
        return ""
    end = (datetime.now(UTC) + timedelta(seconds=seconds)).astimezone()
    return f", about {format_duration(seconds)} left, ends about {end:%Y-%m-%d %H:%M %Z}"


def report(
    name: str,
    folder: Folder,
    plan: Plan,
    progress: Progress,
    workers: int,
    set_aside: int,
    end: str = "",
    before: Mapping[str, str] = {},
    details: str = "",
) -> str:
    """The report in Markdown. ``end``: the result of the build, empty while it runs.

    ``before``: label -> the same figure of the run before, and its heading under "". ``details``: sections that come
    before the dataset's location.
    """
    counts = progress.counts(workers)
    workers = counts["workers"]
    state = end or "Starting the workers."
    if not end and progress.is_generating:
        share = f"{counts['done'] / max(1, counts['planned']):.0%} of the images"
        state = f"Running, {share}{time_left(counts['seconds_left'])}."
    idle = counts["device_idle"]
    lines = {
        "rows": f"{plan.rows:,} in the prompts; {plan.reused:,} finished before, {plan.removed:,} to be removed",
        "images to generate": f"{counts['planned']:,}"
        + "".join(f"<br>{count:,} with {_cell(model)}" for model, count in plan.drawings.items()),
        "generated": f"{counts['generated']:,}",
        "reused": f"{counts['reused']:,}",
        "set aside": f"{set_aside:,}",
        "shards": f"{len(progress.shards):,} of {plan.shards:,}",
        "images/s": f"{counts['images_per_second']:.2f}",
        "workers": f"{workers:,}",
        "device idle": "no batch yet" if idle is None else f"{idle:.1%}",
        "model loads": f"{counts['model_loads']:,}",
        "time": format_duration(counts["seconds"]),
        "devices": _cell(", ".join(sorted(progress.devices)) or "none yet"),
    }
    if progress.judges:
        lines["scores"] = f"{progress.scored:,} computed"
        lines["funnel"] = "<br>".join(_cell(line) for line in progress.funnel.lines())
    if progress.asked:
        lines["language models"] = _cell(asking_note(progress))
    if progress.truncated:
        lines["long prompts"] = truncation_note(progress.truncated, progress.max_tokens)
    return (
        f"# {markdown_text(name)}\n\n**{state}**\n\n{_table(lines, before)}\n{details}\n## Location\n\n"
        f"{_location(folder)}"
    )


def _table(lines: Mapping[str, str], before: Mapping[str, str]) -> str:
    if not before:
        return "\n".join(["| | |", "|---|---|", *(f"| {label} | {value} |" for label, value in lines.items())])
    heading = [f"| | this run | {before['']} |", "|---|---|---|"]
    return "\n".join(
        [*heading, *(f"| {label} | {value} | {before.get(label, '')} |" for label, value in lines.items())]
    )


def _location(folder: Folder) -> str:
    root = folder.root if folder.is_remote else folder.root.absolute()
    # A remote dataset is not listed for this, since the report is written again and again.
    names = [] if folder.is_remote else [path.name for path in folder.data.glob("*.parquet")]
    arguments, rows = open_with(str(root), names)
    view = code_span(f"imagemill view {shlex.quote(str(root))}", limit=1000)
    return f"""{code_span(str(root), limit=1000)}

To view it in the browser, also while it is built: {view}

```python
from datasets import load_dataset
rows = load_dataset({arguments})
{rows}[0]
```
"""


def open_with(root: str, names: Iterable[str]) -> tuple[str, str]:
    """Arguments of ``datasets.load_dataset`` for the dataset at ``root``, and the rows in what it returns.

    ``names``: of its files in data/.
    """
    files = data_files(root, names)
    arguments = f'"parquet", data_files={json.dumps(files, ensure_ascii=False)}'
    if isinstance(files, str):
        return f'{arguments}, split="train"', "rows"
    return arguments, f'rows["{next(iter(files))}"]'


def embedded_last_images(strip: bytes | None) -> str:
    """The images that were generated last as Markdown; empty without any."""
    if strip is None:
        return ""
    return f"\n## Last images\n\n![Last images](data:image/webp;base64,{base64.b64encode(strip).decode()})\n"


def embedded_sheet(folder: Folder) -> str:
    """A small contact sheet as Markdown with the image inline, so that no other server is needed for it."""
    small = base64.b64encode(shrink_sheet(folder.contact_sheet.read_bytes(), MAX_SHEET_BYTES)).decode()
    return (
        f"\n## Contact sheet\n\n![Some rows](data:image/webp;base64,{small})\n\n"
        f"In full: {code_span(str(folder.contact_sheet), limit=1000)}\n"
    )


def embedded_scores(folder: Folder, recipe: Recipe) -> str:
    """The images with the highest and lowest scores, inline; empty without scores.

    Those of a remote dataset are not fetched for this.
    """
    if not recipe.scorers or folder.is_remote:
        return ""
    # Rows of rejected/ have images only if the recipe keeps these.
    areas = ("data", "rejected") if recipe.rejected == "keep" else ("data",)
    manifest = folder.read_manifest() or {}
    paths = [folder.root / area / file["name"] for area in areas for file in files_of(manifest, area)]
    sheet = score_sheet(paths, [f"score_{name}" for name in score_names(recipe.scorers)], MAX_SHEET_BYTES)
    if sheet is None:
        return ""
    return (
        "\n## Highest and lowest scores\n\nOf all images, those in rejected/ included.\n\n"
        f"![Images by their scores](data:image/webp;base64,{base64.b64encode(sheet).decode()})\n"
    )


def set_aside_table(rows: list[SetAside]) -> list[dict[str, Any]]:
    """One line per row that was set aside, up to MAX_TABLE_ROWS."""
    return [set_aside_line(row) for row in rows[:MAX_TABLE_ROWS]]


def set_aside_line(row: SetAside) -> dict[str, Any]:
    """Position of the row in the prompts, and the reason."""
    return {"file": row.file, "line": row.line, "id": row.id, "step": row.stage, "reason": row.reason}


def set_aside_heading(count: int, folder: Folder) -> str:
    """Description of the table of rows set aside."""
    first = f"the first {MAX_TABLE_ROWS} of " if count > MAX_TABLE_ROWS else ""
    path = code_span(str(folder.set_aside), limit=1000)
    return f"Rows set aside: {first}{count:,}. {path} lists all when the build is done."


def _cell(text: str) -> str:
    return markdown_text(text)
