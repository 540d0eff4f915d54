"""Ledger of scores: every score of a dataset's images, in Parquet files that only grow. Each is computed once.

<output>/
  scores/scores-00000-3f9a2b1c.parquet ...   named by place and content

A file that takes the place of others names them in its metadata: they count no more, even if a kill leaves them there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from imagemill.data.dataset.files.compaction import mergeable
from imagemill.data.dataset.files.shard_files import CommittedFile, fits_name, number_of
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_tables
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.records import Score
from imagemill.data.scores.score_files import (
    SCHEMA,
    count_scores,
    damaged,
    each_once,
    is_score_file_name,
    joined,
    mask,
    read_batches,
    replaced_by,
    score_file_name,
    tables_of,
    with_replaced,
)
from imagemill.data.storage.locations import Location, RemotePath, hash_file, size_and_version
from imagemill.data.storage.lock import check_still_locked

_AT_A_TIME = 200_000
"""Scores taken from a journal at a time: about 100 MB of memory."""


class Ledger:
    """The ledger of one dataset's folder. Methods that write need the folder's lock. Not thread-safe."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self.path = folder.root / "scores"
        self._replaces: dict[str, list[str]] = {}
        """Name of a file -> the files that it takes the place of."""
        self._checked: dict[str, CommittedFile] = {}
        self._requests: np.ndarray | None = None
        """The requests that it has scores for, sorted; None until they are needed."""

    def read(
        self, scorer_ids: Collection[str] | None = None, columns: Sequence[str] = tuple(SCHEMA.names)
    ) -> Iterator[dict[str, list[Any]]]:
        """Columns of the scores of these scorers (None: of all), some ten thousand rows at a time.

        Raises OutputError for a file that is damaged, or that another program has written.
        """
        wanted = None if scorer_ids is None else frozenset(scorer_ids)
        names = list(dict.fromkeys([*columns, *([] if wanted is None else ["scorer"])]))
        for path in self._paths():
            for batch in read_batches(path, names):
                rows = batch if wanted is None else batch.filter(mask(batch["scorer"], wanted))
                if rows.num_rows:
                    yield {name: rows[name].to_pylist() for name in columns}

    def absorb(self, journal: ScoreJournal) -> int:
        """Move the journal's scores into a new file; returns how many there are that the ledger did not have yet.

        Of several scores for one request the first counts.
        """
        sizes = journal.sizes()
        scores = journal.read(sizes)
        count = 0
        while batch := list(islice(scores, _AT_A_TIME)):
            count += self._add(batch)
        # Not before the scores are in place: after a kill in between they are known, and dropped.
        journal.clear(sizes)
        return count

    def compact(self) -> None:
        """Merge small files with their neighbours, as the dataset's are; needed once a build."""
        self._remove_replaced()
        files = self.files()
        while group := mergeable(files):
            names = [file.name for file in group]
            self._replace(names, each_once(self._tables(names)))
            files = files[: files.index(group[0])]

    def forget(self, scorer_ids: Collection[str]) -> int:
        """Remove all scores of these scorers; returns how many. The manifest's list of files is then out of date."""
        self._remove_replaced()
        self._requests = None
        wanted = frozenset(scorer_ids)
        removed = 0
        for name in [path.name for path in self._paths()]:
            scorers = (batch["scorer"] for batch in read_batches(self.path / name, ["scorer"]))
            if unwanted := sum(mask(part, wanted).true_count for part in scorers):
                tables = (table.filter(_inverse(mask(table["scorer"], wanted))) for table in self._tables([name]))
                self._replace([name], tables)
                removed += unwanted
        return removed

    def files(self) -> list[CommittedFile]:
        """The ledger's files, by name, for the manifest. Raises OutputError for one that is not as it was written.

        A file that the manifest lists, with the size that it lists, is not read.
        """
        manifest = self._folder.read_manifest() or {}
        for entry in manifest.get("scores", {}).get("files", []):
            file = CommittedFile(entry["name"], entry["rows"], entry["bytes"], entry["sha256"])
            self._checked.setdefault(file.name, file)
        return [self._check(path) for path in self._paths()]

    def _check(self, path: Location) -> CommittedFile:
        size = size_and_version(path)[0]
        known = self._checked.get(path.name)
        if known is None or known.bytes != size:
            sha256 = hash_file(path)
            if not fits_name(path.name, sha256):
                raise damaged(path, "its content does not fit its name")
            known = self._checked[path.name] = CommittedFile(path.name, count_scores(path), size, sha256)
        return known

    def _add(self, scores: Sequence[Score]) -> int:
        """Write a file with the scores whose requests are new; returns how many."""
        if self._requests is None:
            parts = [_texts(part["request"]) for part in self.read(columns=["request"])]
            self._requests = np.sort(np.concatenate([_texts([]), *parts]))
        by_request = {score.request: score for score in reversed(scores)}
        requests = _texts(list(by_request))
        places = np.searchsorted(self._requests, requests)
        is_new = np.ones(len(requests), bool)
        inside = places < len(self._requests)
        is_new[inside] = self._requests[places[inside]] != requests[inside]
        new = [score for score, adds in zip(by_request.values(), is_new) if adds]
        if new:
            new.sort(key=lambda score: (score.scorer, score.image_key, score.request))
            number = max((number_of(path.name) for path in self._paths()), default=-1) + 1
            self._write(number, tables_of(new), ())
            order = np.argsort(requests[is_new])
            self._requests = np.insert(self._requests, places[is_new][order], requests[is_new][order])
        return len(new)

    def _replace(self, names: Sequence[str], tables: Iterable[pa.Table]) -> None:
        self._write(number_of(names[0]), tables, names)
        self._remove(names)

    def _write(self, number: int, tables: Iterable[pa.Table], replaces: Sequence[str]) -> None:
        """Write a file and move it into place; none if there are no rows."""
        scratch = self._folder.scratch(f"scores-{number:05d}.parquet")
        file = write_tables(scratch, with_replaced(replaces), joined(tables))
        if file.rows:
            name = score_file_name(number, file.sha256)
            self._folder.publish(scratch, self.path / name)
            self._checked[name] = CommittedFile(name, file.rows, file.bytes, file.sha256)
        else:
            scratch.unlink()

    def _remove(self, names: Collection[str]) -> None:
        if names and isinstance(self._folder.lock_file, RemotePath):
            check_still_locked(self._folder.lock_file)
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def _remove_replaced(self) -> None:
        """Finish what a kill interrupted."""
        counts = {path.name for path in self._paths()}
        self._remove([path.name for path in self._listed() if path.name not in counts])

    def _paths(self) -> list[Location]:
        """The files that count, by number."""
        paths = self._listed()
        for path in paths:
            if path.name not in self._replaces:
                self._replaces[path.name] = replaced_by(path)
        replaced = {name for path in paths for name in self._replaces[path.name]}
        return [path for path in paths if path.name not in replaced]

    def _listed(self) -> list[Location]:
        if not self.path.exists():
            return []
        paths: Iterable[Location] = self.path.iterdir()
        found = (path for path in paths if is_score_file_name(path.name))
        return sorted(found, key=lambda path: (number_of(path.name), path.name))

    def _tables(self, names: Iterable[str]) -> Iterator[pa.Table]:
        for name in names:
            for batch in read_batches(self.path / name, SCHEMA.names):
                yield pa.Table.from_batches([batch])


def _texts(values: Sequence[str]) -> np.ndarray:
    return np.array([value.encode() for value in values], "S32")


def _inverse(values: pa.Array) -> pa.Array:
    return pa.array([not value for value in values.to_pylist()], pa.bool_())
