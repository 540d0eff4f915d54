"""Copy of a remote dataset's journal of answers beside it, so that a build on another machine asks nothing twice.

A local dataset has its journal in its folder, and no copy.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import suppress

from imagemill.data.answers.journal import AnswerJournal
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import ImagemillError
from imagemill.data.storage.locations import Location

log = logging.getLogger("imagemill")

SHARE_ANSWERS = 100
"""Answers after which the journal is copied."""

SHARE_INTERVAL_S = 60.0
"""Seconds after which it is copied, if there is anything new."""


class SharedJournal:
    """The files of a journal, on this machine and beside the dataset. Thread-safe."""

    def __init__(self, folder: Folder, journal: AnswerJournal) -> None:
        self._folder = folder
        self._journal = journal
        self._copies: Location | None = folder.shared_answers if folder.is_remote else None
        self._copied: dict[str, int] = {}
        """File -> bytes that the copy has."""
        self._waiting = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def files(self) -> Iterator[tuple[str, list[bytes]]]:
        """Name and lines of each file: this machine's, which is the longer one, or the copy."""
        local = {path.name: path for path in self._journal.paths()}
        copies: dict[str, Location] = {}
        if self._copies is not None and self._copies.exists():
            copies = {path.name: path for path in self._copies.iterdir() if path.name.endswith(".jsonl")}
        for name in sorted({*local, *copies}):
            with suppress(FileNotFoundError):
                yield name, (local.get(name) or copies[name]).read_bytes().splitlines()

    def added(self) -> None:
        """Count an answer, and copy the journal where it is time."""
        if self._copies is None:
            return
        with self._lock:
            self._waiting += 1
            is_time = self._waiting >= SHARE_ANSWERS
            if is_time:
                self._waiting = 0
            elif self._thread is None:
                self._thread = threading.Thread(target=self._share_at_intervals, daemon=True, name="share-answers")
                self._thread.start()
        if is_time:
            self.share()

    def share(self) -> None:
        """Copy what the copy lacks."""
        if self._copies is None:
            return
        with self._lock:
            for path in self._journal.paths():
                content = path.read_bytes()
                if self._copied.get(path.name) != len(content):
                    self._folder.write(self._copies / path.name, content)
                    self._copied[path.name] = len(content)

    def clear(self) -> None:
        """Remove the journal and its copy."""
        with self._lock:
            if self._copies is not None and self._copies.exists():
                for path in self._copies.iterdir():
                    path.unlink(missing_ok=True)
            self._journal.clear()
            self._copied.clear()
            self._waiting = 0

    def stop(self) -> None:
        """End the copying at intervals."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _share_at_intervals(self) -> None:
        while not self._stop.wait(SHARE_INTERVAL_S):
            try:
                self.share()
            except ImagemillError as error:
                # The store may be back by the next time; the journal on this machine is whole.
                log.warning("The answers of language models are not copied beside the dataset yet: %s", error)
