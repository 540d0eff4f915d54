"""Export of a finished dataset to another format, which grows with the dataset and continues after an interruption.

A further export into the same folder writes the rows that are new or differ and removes those that are gone; it
touches no file that it did not write (data.export.ledger).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from imagemill.data.dataset.files.area import DATA, files_of
from imagemill.data.dataset.files.outcomes import scorer_names
from imagemill.data.dataset.parquet import read_schema
from imagemill.data.dataset.reader import count_kept, find_finished
from imagemill.data.dataset.where import parse_where
from imagemill.data.errors import RecipeError
from imagemill.data.export.credentials import Credentials
from imagemill.data.export.entry import Choices, Summary
from imagemill.data.export.formats import FORMATS, Format
from imagemill.data.export.ledger import Ledger
from imagemill.data.export.loose import Emit, Written, replace_unless_edited, write_loose
from imagemill.data.export.packed import write_packed
from imagemill.data.export.source import Source
from imagemill.data.messages import shown, shown_path
from imagemill.data.storage.disk_errors import explain_disk_errors
from imagemill.data.storage.locations import Location

PART_BYTES = 10**9
"""The Hub recommends tar files of about 1 GB for WebDataset."""

SOURCES = {"data": "every build", "rejected": "select", "pairs": "pairs"}
"""Folder of a dataset whose rows can be exported -> what in a recipe makes it."""


def export(
    output: str | Path,
    target: Path,
    form: str,
    where: str | None = None,
    part_bytes: int = PART_BYTES,
    emit: Emit | None = None,
    source: str = DATA,
    caption: str | None = None,
    name: str | None = None,
    by_class: str | None = None,
    messages: bool = False,
    sign: tuple[Path, Path] | None = None,
) -> dict[str, Any]:
    """Export the dataset at ``output`` into the folder ``target`` in the format ``form``, a key of FORMATS.

    ``where``: a filter (data.dataset.where); rows that do not meet it are left out. ``source``: the folder of the
    dataset whose rows are exported, one of SOURCES. ``caption``, ``name``, ``by_class``: columns, for captions, the
    names of files, and folders. ``messages``: ids that end in -0, -1, ... are the messages of one row. ``sign``:
    certificates and key (data.export.credentials). ``emit`` is
    called with the rows (or packed files) so far and in all.
    Returns {"format", "to", "rows", "parts", "written", "removed", "left_out"}: of ``rows`` in the export this call
    wrote ``written`` (of a packed format: of its ``parts``); ``left_out`` counts rows without a place in the format, by
    reason. Raises RecipeError, NotAnImagemillDataset, FolderInUse and OutputError.
    """
    if form not in FORMATS:
        raise RecipeError(f"the format is {shown(form)}; it can be {', '.join(FORMATS)}.")
    target = Path(target)
    signer = Credentials(*sign) if sign else None
    choices = Choices(target.absolute(), caption, name, by_class, messages, signer)
    folder, manifest = find_finished(output)
    files = _files_in(output, manifest, source, form)
    paths = [folder.root / source / file["name"] for file in files]
    chosen = {"caption": caption, "name": name, "class": by_class, "messages": messages or None}
    chosen["sign"] = signer.fingerprint if signer else None
    _check_choices(form, chosen, read_schema(paths[0]) if paths else None)
    identity = {"format": form, "dataset": manifest["recipe"]["name"]}
    identity |= {"from": source} if source != DATA else {}
    identity |= {field: value for field, value in {"where": where, **chosen}.items() if value is not None}
    content = _digest([*(file["sha256"] for file in files), str(choices.target), str(part_bytes)])
    read = Source(paths, [file["sha256"] for file in files], _filter(paths, where), choices)
    ledger = Ledger(target)
    done = {"format": form, "to": str(target)}
    with explain_disk_errors(target):
        if marker := ledger.current(identity, content):
            return {
                **done,
                "written": 0,
                "removed": 0,
                **{name: marker[name] for name in ("rows", "parts", "left_out")},
            }
        with ledger.begun(identity):
            written = _write(read, FORMATS[form], files, part_bytes, manifest["recipe"]["name"], ledger, emit)
            parts = 1 if FORMATS[form].layout else sum(name.startswith("train-") for name in written.items)
            figures = {"rows": written.rows, "parts": parts, "left_out": dict(written.left_out)}
            about = {"fingerprint": manifest["fingerprint"], "content": content, **figures}
            removed = ledger.finish(written.items, {**identity, **about})
    return {**done, "written": written.written, "removed": removed, **figures}


def _write(
    source: Source,
    form: Format,
    files: Sequence[Mapping[str, Any]],
    part_bytes: int,
    dataset: str,
    ledger: Ledger,
    emit: Emit | None,
) -> Written:
    summary = Summary(source.choices, dataset)
    if form.layout:
        done = write_loose(source, form.layout, form.join, summary, ledger, emit)
    else:
        assert form.pack, "a format has a layout or packs its rows"
        done = write_packed(source, [file["bytes"] for file in files], part_bytes, form.pack, form.suffix, ledger, emit)
    for name, text in (form.extras(summary) if form.extras else {}).items():
        replace_unless_edited(ledger, done, name, text.encode())
    return done


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


def _check_choices(form: str, chosen: Mapping[str, Any], schema: pa.Schema | None) -> None:
    """Raise RecipeError for a choice that the format does not have, or a column that the dataset does not have."""
    for choice, value in chosen.items():
        if value is None:
            continue
        fitting = [name for name, known in FORMATS.items() if choice in known.takes]
        if choice != "name" and form not in fitting:
            raise RecipeError(f"--{choice} does not fit the format {form}; it is for {', '.join(fitting)}.")
        if choice in ("messages", "sign") or schema is None:
            continue
        if value not in schema.names:
            raise RecipeError(f"--{choice}: there is no column {shown(value)}; there is {_columns(schema)}.")
        if pa.types.is_nested(schema.field(value).type):
            raise RecipeError(f"--{choice}: the column {shown(value)} has no single value; name one with texts.")


def _columns(schema: pa.Schema) -> str:
    names = [shown(field.name, 40) for field in schema if not pa.types.is_nested(field.type)]
    return ", ".join(names[:20])


def _filter(paths: Sequence[Location], text: str | None) -> Any:
    """The filter, if there is one. Raises RecipeError if no row meets it."""
    if text is None or not paths:
        return None
    schema = read_schema(paths[0])
    where = parse_where(text, schema, scorer_names(schema))
    if not any(count_kept(path, where) for path in paths):
        raise RecipeError(f"--where: none of the rows meets {shown(text)}.")
    return where


def _digest(values: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(values).encode()).hexdigest()
