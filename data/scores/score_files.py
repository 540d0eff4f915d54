"""Parquet files of the ledger of scores: their columns, and filters of their rows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import pyarrow as pa

from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.dataset.files.growing_files import BATCH, FileKind
from imagemill.data.scores.records import Score

SCHEMA = pa.schema(
    [
        pa.field("scorer", pa.string()),
        pa.field("request", pa.string()),
        pa.field("pixels", pa.string()),
        pa.field("image_key", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("hash", pa.uint64()),
        pa.field("vector", pa.binary()),
        pa.field("text", pa.string()),
    ]
)
"""The columns of a file: those of data.scores.records.Score."""

SCORES = FileKind(
    "scores",
    SCHEMA,
    "the scores in it are then computed again, and no image is generated.",
    optional=frozenset(["text"]),
)


def tables_of(scores: Sequence[Score]) -> Iterator[pa.Table]:
    """The scores as tables, each a row group."""
    for start in range(0, len(scores), BATCH):
        part = scores[start : start + BATCH]
        yield table_of([{name: getattr(score, name) for name in SCHEMA.names} for score in part], SCHEMA)


def mask(scorers: pa.Array, scorer_ids: Collection[str]) -> pa.Array:
    """For each row whether its scorer is one of these."""
    return pa.array([scorer in scorer_ids for scorer in scorers.to_pylist()], pa.bool_())


def each_once(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows without a second one for the same request."""
    seen: set[str] = set()
    for table in tables:
        is_first = []
        for request in table["request"].to_pylist():
            is_first.append(request not in seen)
            seen.add(request)
        yield table if all(is_first) else table.filter(pa.array(is_first, pa.bool_()))
