"""Output of `imagemill export`: progress, and where the export is; as text, or as one JSON object."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.progress import Progress

from imagemill.data.errors import RecipeError
from imagemill.data.export.export import export
from imagemill.data.export.formats import FORMATS
from imagemill.data.messages import shown_path
from imagemill.flows.cli.dataset_output import count_of, print_json


def print_export(
    output: str,
    format: str,
    to: Path | None,
    where: str | None,
    source: str,
    chosen: Mapping[str, Any],
    as_json: bool,
) -> int:
    """Export a dataset and print where it is; returns the exit code. Raises ImagemillError."""
    if to is None and "://" in output:
        raise RecipeError(
            f"the dataset is at {shown_path(output)}: give --to a folder on this machine to export it to."
        )
    beside = "" if source == "data" else f"-{source}"
    target = to or Path(f"{output.rstrip('/')}{beside}-{format}")
    with Progress(transient=True, disable=as_json or not sys.stdout.isatty()) as bar:
        task = bar.add_task(f"export as {format}", total=None)
        done = export(
            output,
            target,
            format,
            where,
            emit=lambda done, of: bar.update(task, completed=done, total=of),
            source=source,
            **chosen,
        )
    if as_json:
        return print_json(done)
    rows = f"{count_of(done['rows'], 'row')} as {format}: {FORMATS[format].what}"
    print(f"{target}: {rows}" + ("" if done["written"] or done["removed"] else "; it was there already"))
    for why, count in done["left_out"].items():
        print(f"  left out    {count_of(count, 'row')} {why}")
    if done["removed"]:
        print(f"  removed     {count_of(done['removed'], 'row')} that the dataset no longer has")
    return 0
