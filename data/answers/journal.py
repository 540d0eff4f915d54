"""Journal of answers: each is on disk before it is used, and each request is counted there before it is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from imagemill.data.answers.records import Answer
from imagemill.data.storage.line_journal import LineJournal

MAX_FILE_BYTES = 2**20
"""Size after which the journal continues in another file: a remote dataset's is copied file by file."""

_TEXTS = ("question", "request", "asker", "model", "text")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, counted before it was made."""

    asker: str
    cost: float


class AnswerJournal:
    """The journal in one folder. Each object appends to separate files. Making it touches nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines = LineJournal(folder, MAX_FILE_BYTES)

    def add_request(self, asker: str, cost: float) -> None:
        """Count a request that is about to be made. It is on disk when this returns."""
        self._lines.append([orjson.dumps({"asked": asker, "cost": cost})])

    def add_answer(self, answer: Answer) -> None:
        """Add an answer. It is on disk when this returns."""
        self._lines.append([orjson.dumps({"answer": {name: getattr(answer, name) for name in answer.__slots__}})])

    def paths(self) -> list[Path]:
        """Its files, by name."""
        return list(self._lines.sizes())

    def clear(self) -> None:
        """Remove its files."""
        self._lines.clear()


def series_of(name: str) -> str:
    """Prefix of the names of one build's files."""
    return name.removesuffix(".jsonl").rpartition("-")[0]


def read_lines(lines: Iterable[bytes]) -> Iterator[Answer | Asked]:
    """Contents of a journal's lines, without one that a kill has cut short, or that holds something else."""
    for line in lines:
        if (entry := _parsed(line)) is not None:
            yield entry


def _parsed(line: bytes) -> Answer | Asked | None:
    try:
        fields = orjson.loads(line)
        if "answer" in fields:
            return _answer(fields["answer"])
        asker, cost = fields["asked"], fields["cost"]
        return Asked(asker, float(cost)) if isinstance(asker, str) and _is_amount(cost) else None
    except (ValueError, TypeError, KeyError):
        return None


def _answer(fields: Mapping[str, Any]) -> Answer | None:
    answer = Answer(**fields)
    are_texts = all(isinstance(getattr(answer, name), str) for name in _TEXTS)
    has_values = answer.values is None or isinstance(answer.values, dict)
    has_fault = answer.fault is None or isinstance(answer.fault, str)
    counts = (answer.requests, answer.prompt_tokens, answer.completion_tokens)
    are_counts = all(type(count) is int and 0 <= count < 2**63 for count in counts)
    are_amounts = _is_amount(answer.cost) and _is_amount(answer.seconds)
    return answer if are_texts and has_values and has_fault and are_counts and are_amounts else None


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18
