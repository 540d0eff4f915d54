"""Keep the committed files as they should be: no row that nobody asks for, one set of columns, no hundred tiny files.

Nothing is drawn. Every step leaves whole files only, and one that a kill interrupts is finished by the next build.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from data.folder import Folder
from data.layout import Layout
from data.parquet import merge_files, read_encoding, read_schema
from data.records import CommittedFile, file_name
from data.storage import hash_file

SMALL_BYTES = 100 * 2**20
"""Files below this are merged: about a row group of the size that the Hub's viewer recommends."""

FILE_BYTES = 500 * 2**20
"""Files are not merged beyond this: the Hub's own size of a file."""


def remove_rows(folder: Folder, unwanted: Mapping[str, set[str]]) -> None:
    """Take rows out of committed files: a file is replaced as a whole, or goes when none of its rows is left.

    ``unwanted``: file name -> row keys.
    """
    for name, row_keys in unwanted.items():
        path = folder.data / name
        file = merge_files([path], folder.scratch(name), read_schema(path), row_keys)
        if file.rows:
            folder.commit(folder.scratch(name), name, file)
        else:
            folder.scratch(name).unlink()
            folder.remove(name)


def conform(folder: Folder, layout: Layout) -> None:
    """Give kept rows of an earlier recipe the columns of this one, so that the files open together."""
    schema = layout.schema()
    for file in folder.committed()[0]:
        path = folder.data / file.name
        if not read_schema(path).equals(schema):
            own = schema.with_metadata({**schema.metadata, b"imagemill": read_schema(path).metadata[b"imagemill"]})
            whole = merge_files([path], folder.scratch(file.name), own)
            folder.commit(folder.scratch(file.name), file.name, whole)


def compact(folder: Folder) -> None:
    """Merge small files with their neighbours, newest first, as long as a file is not far larger than those after it.

    So a dataset that grows by a few rows a night has few files, and each of its bytes is copied a few times at most.
    """
    files, _ = folder.committed()
    while group := mergeable(files):
        if len({read_encoding(folder.data / file.name) for file in group}) > 1:
            files = files[: files.index(group[-1])]
            continue
        _merge(folder, group)
        files = files[: files.index(group[0])]


def mergeable(files: Sequence[CommittedFile]) -> list[CommittedFile]:
    """The last run of two or more neighbouring files that should be one; empty where there is none."""
    end = len(files)
    while end > 1:
        group, size = [files[end - 1]], files[end - 1].bytes
        for file in reversed(files[: end - 1]):
            if min(file.bytes, size) >= SMALL_BYTES or file.bytes > 2 * size or size + file.bytes > FILE_BYTES:
                break
            group.insert(0, file)
            size += file.bytes
        if len(group) > 1:
            return group
        end -= 1
    return []


def _merge(folder: Folder, group: Sequence[CommittedFile]) -> None:
    scratch = folder.scratch(group[0].name)
    merged = merge_files([folder.data / file.name for file in group], scratch, read_schema(folder.data / group[0].name))
    # Not in the place of the first: who has that open twice would find another file the second time.
    name, old = file_name(group[0].number, merged.sha256), [file.name for file in group]
    folder.write(folder.merge, json.dumps({"name": name, "sha256": merged.sha256, "old": old}).encode())
    folder.commit(scratch, name, merged)
    finish_merge(folder)


def finish_merge(folder: Folder) -> None:
    """Finish a merge, also one that a kill interrupted: where the merged file is in its place, its sources go."""
    if not folder.merge.exists():
        return
    merge = json.loads(folder.merge.read_bytes())
    path = folder.data / merge["name"]
    if path.exists() and hash_file(path) == merge["sha256"]:
        for name in merge["old"]:
            folder.remove(name)
    folder.merge.unlink()
