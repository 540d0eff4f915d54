"""What `imagemill models` and `imagemill models pull` print."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

COLUMNS = ("key", "tasks", "size", "steps", "guidance", "negative", "memory", "gated", "here", "licence")


def print_models(models_file: str | None, cache_dir: str | None, as_json: bool) -> int:
    """The catalog as a table, and what of it this machine has; returns the exit code. Raises ImagemillError."""
    from imagemill.models.download.inventory import list_models

    books = list_models(models_file, cache_dir)
    if as_json:
        print(json.dumps(books, indent=2, ensure_ascii=False))
        return 0
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in COLUMNS:
        table.add_column(name, no_wrap=name in ("key", "size", "memory", "here"))
    for book in books:
        table.add_row(*map(escape, _cells(book)))
    # A pipe has no width of its own: a line a model can be searched.
    Console(width=None if sys.stdout.isatty() else 220).print(table)
    print("Memory is the weights alone. `imagemill models pull KEY` downloads one; --json says all, licences in full.")
    return 0


def _cells(book: Mapping[str, Any]) -> list[str]:
    guidance, memory = book["guidance_scale"], book["memory_gib"]
    return [
        book["key"],
        ", ".join(book["tasks"]),
        f"{book['width']} x {book['height']}",
        str(book["steps"]),
        "none" if guidance is None else f"{guidance:g}",
        "yes" if book["negative_prompt"] else "no",
        f"{memory:g} GiB" if memory else "?",
        "yes" if book["gated"] else "no",
        _here(book),
        book["licence"],
    ]


def _here(book: Mapping[str, Any]) -> str:
    size = decimal(book["cached_bytes"])
    return {"none": "no", "part": f"{size} of it", "whole": size, "folder": size}[book["cached"]]


def print_pulled(
    key: str, to: Path | None, revision: str | None, models_file: str | None, cache_dir: str | None, as_json: bool
) -> int:
    """Download a model and say where it is; returns the exit code. Raises ImagemillError."""
    from imagemill.models.download.pull import pull

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    is_shown = sys.stderr.isatty() and not as_json
    with (
        Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        if is_shown
        else nullcontext() as bar
    ):
        if bar:
            task = bar.add_task(key, total=None)
            pulled = pull(key, to, revision, cache_dir, models_file, _shown(bar, task))
        else:
            pulled = pull(key, to, revision, cache_dir, models_file, _Lines(key) if not as_json else _silent)
    if as_json:
        print(json.dumps(asdict(pulled), indent=2))
        return 0
    where = pulled.repository or "its own folder"
    at = f" at {pulled.commit[:12]}" if pulled.commit else ""
    how = f"{decimal(pulled.downloaded)} downloaded" if pulled.downloaded else "it was there already"
    print(f"{key}: {where}{at}, {decimal(pulled.bytes)}; {how}.")
    print(f"Its files: {pulled.folder}")
    if to:
        print(f"To build with it: generate.model: {to}")
    return 0


def _shown(bar: Progress, task: Any) -> Any:
    return lambda there, total: bar.update(task, completed=there, total=total)


def _silent(there: int, total: int) -> None:
    return None


class _Lines:
    """A line at every tenth, for a log."""

    def __init__(self, key: str) -> None:
        self.key, self.said = key, -1

    def __call__(self, there: int, total: int) -> None:
        tenth = 10 * there // max(1, total)
        if tenth > self.said:
            self.said = tenth
            print(f"{self.key}: {decimal(there)} of {decimal(total)}", file=sys.stderr, flush=True)
