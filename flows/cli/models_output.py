"""Output of `imagemill models` and `imagemill models pull`."""

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

COLUMNS = ("key", "tasks", "size", "steps", "guidance", "negative", "memory", "gated", "cached", "licence")


def print_models(models_file: str | None, cache_dir: str | None, as_json: bool) -> int:
    """Print the catalog as a table, with what is cached of it; returns the exit code. Raises ImagemillError."""
    from imagemill.models.download.inventory import list_models

    models = list_models(models_file, cache_dir)
    if as_json:
        print(json.dumps(models, indent=2, ensure_ascii=False))
        return 0
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in COLUMNS:
        table.add_column(name, no_wrap=name in ("key", "size", "memory", "cached"))
    for model in models:
        table.add_row(*map(escape, _cells(model)))
    # A pipe has no width: one line per model can be searched.
    Console(width=None if sys.stdout.isatty() else 220).print(table)
    print("Memory is the weights alone. `imagemill models pull KEY` downloads one; --json prints everything.")
    return 0


def _cells(model: Mapping[str, Any]) -> list[str]:
    memory = model["memory_gib"]
    return [
        model["key"],
        ", ".join(model["tasks"]),
        *_settings(model),
        f"{memory:g} GiB" if memory else "?",
        "yes" if model["gated"] else "no",
        _cached(model),
        model["licence"],
    ]


def _settings(model: Mapping[str, Any]) -> list[str]:
    """Size, steps, guidance and negative prompts; a scorer has none."""
    if model["width"] is None:
        return ["", "", "", ""]
    guidance = model["guidance_scale"]
    return [
        f"{model['width']} x {model['height']}",
        str(model["steps"]),
        "none" if guidance is None else f"{guidance:g}",
        "yes" if model["negative_prompt"] else "no",
    ]


def _cached(model: Mapping[str, Any]) -> str:
    size = decimal(model["cached_bytes"])
    return {"none": "no", "part": f"{size} of it", "whole": size, "folder": size}[model["cached"]]


def print_pulled(
    key: str, to: Path | None, revision: str | None, models_file: str | None, cache_dir: str | None, as_json: bool
) -> int:
    """Download a model and print where it is; returns the exit code. Raises ImagemillError."""
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
            pulled = pull(key, to, revision, cache_dir, models_file, _advance(bar, task))
        else:
            pulled = pull(key, to, revision, cache_dir, models_file, _LogProgress(key) if not as_json else _ignore)
    if as_json:
        print(json.dumps(asdict(pulled), indent=2))
        return 0
    where = pulled.repository or "a local folder"
    at = f" at {pulled.commit[:12]}" if pulled.commit else ""
    done = f"{decimal(pulled.downloaded)} downloaded" if pulled.downloaded else "it was there already"
    print(f"{key}: {where}{at}, {decimal(pulled.bytes)}; {done}.")
    print(f"Files: {pulled.folder}")
    if to:
        print(f"In a recipe: {'the model or head of a scorer' if pulled.is_scorer else 'generate.model'}: {to}")
    return 0


def _advance(bar: Progress, task: Any) -> Any:
    return lambda done, total: bar.update(task, completed=done, total=total)


def _ignore(done: int, total: int) -> None:
    return None


class _LogProgress:
    """One line per tenth, for a log."""

    def __init__(self, key: str) -> None:
        self.key, self.printed = key, -1

    def __call__(self, done: int, total: int) -> None:
        tenth = 10 * done // max(1, total)
        if tenth > self.printed:
            self.printed = tenth
            print(f"{self.key}: {decimal(done)} of {decimal(total)}", file=sys.stderr, flush=True)
