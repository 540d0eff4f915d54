"""A filter keeps the rows that it describes, and a text that is none says where it goes wrong."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from imagemill.data.dataset.where import MAX_DEPTH, MAX_LENGTH, parse_where
from imagemill.data.errors import RecipeError

TABLE = pa.table(
    {
        "prompt": ["a fox", "a kite", "it's 100 %", None],
        "width": pa.array([512, 1024, 512, None], pa.int32()),
        "score_fits": pa.array([0.24, 0.3, None, 0.1], pa.float32()),
        "unsafe": [True, False, None, False],
        "made": [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3, 4)],
        "price": [Decimal("1.10"), Decimal("2.00"), None, Decimal("0.50")],
        "seed": pa.array([2**64 - 1, 0, 1, 2], pa.uint64()),
        "style": pa.array(["ink", "oil", "ink", None]).dictionary_encode(),
        "two words": [1, 2, 3, 4],
        "tags": [["a"], [], None, ["b"]],
    }
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("width = 512", [0, 2]),
        ("width == 512 and prompt = 'a fox'", [0]),
        ("width != 512", [1]),
        ("width IS NULL", [3]),
        ("width is not null", [0, 1, 2]),
        ("not width = 512", [1]),
        ("width > 512.5 or prompt is null", [1, 3]),
        ("width in (512, 2048)", [0, 2]),
        ("width not in (512)", [1]),
        ("not (width in (512))", [1]),
        ("prompt like 'a %'", [0, 1]),
        ("prompt like '_ fo_'", [0]),
        ("prompt like 'A %'", []),
        ("prompt ilike 'A %'", [0, 1]),
        ("prompt not ilike 'A %'", [2]),
        ("prompt not like 'a %'", [2]),
        ("prompt = 'it''s 100 %'", [2]),
        ("score_fits >= 0.24", [0, 1]),
        ("fits < 0.2", [3]),
        ("unsafe = true", [0]),
        ("unsafe != true", [1, 3]),
        ("made >= '2026-01-03T00:00:00Z'", [2, 3]),
        ("price = 1.1", [0]),
        ("seed = 18446744073709551615", [0]),
        ("style in ('oil', 'ink') AND NOT style = 'ink'", [1]),
        ('"two words" <= 2', [0, 1]),
        ("tags is null", [2]),
        ("width=512or(prompt='a kite'and fits<>1)", [0, 1, 2]),
        ("width = 512 or width = 1024 and prompt = 'a fox'", [0, 2]),
        ("width < -1e3", []),
    ],
)
def test_a_filter_keeps_the_rows_that_it_describes(text: str, kept: list[int]):
    where = parse_where(text, TABLE.schema, {"fits": "score_fits"})
    assert [row for row, is_kept in enumerate(where.keeps(TABLE)) if is_kept] == kept


def test_a_filter_names_the_columns_that_it_reads():
    assert parse_where("fits > 1 or prompt is null", TABLE.schema, {"fits": "score_fits"}).columns == {
        "score_fits",
        "prompt",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"at character 1 it has the end, and a column is expected"),
        ("width", r"at character 6 it has the end, and a comparison such as '='"),
        ("width = ", r"a number, a text in single quotes, true or false is expected"),
        (
            "width = 512 prompt = 'x'",
            r"at character 13 it has \"prompt = 'x'\", and 'and', 'or'",
        ),
        ("(width = 512", r"'\)' is expected"),
        ("width = 512; drop", r"at character 12 it has '; drop'"),
        ("width = 'big'", r"'width' is int32, and 'big' is not"),
        ("width = 5000000000", r"'width' is int32, and '5000000000' is not"),
        ("prompt > 5", r"'prompt' is string, and '5' is not"),
        ("width like '5%'", r"'width' is int32, and 'like' is for texts"),
        ("promt = 'x'", r"there is no column 'promt'; there is 'prompt'"),
        ("__import__('os')", r"there is no column '__import__'"),
        ("tags = 'a'", r"and 'a' is not"),
        ("made > 'yesterday'", r"and 'yesterday' is not"),
        ("prompt = 'open", r"at character 10 it has \"'open\""),
        ("not " * (MAX_DEPTH + 1) + "width = 1", r"nested over 50 deep"),
        ("width = 1 or " * MAX_LENGTH, r"it may have 10,000"),
    ],
)
def test_a_text_that_is_no_filter_says_where_it_goes_wrong(text: str, message: str):
    with pytest.raises(RecipeError, match=message):
        parse_where(text, TABLE.schema)


def test_a_row_whose_column_is_null_meets_no_comparison():
    table = pa.table({"prompt": pa.array([None], pa.string())})
    assert parse_where("prompt = 'a' or not prompt = 'a'", table.schema).keeps(table) == [False]
