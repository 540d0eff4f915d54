"""Parquet files of a dataset's answers: their columns, and the answers in them.

<output>/
  answers/answers-00000-3f9a2b1c.parquet ...   data.dataset.files.growing_files

A row without a question counts requests that brought no answer: ``request`` then names the build that made them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
import pyarrow as pa

from imagemill.data.answers.records import Answer
from imagemill.data.dataset.arrow_table import table_of
from imagemill.data.dataset.files.growing_files import BATCH, FileKind

SCHEMA = pa.schema(
    [
        pa.field("asker", pa.string()),
        pa.field("model", pa.string()),
        pa.field("question", pa.string()),
        pa.field("request", pa.string()),
        pa.field("values", pa.string()),
        pa.field("fault", pa.string()),
        pa.field("text", pa.string()),
        pa.field("requests", pa.int64()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("cost", pa.float64()),
        pa.field("seconds", pa.float64()),
    ]
)
"""The columns of a file: those of data.answers.records.Answer, ``values`` as JSON."""

ANSWERS = FileKind("answers", SCHEMA, "the answers in it are then requested again, and their images may be others.")


def tables_of(answers: Sequence[Answer]) -> Iterator[pa.Table]:
    """The answers as tables, each a row group."""
    for start in range(0, len(answers), BATCH):
        yield table_of([_to_row(answer) for answer in answers[start : start + BATCH]], SCHEMA)


def answers_of(batch: pa.RecordBatch) -> Iterator[Answer]:
    """The answers in a batch of rows. Raises ValueError or TypeError where ``values`` is no JSON object."""
    for row in batch.to_pylist():
        values = None if row["values"] is None else orjson.loads(row["values"])
        if values is not None and not isinstance(values, dict):
            raise ValueError("values is no JSON object")
        yield Answer(**{**row, "values": values, "question": row["question"] or ""})


def without_copies(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows as they are: an answer that replaces a refusal stands beside it, since both were paid for."""
    yield from tables


def _to_row(answer: Answer) -> dict[str, Any]:
    row = {name: getattr(answer, name) for name in SCHEMA.names}
    row["values"] = None if answer.values is None else orjson.dumps(dict(answer.values)).decode()
    return row | {"question": answer.question or None}
