"""Index of the requests that a journal answers: a job that is run again scores nothing twice."""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache
from pathlib import Path

from imagemill.data.scores.journal import ScoreJournal


def finished_requests(folder: Path) -> Set[str]:
    """Ids of the requests that the journal in this folder answers now."""
    return _index(folder).refreshed()


class _Index:
    """Ids of one journal; no line is read twice."""

    def __init__(self, folder: Path) -> None:
        self._journal = ScoreJournal(folder)
        self._read: dict[Path, int] = {}
        self._ids: set[str] = set()

    def refreshed(self) -> Set[str]:
        sizes = self._journal.sizes()
        # A file that a build before has removed: its scores are in the ledger, which the requests were made from.
        if self._read.keys() - sizes.keys():
            self._read, self._ids = {}, set()
        self._ids.update(score.request for score in self._journal.read(sizes, self._read))
        self._read = sizes
        return self._ids


@lru_cache(maxsize=8)
def _index(folder: Path) -> _Index:
    return _Index(folder)
