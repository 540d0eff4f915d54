"""Parquet files of the ledger of scores: their names, their columns, and readers that refuse what is none."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.errors import OutputError
from imagemill.data.messages import shown_path
from imagemill.data.scores.records import Score
from imagemill.data.storage.locations import Location, arrow_source

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
    ]
)
"""The columns of a file: those of data.scores.records.Score."""

BATCH = 1 << 16
"""Rows that are read at a time; a row group when written."""

_NAME = re.compile(r"scores-([0-9]{5}|[1-9][0-9]{5,})-[0-9a-f]{8}[.]parquet")


def score_file_name(number: int, sha256: str) -> str:
    """The name of the file with this content at this place."""
    return f"scores-{number:05d}-{sha256[:8]}.parquet"


def is_score_file_name(name: str) -> bool:
    """Whether a file of scores can have this name: ``score_file_name`` gives it for some number and content."""
    return _NAME.fullmatch(name) is not None


def tables_of(scores: Sequence[Score]) -> Iterator[pa.Table]:
    """The scores as tables, each a row group."""
    for start in range(0, len(scores), BATCH):
        part = scores[start : start + BATCH]
        yield table_of([{name: getattr(score, name) for name in SCHEMA.names} for score in part], SCHEMA)


def with_replaced(names: Collection[str]) -> pa.Schema:
    """The schema of a file that takes the place of these."""
    return SCHEMA.with_metadata({"imagemill": json.dumps({"replaces": list(names)})} if names else None)


def replaced_by(path: Location) -> list[str]:
    """Names of the files that this one takes the place of. Raises OutputError for a damaged file."""
    metadata = _open(path).schema_arrow.metadata or {}
    try:
        names = json.loads(metadata.get(b"imagemill", b"{}")).get("replaces", [])
        return [name for name in names if isinstance(name, str)]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, "its metadata is not imagemill's") from error


def read_batches(path: Location, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Columns of a file, BATCH rows at a time. Raises OutputError for a damaged file."""
    file = _open(path)
    for name in columns:
        if name not in file.schema_arrow.names or file.schema_arrow.field(name).type != SCHEMA.field(name).type:
            raise damaged(path, f"it has no column {name} of type {SCHEMA.field(name).type}")
    try:
        yield from file.iter_batches(batch_size=BATCH, columns=list(columns))
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, " ".join(str(error).split())[:200]) from error


def count_scores(path: Location) -> int:
    """Rows of a file. Raises OutputError for a damaged file."""
    return _open(path).metadata.num_rows


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


def joined(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small tables joined up to about BATCH rows; none that is empty."""
    pending: list[pa.Table] = []
    for table in tables:
        pending.append(table)
        if sum(part.num_rows for part in pending) >= BATCH:
            yield pa.concat_tables(pending)
            pending = []
    if any(part.num_rows for part in pending):
        yield pa.concat_tables(pending)


def damaged(path: Location, reason: str) -> OutputError:
    """The error for a file that does not count as one of the ledger's."""
    return OutputError(
        f"{shown_path(path)} is damaged, or no file of imagemill's scores ({reason}). Restore it from a backup, or "
        "delete it: the scores in it are then computed again, and no image is generated."
    )


def _open(path: Location) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(arrow_source(path))
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, " ".join(str(error).split())[:200]) from error
