"""Store of a dataset's answers: all that were ever given, found by their question, and what they have cost."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pyarrow as pa

from imagemill.data.answers.answer_files import ANSWERS, answers_of, tables_of, without_copies
from imagemill.data.answers.budget import Budget
from imagemill.data.answers.journal import AnswerJournal, Asked, read_lines, series_of
from imagemill.data.answers.records import Answer, Question, Spent
from imagemill.data.answers.sharing import SharedJournal
from imagemill.data.dataset.files.growing_files import BATCH, GrowingFiles
from imagemill.data.dataset.files.shard_files import CommittedFile
from imagemill.data.dataset.folder import Folder

# Durability is not needed: it is an index of what is stored elsewhere.
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE answers (
    request TEXT PRIMARY KEY, question TEXT NOT NULL, has_values INTEGER NOT NULL, is_filed INTEGER NOT NULL,
    content BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX by_question ON answers (question, has_values);
"""


class AnswerStore:
    """The answers of one dataset. Thread-safe; memory does not grow with their number."""

    def __init__(self, folder: Folder, index: sqlite3.Connection) -> None:
        self._files = GrowingFiles(folder, ANSWERS)
        self._journal = AnswerJournal(folder.answer_journal)
        self._shared = SharedJournal(folder, self._journal)
        self._index = index
        self._spent: dict[str, Spent] = {}
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def opened(cls, folder: Folder, index: Path | None = None) -> Iterator[AnswerStore]:
        """The store of a dataset whose folder is locked; at the end its journal becomes a file of answers/.

        ``index``: for a store that is only read, of a folder that is not locked: where to put its index.
        Raises OutputError for a damaged file.
        """
        path = index or folder.state / "answers.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        store = cls(folder, connection)
        try:
            connection.executescript(_TABLES)
            store._read(is_locked=index is None)
            try:
                yield store
            finally:
                # What was asked and paid for before an error is filed too.
                if index is None:
                    store._absorb(are_counted=True)
        finally:
            store._shared.stop()
            connection.close()
            path.unlink(missing_ok=True)

    def find(self, question: Question) -> Answer | None:
        """The answer to this question, if there is one; no image is decoded."""
        return self._first("SELECT content FROM answers WHERE request = ?", question.request_id)

    def find_by_pixels(self, question_id: str) -> Answer | None:
        """An answer to the same question about the same images in other files (``Question.question_id``)."""
        query = "SELECT content FROM answers WHERE question = ? ORDER BY has_values DESC LIMIT 1"
        return self._first(query, question_id)

    def spent(self, asker: str) -> Spent:
        """Requests of an asker in all builds of the dataset, and what they have cost."""
        return self._spent.get(asker, Spent())

    def begin_request(self, asker: str, budget: Budget) -> None:
        """Count a request that is about to be made; it is on disk when this returns. Raises BudgetReached."""
        with self._lock:
            budget.check(self.spent(asker))
            self._journal.add_request(asker, budget.price)
            self._spend(asker, Spent(1, budget.price))

    def add(self, answer: Answer) -> None:
        """Pin an answer: it is on disk when this returns, and takes the place of a refusal."""
        with self._lock:
            self._journal.add_answer(answer)
            self._insert(answer, is_filed=False)
        self._shared.added()

    def share(self) -> None:
        """Copy the journal of a remote dataset beside it."""
        self._shared.share()

    def _read(self, is_locked: bool) -> None:
        for path in self._files.paths():
            for batch in ANSWERS.read_batches(path, ANSWERS.schema.names):
                try:
                    answers = list(answers_of(batch))
                except (ValueError, TypeError) as error:
                    raise ANSWERS.damaged(path, "an answer in it is none") from error
                self._index_all(answers, is_filed=True)
        if is_locked:
            self._absorb(are_counted=False)
            return
        for answers in self._new_answers():
            self._index_all(answers, is_filed=False)

    def _absorb(self, are_counted: bool) -> None:
        """Move the journals into a file of answers/. ``are_counted``: this store has made their requests."""
        with self._lock:
            before = dict(self._spent)
            self._files.add(self._filed_tables())
            if are_counted:
                self._spent = before
            # Not before the file is in place: after a kill in between they are known.
            self._shared.clear()

    def _filed_tables(self) -> Iterator[pa.Table]:
        for answers in self._new_answers():
            self._index_all(answers, is_filed=True)
            yield from tables_of(answers)

    def _new_answers(self) -> Iterator[list[Answer]]:
        """The journals' answers that no file has, and for requests without an answer one row per build and asker."""
        asked: dict[tuple[str, str], Spent] = {}
        answers: list[Answer] = []
        for name, lines in self._shared.files():
            for entry in read_lines(lines):
                key = (series_of(name), entry.asker)
                if isinstance(entry, Asked):
                    asked[key] = asked.get(key, Spent()) + Spent(1, entry.cost)
                    continue
                asked[key] = asked.get(key, Spent()) + Spent(-entry.requests, -entry.cost)
                if not self._is_filed(entry):
                    answers.append(entry)
            if len(answers) >= BATCH:
                yield answers
                answers = []
        lost = (_lost(series, asker, spent) for (series, asker), spent in asked.items() if spent.requests > 0)
        yield [*answers, *(row for row in lost if not self._is_filed(row))]

    def _is_filed(self, answer: Answer) -> bool:
        """True if a file has this: requests without an answer count once, for the first reader."""
        query = "SELECT content FROM answers WHERE request = ? AND is_filed"
        found = self._index.execute(query, (answer.request,)).fetchone()
        return found is not None and (not answer.question or found[0] == _content(answer))

    def _index_all(self, answers: list[Answer], is_filed: bool) -> None:
        self._index.execute("BEGIN")
        for answer in answers:
            self._insert(answer, is_filed)
            self._spend(answer.asker, Spent(answer.requests, answer.cost))
        self._index.execute("COMMIT")

    def _insert(self, answer: Answer, is_filed: bool) -> None:
        values = (answer.request, answer.question, answer.values is not None, is_filed, _content(answer))
        # A refusal takes no answer's place.
        keeps = "WHERE excluded.has_values >= answers.has_values"
        columns = ("question", "has_values", "is_filed", "content")
        update = ", ".join(f"{name} = excluded.{name}" for name in columns)
        query = f"INSERT INTO answers VALUES (?, ?, ?, ?, ?) ON CONFLICT (request) DO UPDATE SET {update} {keeps}"
        self._index.execute(query, values)

    def _first(self, query: str, value: str) -> Answer | None:
        with self._lock:
            found = self._index.execute(query, (value,)).fetchone()
        return Answer(**orjson.loads(found[0])) if found else None

    def _spend(self, asker: str, spent: Spent) -> None:
        self._spent[asker] = self._spent.get(asker, Spent()) + spent


def answer_files(folder: Folder) -> list[CommittedFile]:
    """The files of answers/, small ones merged, for the manifest. The folder must be locked.

    Raises OutputError for a damaged one.
    """
    files = GrowingFiles(folder, ANSWERS)
    files.compact(without_copies)
    return files.files()


def _content(answer: Answer) -> bytes:
    return orjson.dumps({name: getattr(answer, name) for name in answer.__slots__}, option=orjson.OPT_SORT_KEYS)


def _lost(series: str, asker: str, spent: Spent) -> Answer:
    """The row for one build's requests without an answer."""
    fault = "no answer: the build was stopped, or the request failed"
    return Answer("", f"{series} {asker}", asker, "", None, fault, "", spent.requests, cost=max(0.0, spent.cost))
