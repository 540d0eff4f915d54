"""Ledger of scores: every score of a dataset's images, in Parquet files that only grow. Each is computed once.

<output>/
  scores/scores-00000-3f9a2b1c.parquet ...   data.dataset.files.growing_files
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from imagemill.data.dataset.files.growing_files import GrowingFiles
from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.dataset.folder import Folder
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.records import Score
from imagemill.data.scores.score_files import SCHEMA, SCORES, each_once, mask, tables_of

_AT_A_TIME = 200_000
"""Scores taken from a journal at a time: about 100 MB of memory."""


class Ledger:
    """The ledger of one dataset's folder. Methods that write need the folder's lock. Not thread-safe."""

    def __init__(self, folder: Folder) -> None:
        self._files = GrowingFiles(folder, SCORES)
        self.path = self._files.path
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
        for path in self._files.paths():
            for batch in SCORES.read_batches(path, names):
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
        self._files.compact(each_once)

    def forget(self, scorer_ids: Collection[str]) -> int:
        """Remove all scores of these scorers; returns how many. The manifest's list of files is then out of date."""
        self._files.remove_replaced()
        self._requests = None
        wanted = frozenset(scorer_ids)
        removed = 0
        for path in self._files.paths():
            scorers = (batch["scorer"] for batch in SCORES.read_batches(path, ["scorer"]))
            if unwanted := sum(mask(part, wanted).true_count for part in scorers):
                every = self._files.tables([path.name])
                self._files.replace(
                    [path.name], (table.filter(_inverse(mask(table["scorer"], wanted))) for table in every)
                )
                removed += unwanted
        return removed

    def files(self) -> list[CommittedFile]:
        """The ledger's files, by name, for the manifest. Raises OutputError for one that is not as it was written.

        A file that the manifest lists, with the size that it lists, is not read.
        """
        return self._files.files()

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
            self._files.add(tables_of(new))
            order = np.argsort(requests[is_new])
            self._requests = np.insert(self._requests, places[is_new][order], requests[is_new][order])
        return len(new)


def _texts(values: Sequence[str]) -> np.ndarray:
    return np.array([value.encode() for value in values], "S32")


def _inverse(values: pa.Array) -> pa.Array:
    return pa.array([not value for value in values.to_pylist()], pa.bool_())
