"""Read-only access to a dataset: its manifest, rows and runs, and the pace of its last builds."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.files.own_files import read_run_lines
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.schema import IMAGE
from imagemill.data.dataset.where import Where
from imagemill.data.errors import NotAnImagemillDataset, OutputError
from imagemill.data.messages import shown_path
from imagemill.data.storage.locations import Location, arrow_source

RECENT_RUNS = 5
"""Number of generating runs from which the pace is taken."""

BATCH_ROWS = 16
"""Rows with images that are decoded at once, beside the row group that they are in."""


def find_dataset(output: str | Path) -> Folder:
    """The folder of an imagemill dataset, finished or not. Raises NotAnImagemillDataset and OutputError."""
    folder = Folder(output)
    folder.check_contents(links=True)
    if not folder.manifest.exists() and not folder.about.exists():
        fault = "is not an imagemill dataset" if folder.root.exists() else "does not exist"
        raise NotAnImagemillDataset(
            f"{shown_path(output)} {fault}: there is no manifest.json in it. Give the output folder of an imagemill "
            "build "
            "(recipe.output; by default out/<name>)."
        )
    return folder


def find_finished(output: str | Path) -> tuple[Folder, dict[str, Any]]:
    """The folder of a finished dataset and its manifest. Raises NotAnImagemillDataset and OutputError."""
    folder = find_dataset(output)
    manifest = folder.read_manifest()
    if manifest is None:
        raise OutputError(
            f"the dataset in {shown_path(output)} is not finished: its manifest.json is not written yet. Run "
            "`imagemill build` with its recipe until it is complete."
        )
    return folder, manifest


def read_rows(path: Location, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """A committed file's rows, images as {"bytes", "path"}; without columns that the file does not have.

    Raises OutputError if the file cannot be read.
    """
    return (row for _, row in read_numbered_rows(path, columns))


def read_numbered_rows(
    path: Location,
    columns: list[str] | None = None,
    where: Where | None = None,
    only: Collection[int] | None = None,
    image_bytes: bool = True,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """As ``read_rows``, each row with its number in the file; only the rows that meet the filter.

    The images of a row group in which no row meets it are not read. ``only``: numbers of rows; no other row is read.
    Without ``image_bytes`` an image is {"path"}.
    """
    try:
        with pq.ParquetFile(arrow_source(path)) as file:
            names = [name for name in columns if name in file.schema_arrow.names] if columns else None
            images = any(field.type == IMAGE for field in file.schema_arrow if names is None or field.name in names)
            if not image_bytes:
                names, images = _without_bytes(file, names), False
            number = 0
            # One row group at a time: over several, pyarrow keeps all that it has read of the file in memory.
            for group in range(file.num_row_groups):
                first, number = number, number + file.metadata.row_group(group).num_rows
                kept = where.keeps(file.read_row_group(group, sorted(where.columns))) if where else None
                if only is not None:
                    kept = [row in only and (kept is None or kept[row - first]) for row in range(first, number)]
                if kept is not None and not any(kept):
                    continue
                batches = file.iter_batches(BATCH_ROWS if images else 8192, row_groups=[group], columns=names)
                rows = (row for batch in batches for row in batch.to_pylist())
                yield from ((first + place, row) for place, row in enumerate(rows) if kept is None or kept[place])
    except FileNotFoundError as error:
        raise OutputError(f"{shown_path(path)} is missing; `imagemill verify` lists all faults.") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise OutputError(
            f"{shown_path(path)} cannot be read ({_one_line(error)}); `imagemill verify` lists all faults."
        ) from error


def _without_bytes(file: pq.ParquetFile, names: list[str] | None) -> list[str]:
    """The columns of a file as Parquet has them, one for each leaf, but for the bytes of images."""
    images = {field.name for field in file.schema_arrow if field.type in (IMAGE, pa.list_(IMAGE))}
    leaves = [file.schema.column(number).path for number in range(len(file.schema.names))]
    tops = [leaf if leaf in file.schema_arrow.names else leaf.split(".")[0] for leaf in leaves]
    return [
        leaf
        for leaf, top in zip(leaves, tops, strict=True)
        if not (top in images and leaf.endswith(".bytes")) and (names is None or top in names)
    ]


def count_kept(path: Location, where: Where) -> int:
    """The number of rows of a committed file that meet the filter. Raises OutputError if the file cannot be read."""
    return sum(1 for _ in read_numbered_rows(path, sorted(where.columns), where))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def read_runs(folder: Folder) -> list[dict[str, Any]]:
    """The lines of runs.jsonl, oldest first. Version 0.1.0 wrote ``drawn`` for ``generated``."""
    return [_current_names(run) for run in read_run_lines(folder.runs)]


def _current_names(run: dict[str, Any]) -> dict[str, Any]:
    named = {("generated" if name == "drawn" else name): value for name, value in run.items()}
    if workers := named.get("workers"):
        named["workers"] = {name: _current_names(figures) for name, figures in workers.items()}
    return named


def recent_pace(folder: Folder) -> float | None:
    """Images per second of the last runs that generated any, over their whole time; None if there is no such run."""
    runs = [run for run in read_runs(folder) if run.get("generated") and run.get("seconds")][-RECENT_RUNS:]
    return sum(run["generated"] for run in runs) / sum(run["seconds"] for run in runs) if runs else None


def read_paths(folder: Folder) -> dict[str, str]:
    """The paths that the manifest leaves out, where this machine has built the dataset: dotted field -> path."""
    try:
        paths = json.loads(folder.paths.read_bytes())
    except (OSError, ValueError):
        return {}
    return {name: path for name, path in paths.items() if isinstance(path, str)} if isinstance(paths, dict) else {}


def current_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's recipe with today's names of fields. Version 0.1.0 wrote ``api.cost_per_picture``."""
    return {name: _current_section(value, name) for name, value in recipe.items()}


def _current_section(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_current_section(item, name) for item in value]
    if not isinstance(value, Mapping):
        return value
    renamed = {"cost_per_picture": "cost_per_image"} if name == "api" else {}
    return {renamed.get(field, field): _current_section(content, field) for field, content in value.items()}
