"""The columns of a dataset, and the digest that all row keys hold, are what they were in version 0.1.0."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.files.outcomes import OutcomeColumn
from imagemill.data.dataset.schema import DatasetSchema
from imagemill.models.drawing.measure_registry import measures_of

UNTRUNCATED = {"prompt_truncated": False}
TRUNCATED = {"prompt_truncated": True}
CHAIN = [
    {"generate": {"safety": "set_aside"}},
    {"edit": {"instructions": ["a"]}},
    {"edit": {"safety": "flag", "instructions": ["a"], "multi_turn": True}},
]


@pytest.mark.parametrize(
    ("fields", "digest", "columns"),
    [
        ({"generate": {}}, "330f606bb80493d89d46c06ef6106248", "428da0598b57a607"),
        ({"generate": {}, **TRUNCATED}, "cac9f1a48e41d15abb9d5b2477414f82", "5fde075ab79a8e99"),
        (
            {"generate": {}, "edit": {}, "image_format": "jpeg", **TRUNCATED},
            "71d29bcb57ecd3366d5cb9ed8ee0ff33",
            "449ef1e4bb91a596",
        ),
        (
            {"generate": {"safety": "flag"}, "edit": {}, **TRUNCATED},
            "07025e537139544212e5152299ec838c",
            "3e52786873300bd3",
        ),
        (
            {"generate": {"safety": "set_aside"}, **UNTRUNCATED},
            "959d1b920b07b5031cdcda464e57c7b6",
            "428da0598b57a607",
        ),
        ({"steps": CHAIN, **TRUNCATED}, "ce18114f90b9b653905e8ed2431e9105", "7afd29060ff42051"),
    ],
)
def test_the_schema_of_a_recipe_is_what_it_was(fields: dict[str, Any], digest: str, columns: str):
    recipe = load_recipe({"prompts": "p", **fields})
    schema = DatasetSchema.of(recipe, {"note": "str"}, measures_of(recipe.model_dump(mode="json")))
    assert schema.digest() == digest
    found = [(column.name, str(column.type)) for column in schema.arrow()]
    assert hashlib.sha256(str(found).encode()).hexdigest()[:16] == columns


def test_outcomes_are_columns_after_imagemills_own_and_are_in_no_digest():
    plain = DatasetSchema.of(load_recipe({"prompts": "p", "generate": {}}), {"note": "str"})
    outcomes = (
        OutcomeColumn("candidate", "int"),
        OutcomeColumn("split", "str"),
        OutcomeColumn("score_fits", "float32"),
    )
    judged = replace(plain, outcomes=outcomes)
    assert judged.digest() == plain.digest() == judged.rejected().digest()
    added = [("candidate", "int32"), ("split", "string"), ("score_fits", "float")]
    columns = [(column.name, str(column.type)) for column in plain.arrow()]
    assert [(column.name, str(column.type)) for column in judged.arrow()] == [*columns[:-1], *added, columns[-1]]
    assert judged.rejected().arrow().names[-4:] == ["rejected_at", "rejected_by", "duplicate_of", "note"]
    assert set(plain.arrow().metadata) == {b"huggingface", b"imagemill"}


def test_a_carried_column_gives_its_name_to_an_outcome_in_the_files_alone():
    plain = DatasetSchema.of(load_recipe({"prompts": "p", "generate": {}}), {"split": "str", "rejected_by": "int"})
    judged = replace(plain, outcomes=(OutcomeColumn("split", "str"),))
    assert judged.carried == plain.carried
    assert judged.digest() == plain.digest()
    assert judged.arrow().names[-3:] == ["split", "source_split", "source_rejected_by"]
    assert judged.rejected().arrow().names[-2:] == ["source_split", "source_rejected_by"]
