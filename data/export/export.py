"""Export of a finished dataset to another format, in parts, and resumed after an interruption.

A part is several consecutive files of the dataset, about 1 GB. Finished parts are recorded in the target folder
(`export.json`, and `.export/` until the export is complete); an interrupted part is written again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagemill.data.dataset.files.area import DATA, files_of
from imagemill.data.dataset.files.outcomes import scorer_names
from imagemill.data.dataset.parquet import count_rows, read_schema
from imagemill.data.dataset.reader import count_kept, find_finished, read_numbered_rows
from imagemill.data.dataset.where import Where, parse_where
from imagemill.data.errors import NotAnImagemillDataset, RecipeError
from imagemill.data.export.formats import FORMATS, Row
from imagemill.data.export.metadata import large_integers
from imagemill.data.messages import shown, shown_path
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.data.storage.jsonl import json_line
from imagemill.data.storage.locations import Location

PART_BYTES = 10**9
"""The Hub recommends tar files of about 1 GB for WebDataset."""

SOURCES = {"data": "every build", "rejected": "select", "pairs": "pairs"}
"""Folder of a dataset whose rows can be exported -> what in a recipe makes it."""

Emit = Callable[[int, int], None]
"""(finished parts, parts in all) -> None"""


def export(
    output: str | Path,
    target: Path,
    form: str,
    where: str | None = None,
    part_bytes: int = PART_BYTES,
    emit: Emit | None = None,
    source: str = DATA,
) -> dict[str, Any]:
    """Export the dataset at ``output`` into the folder ``target`` in the format ``form``, a key of FORMATS.

    ``where``: a filter (data.dataset.where); rows that do not meet it are left out, and the others keep their numbers.
    ``source``: the folder of the dataset whose rows are exported, one of SOURCES.
    ``emit`` is called after every part. Returns {"format", "to", "rows", "parts", "written"}, the last being the parts
    that this call wrote. Raises RecipeError, NotAnImagemillDataset and OutputError.
    """
    if form not in FORMATS:
        raise RecipeError(f"the format is {shown(form)}; it can be {', '.join(FORMATS)}.")
    folder, manifest = find_finished(output)
    files = _files_in(output, manifest, source, form)
    identity = {"format": form, "dataset": manifest["recipe"]["name"], "fingerprint": manifest["fingerprint"]}
    if source != DATA:
        identity |= {"from": source, "files": _names_digest(files)}
    chosen = None
    rows = sum(file["rows"] for file in files)
    paths = {file["name"]: folder.root / source / file["name"] for file in files}
    if where is not None:
        identity["where"] = where
        chosen, rows = _choose(list(paths.values()), rows, where)
    parts = [(first, [paths[name] for name in names]) for first, names in _parts(files, part_bytes)]
    written = 0
    with explain_disk_errors(target):
        if _begin(target, identity):
            written = _write_parts(target, form, parts, chosen, emit)
            _finish(target, identity, form, len(parts))
    return {"format": form, "to": str(target), "rows": rows, "parts": len(parts), "written": written}


def _files_in(output: str | Path, manifest: Mapping[str, Any], source: str, form: str) -> list[dict[str, Any]]:
    """The manifest's files in one of its folders. Raises RecipeError if there is nothing there that fits the format."""
    if source not in SOURCES:
        raise RecipeError(f"--from is {shown(source)}; it can be {', '.join(SOURCES)}.")
    if source not in FORMATS[form].sources:
        fitting = [name for name, known in FORMATS.items() if source in known.sources]
        raise RecipeError(f"the format {form} does not fit --from {source}; it can be {', '.join(fitting)}.")
    files = files_of(manifest, source)
    if not files and source != DATA:
        raise RecipeError(
            f"--from {source}: the dataset in {shown_path(output)} has no {source}/. Its recipe makes one with "
            f"{SOURCES[source]}."
        )
    return files


def _names_digest(files: Sequence[Mapping[str, Any]]) -> str:
    """Stands for the content of these files, which the dataset's fingerprint does not cover."""
    return hashlib.sha256("".join(file["sha256"] for file in files).encode()).hexdigest()


def _choose(paths: Sequence[Location], total: int, text: str) -> tuple[Where, int]:
    """The filter, and the number of rows that meet it. Raises RecipeError if none does."""
    schema = read_schema(paths[0])
    where = parse_where(text, schema, scorer_names(schema))
    rows = sum(count_kept(path, where) for path in paths)
    if not rows:
        raise RecipeError(f"--where: none of the {total:,} rows meets {shown(text)}.")
    return where, rows


def _parts(files: Sequence[Mapping[str, Any]], part_bytes: int) -> Iterator[tuple[int, list[str]]]:
    """Each part's number of the first row, and names of the files."""
    first = row = size = 0
    names: list[str] = []
    for file in files:
        if names and size + file["bytes"] > part_bytes:
            yield first, names
            first, size, names = row, 0, []
        names.append(file["name"])
        size += file["bytes"]
        row += file["rows"]
    if names:
        yield first, names


def _begin(target: Path, identity: dict[str, Any]) -> bool:
    """Claim the target folder; False if the same export is complete in it. Raises NotAnImagemillDataset."""
    marker = target / "export.json"
    if not marker.exists():
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise NotAnImagemillDataset(
                f"{shown_path(target)} is there already and is not an export; nothing in it was touched. Give --to an "
                "empty "
                "folder, or one that does not exist."
            )
        target.mkdir(parents=True, exist_ok=True)
        marker.write_text(json.dumps({**identity, "complete": False}, indent=2) + "\n")
    begun = _read_marker(marker)
    if {name: begun.get(name) for name in identity} != identity:
        raise NotAnImagemillDataset(
            f"{shown_path(target)} holds another export: {_differences(begun, identity)}; nothing in it was touched. "
            "Give --to another folder, or delete that one."
        )
    if begun.get("complete") is True:
        return False
    (target / ".export").mkdir(exist_ok=True)
    return True


def _read_marker(marker: Path) -> dict[str, Any]:
    try:
        begun = json.loads(marker.read_bytes())
    except (ValueError, RecursionError):
        begun = None
    return begun if isinstance(begun, dict) else {}


def _differences(begun: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    differ = [
        f"{name} {shown(begun.get(name))} and not {shown(value)}"
        for name, value in identity.items()
        if begun.get(name) != value
    ]
    return ", ".join(differ)


def _write_parts(
    target: Path,
    form: str,
    parts: list[tuple[int, list[Location]]],
    where: Where | None,
    emit: Emit | None,
) -> int:
    written = 0
    as_text = large_integers(path for _, paths in parts for path in paths)
    for number, (first, paths) in enumerate(parts):
        done = _lines_of(target, number)
        if not done.exists():
            rows = _rows(paths, first, where, as_text)
            scratch = done.with_suffix(".tmp")
            with open(scratch, "wb") as lines:
                for line in FORMATS[form].write(target, number, rows):
                    lines.write(json_line(line))
            scratch.replace(done)
            written += 1
        if emit:
            emit(number + 1, len(parts))
    return written


def _rows(
    paths: Sequence[Location], first: int, where: Where | None, as_text: Collection[str]
) -> Iterator[tuple[int, Row]]:
    """The rows of these files that meet the filter, numbered. ``as_text``: columns whose integers become text."""
    for path in paths:
        for number, row in read_numbered_rows(path, where=where):
            row |= {column: str(row[column]) for column in as_text if row.get(column) is not None}
            yield first + number, row
        first += count_rows(path) or 0


def _lines_of(target: Path, part: int) -> Path:
    return target / ".export" / f"part-{part:05d}.jsonl"


def _finish(target: Path, identity: dict[str, Any], form: str, parts: int) -> None:
    """Join the parts' lines, and only then mark the export complete."""
    if name := FORMATS[form].lines:
        scratch = target / ".export" / name
        with open(scratch, "wb") as whole:
            for number in range(parts):
                with open(_lines_of(target, number), "rb") as lines:
                    shutil.copyfileobj(lines, whole)
        scratch.replace(target / name)
    marker = target / "export.json"
    scratch = target / ".export" / "export.json"
    scratch.write_text(json.dumps({**identity, "complete": True}, indent=2) + "\n")
    scratch.replace(marker)
    shutil.rmtree(target / ".export")
