"""Outcome columns of a judged dataset: values that a changed rule rewrites without another image.

Scores, the candidate's number, the split, and in rejected/ the reason: none is part of a row key or of the schema's
digest. A file's metadata names its outcomes, so that a carried column of one of these names is not mistaken for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from imagemill.data.dataset.carried.names import column_names

OutcomeKind = Literal["int", "float32", "str", "bool"]

TYPES: dict[OutcomeKind, pa.DataType] = {
    "int": pa.int32(),
    "float32": pa.float32(),
    "str": pa.string(),
    "bool": pa.bool_(),
}

_METADATA = b"imagemill_outcomes"


@dataclass(frozen=True, slots=True)
class OutcomeColumn:
    """One outcome: the name of its column, and the kind of its values."""

    name: str
    kind: OutcomeKind


OF_REJECTED = (
    OutcomeColumn("rejected_at", "str"),
    OutcomeColumn("rejected_by", "str"),
    OutcomeColumn("duplicate_of", "str"),
)
"""Outcomes that only the rows in rejected/ have: the step that rejected them, its reason, the row that they repeat."""


@dataclass(frozen=True, slots=True)
class FileOutcomes:
    """The outcomes of one file, as its metadata names them."""

    names: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Carried column -> name under which the file has it, since an outcome has its own."""

    def stored(self, column: str) -> str | None:
        """The name under which the file has a column that is no outcome; None if it cannot have it."""
        name = self.renamed.get(column, column)
        return None if name in self.names else name

    def to_metadata(self) -> dict[bytes, bytes]:
        """The entry in the file's metadata; none for a file without outcomes, which has no trace of them."""
        if not self.names:
            return {}
        return {_METADATA: json.dumps({"names": self.names, "renamed": dict(self.renamed)}).encode()}


def outcomes_in(schema: pa.Schema) -> FileOutcomes:
    """The outcomes of a file with this schema; none for a damaged entry."""
    try:
        found: Any = json.loads((schema.metadata or {})[_METADATA])
        return FileOutcomes(tuple(found["names"]), dict(found["renamed"]))
    except (KeyError, ValueError, TypeError):
        return FileOutcomes()


def scorer_names(schema: pa.Schema) -> dict[str, str]:
    """Scorer -> its column in a file with this schema: names that a filter may use."""
    names = [name for name in outcomes_in(schema).names if name.startswith("score_")]
    return {name.removeprefix("score_"): name for name in names}


def renamed_columns(carried: Collection[str], outcomes: Sequence[OutcomeColumn]) -> dict[str, str]:
    """Carried column -> name under which it is stored beside these outcomes, for those that one has the name of.

    It is renamed in the files alone: a dataset that carries a column ``split`` keeps its row keys when it gets splits.
    """
    if not outcomes:
        return {}
    own = {outcome.name for outcome in (*outcomes, *OF_REJECTED)}
    taken = {name: name for name in carried if name not in own}
    names = column_names([name for name in carried if name in own], own, taken)
    return {name: names[name] for name in carried if name in own}
