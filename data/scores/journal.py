"""Journal of scores: what workers have computed, on disk before it counts, until the ledger takes it over."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from imagemill.data.scores.records import Score
from imagemill.data.storage.line_journal import LineJournal


class ScoreJournal:
    """The journal in one folder, which several processes and machines may append to at once.

    Each object appends to a separate file, so an object is for one thread. Making it touches nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines = LineJournal(folder)

    def append(self, scores: Sequence[Score]) -> None:
        """Add a batch of scores: one write, synced to disk. After a kill it holds whole scores and none by half."""
        self._lines.append([orjson.dumps(_to_json(score)) for score in scores])

    def sizes(self) -> dict[Path, int]:
        """Each of its files -> bytes now; empty if there is no folder."""
        return self._lines.sizes()

    def read(
        self, sizes: Mapping[Path, int] | None = None, starts: Mapping[Path, int] | None = None
    ) -> Iterator[Score]:
        """The scores, without a line that a kill has cut short; of each file the first ``sizes`` bytes only.

        ``starts``: bytes of a file that are skipped, the ``sizes`` of an earlier call.
        """
        for line in self._lines.read(sizes, starts):
            if (score := _from_line(line)) is not None:
                yield score

    def clear(self, sizes: Mapping[Path, int] | None = None) -> None:
        """Remove its files; with ``sizes``, those that have not grown since."""
        self._lines.clear(sizes)


def _to_json(score: Score) -> dict[str, Any]:
    fields = {name: value for name in score.__slots__ if (value := getattr(score, name)) is not None}
    if score.vector is not None:
        fields["vector"] = base64.b64encode(score.vector).decode()
    return fields


def _from_line(line: bytes) -> Score | None:
    """The score in a line; None for half a line, or one that holds something else."""
    try:
        fields = orjson.loads(line)
        if "vector" in fields:
            fields["vector"] = base64.b64decode(fields["vector"])
        score = Score(**{"score": None, **fields})
        texts = score.scorer, score.request, score.pixels, score.image_key, score.sha256, score.text or ""
        has_hash = score.hash is None or (type(score.hash) is int and 0 <= score.hash < 2**64)
        return score if has_hash and all(isinstance(text, str) for text in texts) else None
    except (ValueError, TypeError):
        return None
