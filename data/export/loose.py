"""Writer of formats with separate files for each row: writes the rows that are new or differ, and no other."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from imagemill.data.errors import OutputError, RecipeError
from imagemill.data.export.entry import Choices, Entry, ImageOf, LeftOut, Named, Row, Signer, Summary
from imagemill.data.export.ledger import Item, Ledger
from imagemill.data.export.row_images import bytes_of
from imagemill.data.export.source import Source
from imagemill.data.messages import shown
from imagemill.data.storage.jsonl import json_line, read_lines
from imagemill.data.storage.locations import hash_file

ROWS_PER_BATCH = 64
"""Rows that are recorded together before their files are written."""

REMEMBERED_IMAGES = 100_000
"""Images that another row may have too, whose file becomes a hard link of the first."""

Layout = Callable[[Row, Named, Choices], Entry | LeftOut]
Emit = Callable[[int, int], None]
"""(rows so far, rows in all) -> None"""


@dataclass(slots=True)
class Written:
    """Counts of a call."""

    rows: int = 0
    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    items: dict[str, Item] = field(default_factory=dict)
    """All that the export consists of."""


def write_loose(
    source: Source,
    layout: Layout,
    join: Mapping[str, Callable[[Iterator[dict[str, Any]]], Iterator[dict[str, Any]]]],
    summary: Summary,
    ledger: Ledger,
    emit: Emit | None,
) -> Written:
    """Bring the export up to date but for what is removed, which ``Ledger.finish`` does.

    ``join``: file of metadata -> what makes its lines of those of the rows. ``summary`` is filled.
    Raises OutputError, RecipeError.
    """
    done, missing, metadata = _plan(source, layout, ledger, summary)
    if not done.rows:
        reasons = ", ".join(f"{count:,} {why}" for why, count in done.left_out.items()) or "there is none"
        raise RecipeError(f"no row can be exported: {reasons}. A column of captions can be named with --caption.")
    total, images = sum(map(len, missing.values())), _Images(ledger, source.choices.signer)
    for place, rows in missing.items():
        entries = ((named, layout(row, named, source.choices), row) for row, named in source.rows_in(place, rows))
        while batch := list(islice(entries, ROWS_PER_BATCH)):
            items = {named.stem: done.items[named.stem] for named, _, _ in batch}
            ledger.intend(items)
            for _, entry, row in batch:
                assert isinstance(entry, Entry), "only rows with a place are read again"
                for name, content in entry.files.items():
                    images.put(name, content, row)
            ledger.done(items)
            done.written += len(batch)
            if emit:
                emit(done.written, total)
    for name, scratch in metadata.items():
        lines = read_lines(scratch)
        _replace_lines(ledger, done, name, join[name](lines) if name in join else lines)
        scratch.unlink()
    return done


def _plan(
    source: Source, layout: Layout, ledger: Ledger, summary: Summary
) -> tuple[Written, dict[int, dict[int, Named]], dict[str, Path]]:
    """Names of the export's files, the rows whose images have to be read, and the files of the rows' metadata."""
    done = Written()
    missing: dict[int, dict[int, Named]] = {}
    metadata: dict[str, BinaryIO] = {}
    taken: set[str] = set()
    with ExitStack() as stack:
        for place, number, row, named in source.light_rows():
            entry = layout(row, named, source.choices)
            if isinstance(entry, LeftOut):
                done.left_out[entry.why] += 1
                continue
            done.rows += 1
            item = Item(_stamp(row, entry, source.digests[place]), tuple(entry.files))
            done.items[named.stem] = item
            _check_free(entry, taken)
            if ledger.items.get(named.stem) != item or not all((ledger.target / name).exists() for name in item.files):
                missing.setdefault(place, {})[number] = named
            for name, line in entry.lines.items():
                if name not in metadata:
                    metadata[name] = stack.enter_context(open(ledger.scratch(f"lines-{len(metadata)}"), "wb"))
                metadata[name].write(json_line(line))
            _add(summary, row, entry)
    return done, missing, {name: Path(file.name) for name, file in metadata.items()}


def _check_free(entry: Entry, taken: set[str]) -> None:
    for name in entry.files:
        if name.casefold() in taken:
            raise OutputError(f"two rows of the dataset have the file {shown(name)} in the export: give --name.")
        taken.add(name.casefold())


def _stamp(row: Row, entry: Entry, digest: str) -> str:
    """Stands for the content of the row's files: equal only if they are."""
    hashes = {name: value for name, value in row.items() if name.endswith("sha256") and value}
    # A preference pair has no key that stands for its bytes.
    identity: list[Any] = [row["row_key"], hashes] if row.get("row_key") else [digest, row.get("image_key_0")]
    files = {
        name: content if isinstance(content, str) else [content.column, content.for_training, content.as_png]
        for name, content in entry.files.items()
    }
    written = json.dumps([identity, row.get("image_key_1"), files], sort_keys=True)
    return hashlib.sha256(written.encode()).hexdigest()[:32]


def _add(summary: Summary, row: Row, entry: Entry) -> None:
    summary.folders.update({str(PurePosixPath(n).parent) for n, c in entry.files.items() if isinstance(c, ImageOf)})
    if row.get("width") and row.get("height"):
        summary.sizes[row["width"], row["height"]] += 1


class _Images:
    """Writer of files; an image that another row has too becomes a hard link of that one's."""

    def __init__(self, ledger: Ledger, signer: Signer | None) -> None:
        self._ledger = ledger
        self._signer = signer
        self._first: dict[bytes, str] = {}

    def put(self, name: str, content: ImageOf | str, row: Row) -> None:
        encoded = content.encode() if isinstance(content, str) else bytes_of(row, content)
        if self._signer is not None and isinstance(content, ImageOf):
            encoded = self._signer.sign(encoded, row, content.column)
        key = hashlib.sha256(encoded).digest() if isinstance(content, ImageOf) else b""
        if key in self._first and self._ledger.link(name, self._first[key]):
            return
        with self._ledger.replacing(name) as file:
            file.write(encoded)
        if key and len(self._first) < REMEMBERED_IMAGES:
            self._first[key] = name


def _replace_lines(ledger: Ledger, done: Written, name: str, lines: Iterator[dict[str, Any]]) -> None:
    item = Item("", (name,))
    ledger.intend({name: item})
    with ledger.replacing(name) as file:
        file.writelines(map(json_line, lines))
    done.items[name] = item


def replace_unless_edited(ledger: Ledger, done: Written, name: str, content: bytes) -> None:
    """Write a configuration file; one that the user has changed since stays as it is."""
    before = ledger.items.get(name)
    path = ledger.target / name
    item = Item(hashlib.sha256(content).hexdigest(), (name,))
    if before is not None and before.stamp and path.exists() and hash_file(path) != before.stamp:
        done.items[name] = before
        return
    ledger.intend({name: item})
    with ledger.replacing(name) as file:
        file.write(content)
    ledger.done({name: item})
    done.items[name] = item
