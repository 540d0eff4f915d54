"""Check of a file's columns against those that the manifest's recipe gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from imagemill.data.config.chain import plain_chain
from imagemill.data.config.guides import plain_guides
from imagemill.data.dataset.carried.arrow_kinds import kind_of
from imagemill.data.dataset.files.outcomes import OF_REJECTED, TYPES, OutcomeColumn, OutcomeKind, outcomes_in
from imagemill.data.dataset.measure_columns import MeasureColumn
from imagemill.data.dataset.schema import DatasetSchema, own_columns
from imagemill.data.images.codec import Encoding
from imagemill.data.messages import shown


def schema_faults(
    schema: pa.Schema, recipe: Mapping[str, Any], measures: tuple[MeasureColumn, ...], is_rejected: bool = False
) -> Iterator[str]:
    """Faults of the columns of a file in data/, or in rejected/."""
    chain = plain_chain(recipe)
    generates, edits = "generate" in dict(chain), [section for kind, section in chain if kind == "edit"]
    has_turns = len(edits) > 1 or any(edit.get("multi_turn") for edit in edits)
    own = own_columns(measures)
    outcomes = outcomes_in(schema)
    carried_as = {stored: column for column, stored in outcomes.renamed.items()}
    carried = {
        carried_as.get(column.name, column.name): kind_of(column.type)
        for column in schema
        if column.name not in own and column.name not in outcomes.names
    }
    encoding = Encoding(recipe["image_format"])
    dataset = DatasetSchema(
        chained=generates and bool(edits),
        edits=bool(edits),
        encoding=encoding,
        carried=carried,
        has_turns=has_turns,
        has_masks=any(edit.get("task") == "inpaint" for edit in edits),
        references=any(edit.get("references") for edit in edits),
        guides=plain_guides(recipe),
        measures=measures,
        # A dataset keeps the type that it was begun with.
        wide_seeds="seed" in schema.names and schema.field("seed").type == pa.uint64(),
        is_given=not chain,
        outcomes=_outcomes(schema),
    )
    expected = (dataset.rejected() if is_rejected else dataset).arrow()
    for column in expected:
        if column.name not in schema.names:
            yield f"there is no column {shown(column.name)}"
        elif schema.field(column.name).type != column.type:
            yield f"the column {shown(column.name)} is {schema.field(column.name).type}, and should be {column.type}"
    unknown = [name for name in schema.names if name not in expected.names]
    if unknown:
        yield f"columns that this recipe does not give: {', '.join(unknown)}"
    features = _features(schema)
    if features is None:
        yield "no 'huggingface' metadata: images would open as plain dicts"
    elif not unknown and features != _features(expected):
        yield "the 'huggingface' metadata does not describe the columns: some would open as something else"


def _features(schema: pa.Schema) -> Any:
    try:
        return json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return None


def _outcomes(schema: pa.Schema) -> tuple[OutcomeColumn, ...]:
    """The outcomes that the file names, with the kinds that these have; those of rejected/ alone are left out."""
    known = {outcome.name for outcome in OF_REJECTED}
    return tuple(OutcomeColumn(name, _kind(schema, name)) for name in outcomes_in(schema).names if name not in known)


def _kind(schema: pa.Schema, name: str) -> OutcomeKind:
    if name.startswith(("score_", "input_score_")):
        return "float32"
    found = schema.field(name).type if name in schema.names else None
    return next((kind for kind, arrow in TYPES.items() if arrow == found), "str")
