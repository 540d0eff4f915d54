"""Parquet files beside data/ that only grow: those of a ledger. Each is named by its place and its content.

<output>/
  scores/scores-00000-3f9a2b1c.parquet ...

A file that takes the place of others names them in its metadata: they count no more, even if a kill leaves them there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.files.compaction import mergeable
from imagemill.data.dataset.files.shard_files import CommittedFile, fits_name, number_of
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_tables
from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path
from imagemill.data.storage.locations import Location, RemotePath, arrow_source, hash_file, size_and_version
from imagemill.data.storage.lock import check_still_locked

BATCH = 1 << 16
"""Rows that are read at a time; a row group when written."""


@dataclass(frozen=True)
class FileKind:
    """Kind of the files of one folder."""

    name: str
    """Of the folder, of its entry in the manifest (data.dataset.files.area.EXTRAS), and what file names begin with."""
    schema: pa.Schema
    loss: str
    """Cost of deleting a file, for messages."""
    optional: frozenset[str] = frozenset()
    """Columns that older files lack: null there."""

    def file_name(self, number: int, sha256: str) -> str:
        """The name of the file with this content at this place."""
        return f"{self.name}-{number:05d}-{sha256[:8]}.parquet"

    def is_file_name(self, name: str) -> bool:
        """True if a file can have this name: ``file_name`` gives it for some number and content."""
        return re.fullmatch(rf"{self.name}-([0-9]{{5}}|[1-9][0-9]{{5,}})-[0-9a-f]{{8}}[.]parquet", name) is not None

    def damaged(self, path: Location, reason: str) -> OutputError:
        """The error for a file that does not count as one of these."""
        return OutputError(
            f"{shown_path(path)} is damaged, or no file of imagemill's {self.name} ({reason}). Restore it from a "
            f"backup, or delete it: {self.loss}"
        )

    def read_batches(self, path: Location, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Columns of a file, BATCH rows at a time. Raises OutputError for a damaged file."""
        file = self._open(path)
        missing = self.optional.intersection(columns).difference(file.schema_arrow.names)
        for name in columns:
            if name in missing:
                continue
            if (
                name not in file.schema_arrow.names
                or file.schema_arrow.field(name).type != self.schema.field(name).type
            ):
                raise self.damaged(path, f"it has no column {name} of type {self.schema.field(name).type}")
        schema = pa.schema([self.schema.field(name) for name in columns])
        try:
            for batch in file.iter_batches(batch_size=BATCH, columns=[name for name in columns if name not in missing]):
                found = {name: batch[name] for name in columns if name not in missing}
                found |= {name: pa.nulls(batch.num_rows, self.schema.field(name).type) for name in missing}
                yield pa.RecordBatch.from_arrays([found[name] for name in columns], schema=schema)
        except (pa.ArrowException, OSError) as error:
            raise self.damaged(path, " ".join(str(error).split())[:200]) from error

    def count_rows(self, path: Location) -> int:
        """Rows of a file. Raises OutputError for a damaged file."""
        return self._open(path).metadata.num_rows

    def replaced_by(self, path: Location) -> list[str]:
        """Names of the files that this one takes the place of. Raises OutputError for a damaged file."""
        metadata = self._open(path).schema_arrow.metadata or {}
        try:
            names = json.loads(metadata.get(b"imagemill", b"{}")).get("replaces", [])
            return [name for name in names if isinstance(name, str)]
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise self.damaged(path, "its metadata is not imagemill's") from error

    def _open(self, path: Location) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(arrow_source(path))
        except (pa.ArrowException, OSError) as error:
            raise self.damaged(path, " ".join(str(error).split())[:200]) from error


class GrowingFiles:
    """The files of one kind in a dataset's folder. Methods that write need the folder's lock. Not thread-safe."""

    def __init__(self, folder: Folder, kind: FileKind) -> None:
        self._folder = folder
        self.kind = kind
        self.path = folder.root / kind.name
        self._replaces: dict[str, list[str]] = {}
        """Name of a file -> the files that it takes the place of."""
        self._checked: dict[str, CommittedFile] = {}

    def files(self) -> list[CommittedFile]:
        """The files, by name, for the manifest. Raises OutputError for one that is not as it was written.

        A file that the manifest lists, with the size that it lists, is not read.
        """
        manifest = self._folder.read_manifest() or {}
        for entry in manifest.get(self.kind.name, {}).get("files", []):
            file = CommittedFile(entry["name"], entry["rows"], entry["bytes"], entry["sha256"])
            self._checked.setdefault(file.name, file)
        return [self._check(path) for path in self.paths()]

    def _check(self, path: Location) -> CommittedFile:
        size = size_and_version(path)[0]
        known = self._checked.get(path.name)
        if known is None or known.bytes != size:
            sha256 = hash_file(path)
            if not fits_name(path.name, sha256):
                raise self.kind.damaged(path, "its content does not fit its name")
            known = self._checked[path.name] = CommittedFile(path.name, self.kind.count_rows(path), size, sha256)
        return known

    def add(self, tables: Iterable[pa.Table]) -> None:
        """Write a further file with these rows; none if there are no rows."""
        number = max((number_of(path.name) for path in self.paths()), default=-1) + 1
        self._write(number, tables, ())

    def replace(self, names: Sequence[str], tables: Iterable[pa.Table]) -> None:
        """Write a file with these rows in the place of others."""
        self._write(number_of(names[0]), tables, names)
        self._remove(names)

    def compact(self, without_repeats: Callable[[Iterable[pa.Table]], Iterable[pa.Table]]) -> None:
        """Merge small files with their neighbours, as the dataset's are; needed once a build."""
        self.remove_replaced()
        files = self.files()
        while group := mergeable(files):
            names = [file.name for file in group]
            self.replace(names, without_repeats(self.tables(names)))
            files = files[: files.index(group[0])]

    def remove_replaced(self) -> None:
        """Finish what a kill interrupted."""
        counts = {path.name for path in self.paths()}
        self._remove([path.name for path in self._listed() if path.name not in counts])

    def paths(self) -> list[Location]:
        """The files that count, by number."""
        paths = self._listed()
        for path in paths:
            if path.name not in self._replaces:
                self._replaces[path.name] = self.kind.replaced_by(path)
        replaced = {name for path in paths for name in self._replaces[path.name]}
        return [path for path in paths if path.name not in replaced]

    def tables(self, names: Iterable[str]) -> Iterator[pa.Table]:
        """The rows of files with these names, BATCH at a time."""
        for name in names:
            for batch in self.kind.read_batches(self.path / name, self.kind.schema.names):
                yield pa.Table.from_batches([batch])

    def _write(self, number: int, tables: Iterable[pa.Table], replaces: Sequence[str]) -> None:
        """Write a file and move it into place; none if there are no rows."""
        scratch = self._folder.scratch(f"{self.kind.name}-{number:05d}.parquet")
        metadata = {"imagemill": json.dumps({"replaces": list(replaces)})} if replaces else None
        file = write_tables(scratch, self.kind.schema.with_metadata(metadata), _joined(tables))
        if file.rows:
            name = self.kind.file_name(number, file.sha256)
            self._folder.publish(scratch, self.path / name)
            self._checked[name] = CommittedFile(name, file.rows, file.bytes, file.sha256)
        else:
            scratch.unlink()

    def _remove(self, names: Collection[str]) -> None:
        if names and isinstance(self._folder.lock_file, RemotePath):
            check_still_locked(self._folder.lock_file)
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def _listed(self) -> list[Location]:
        if not self.path.exists():
            return []
        paths: Iterable[Location] = self.path.iterdir()
        found = (path for path in paths if self.kind.is_file_name(path.name))
        return sorted(found, key=lambda path: (number_of(path.name), path.name))


def _joined(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small tables joined up to about BATCH rows; none that is empty."""
    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(part.num_rows for part in pending) >= BATCH:
            yield pa.concat_tables(pending)
            pending = []
    if any(part.num_rows for part in pending):
        yield pa.concat_tables(pending)
