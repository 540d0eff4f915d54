"""Parquet files of preference pairs: both images, their scores and how they were generated.

<output>/
  pairs/train-00000-3f9a2b1c.parquet ...   named by place and content

They are written when a dataset is published, from the files in data/ and rejected/. A file whose pairs are the same as
before is left as it is, and no image is read for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.dataset.carried.arrow_kinds import IMAGE
from imagemill.data.dataset.carried.features import feature
from imagemill.data.dataset.files.area import files_of
from imagemill.data.dataset.files.shard_files import CommittedFile, file_name, is_file_name, number_of
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import ROW_GROUP_BYTES, read_columns, read_image_rows, write_tables
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.data.errors import BuildFailed
from imagemill.data.identity import digest
from imagemill.data.scores.pairs import Pair
from imagemill.data.storage.locations import Location, RemotePath, arrow_source, hash_file, size_and_version
from imagemill.data.storage.lock import check_still_locked

_GROUPS_A_FILE = 4


class _Place(NamedTuple):
    """A row of a committed file."""

    path: Location
    row: int
    sha256: str
    """Of its image."""


def pair_schema(schema: DatasetSchema) -> pa.Schema:
    """The columns of the pairs of a dataset with this schema."""
    edits = schema.edits
    columns = [pa.field("input_image", IMAGE)] if edits else []
    columns += [pa.field("image_0", IMAGE), pa.field("image_1", IMAGE), pa.field("prompt", pa.string())]
    columns += [pa.field("edit_prompt", pa.string())] if edits else []
    kinds = {"label": pa.int32(), "score": pa.float32(), "model": pa.string(), "seed": schema.seed_type}
    for name, kind in {**kinds, "image_key": pa.string()}.items():
        columns += [pa.field(f"{name}_{side}", kind) for side in (0, 1)]
    features = {"info": {"features": {column.name: feature(column.type) for column in columns}}}
    return pa.schema(columns, metadata={"huggingface": json.dumps(features)})


def write_pairs(folder: Folder, schema: DatasetSchema, pairs: Sequence[Pair]) -> list[CommittedFile]:
    """Bring pairs/ up to date with these pairs, in this order; returns its files, for the manifest.

    The folder must be locked, and its rows where the candidates' row keys say. Raises BuildFailed for an image that is
    not there. Memory: about two row groups.
    """
    root = folder.root / "pairs"
    present = {path.name: path for path in _listed(root)}
    known = {number_of(name): (path, _digest_in(path)) for name, path in sorted(present.items())}
    places = _find_rows(folder, {one.row_key for pair in pairs for one in pair.sides})
    files: list[CommittedFile] = []
    per_group = _pairs_a_group(places)
    for start in range(0, len(pairs), per_group * _GROUPS_A_FILE):
        part = pairs[start : start + per_group * _GROUPS_A_FILE]
        contents = _digest_of(schema, part, places)
        path, before = known.get(len(files), (None, None))
        if path is not None and before == contents:
            files.append(_described(folder, path))
            continue
        metadata = {**pair_schema(schema).metadata, b"imagemill": json.dumps({"pairs": contents}).encode()}
        arrow = pair_schema(schema).with_metadata(metadata)
        groups = (part[first : first + per_group] for first in range(0, len(part), per_group))
        scratch = folder.scratch(f"pairs-{len(files):05d}.parquet")
        tables = (table_of(_rows(schema, group, places), arrow) for group in groups)
        file = write_tables(scratch, arrow, tables)
        name = file_name(len(files), file.sha256)
        folder.publish(scratch, root / name)
        files.append(CommittedFile(name, file.rows, file.bytes, file.sha256))
    _remove(folder, [present[name] for name in present.keys() - {file.name for file in files}])
    return files


def pair_files(folder: Folder) -> list[CommittedFile]:
    """The files in pairs/, for the manifest."""
    return [_described(folder, path) for path in sorted(_listed(folder.root / "pairs"), key=lambda path: path.name)]


def _listed(root: Location) -> list[Location]:
    paths: Iterable[Location] = root.iterdir() if root.exists() else []
    return [path for path in paths if is_file_name(path.name)]


def _digest_in(path: Location) -> str | None:
    """Recorded ``_digest_of`` of a file's pairs; None for a damaged file, which is then written again."""
    try:
        metadata = pq.read_schema(arrow_source(path)).metadata or {}
        return str(json.loads(metadata[b"imagemill"])["pairs"])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None


def _digest_of(schema: DatasetSchema, pairs: Sequence[Pair], places: Mapping[str, _Place]) -> str:
    columns = [[field.name, str(field.type)] for field in pair_schema(schema)]
    sides = [
        [[one.key, one.score, places[one.row_key].sha256] for one in pair.sides] + [pair.label_0] for pair in pairs
    ]
    return digest([columns, schema.encoding.to_json(), sides])


def _find_rows(folder: Folder, row_keys: set[str]) -> dict[str, _Place]:
    """Row key -> where its row is. Raises BuildFailed for one that is nowhere."""
    places: dict[str, _Place] = {}
    for area in folder.areas if row_keys else ():
        for file in area.committed()[0]:
            first = 0
            for part in read_columns(area.path / file.name, ["row_key", "sha256"]):
                for row, (row_key, sha256) in enumerate(zip(part["row_key"], part["sha256"]), first):
                    if row_key in row_keys:
                        places.setdefault(row_key, _Place(area.path / file.name, row, sha256))
                first += len(part["row_key"])
    for row_key in row_keys - places.keys():
        raise _missing(row_key)
    return places


def _pairs_a_group(places: Mapping[str, _Place]) -> int:
    """Pairs that make a row group, a power of two, so that it changes rarely when the dataset grows."""
    sizes = {place.path: size_and_version(place.path)[0] for place in places.values()}
    rows = {path: pq.read_metadata(arrow_source(path)).num_rows for path in sizes}
    row_bytes = sum(sizes.values()) // max(1, sum(rows.values())) + 1
    return 1 << min(13, max(0, (ROW_GROUP_BYTES // (2 * row_bytes)).bit_length() - 1))


def _rows(schema: DatasetSchema, pairs: Sequence[Pair], places: Mapping[str, _Place]) -> list[dict[str, Any]]:
    """The rows of some pairs, with their images."""
    wanted = {one.row_key: places[one.row_key] for pair in pairs for one in pair.sides}
    found = dict(_read(wanted, schema.image_columns[-1]))
    inputs = {pair.sides[0].row_key: places[pair.sides[0].row_key] for pair in pairs} if schema.edits else {}
    sources = {row_key: content for row_key, (content, _) in _read(inputs, "input_image")}
    return [_row(schema, pair, found, sources.get(pair.sides[0].row_key)) for pair in pairs]


def _row(
    schema: DatasetSchema, pair: Pair, found: Mapping[str, tuple[bytes, dict[str, Any]]], source: bytes | None
) -> dict[str, Any]:
    fields = found[pair.sides[0].row_key][1]
    row: dict[str, Any] = {"prompt": fields["prompt"]}
    if schema.edits:
        row |= {"edit_prompt": fields["edit_prompt"], "input_image": {"bytes": source, "path": None}}
    prefix = "edit_" if schema.chained else ""
    for side, one in enumerate(pair.sides):
        content, fields = found[one.row_key]
        row |= {
            f"image_{side}": {"bytes": content, "path": f"{one.key}.{schema.encoding.image_format}"},
            f"label_{side}": int(one is pair.better),
            f"score_{side}": one.score,
            f"model_{side}": fields[f"{prefix}model"],
            f"seed_{side}": fields[f"{prefix}seed"],
            f"image_key_{side}": one.key,
        }
    return row


def _read(wanted: Mapping[str, _Place], column: str) -> Iterator[tuple[str, tuple[bytes, dict[str, Any]]]]:
    """Row key -> image in this column, and the row's other columns. Each row group is read once."""
    ordered = sorted(wanted.items(), key=lambda entry: (str(entry[1].path), entry[1].row))
    for _, group in groupby(ordered, key=lambda entry: entry[1].path):
        entries = list(group)
        rows = [place.row for _, place in entries]
        for (row_key, _), (content, fields) in zip(entries, read_image_rows(entries[0][1].path, column, rows)):
            if content is None:
                raise _missing(row_key)
            yield row_key, (content, fields)


def _missing(row_key: str) -> BuildFailed:
    return BuildFailed(
        f"a preference pair needs the image of the row {row_key}, which is neither in data/ nor in rejected/: set "
        "rejected to keep and run the build again, or leave out pairs."
    )


def _described(folder: Folder, path: Location) -> CommittedFile:
    size = size_and_version(path)[0]
    for entry in files_of(folder.read_manifest() or {}, "pairs"):
        if entry["name"] == path.name and entry["bytes"] == size:
            return CommittedFile(entry["name"], entry["rows"], entry["bytes"], entry["sha256"])
    return CommittedFile(path.name, pq.read_metadata(arrow_source(path)).num_rows, size, hash_file(path))


def _remove(folder: Folder, paths: Sequence[Location]) -> None:
    if paths and isinstance(folder.lock_file, RemotePath):
        check_still_locked(folder.lock_file)
    for path in paths:
        path.unlink(missing_ok=True)
