"""Filter of a dataset's rows: the text of `--where`, parsed into a pyarrow expression.

    width >= 512 and (prompt like '%fox%' or style in ('ink', 'oil')) and not caption is null

A condition compares a column with a value: ``=`` (or ``==``), ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in (...)``,
``like`` (``%`` for any text, ``_`` for one character, capitals matter; ``ilike`` where they do not) and ``is null``;
``not in``, ``not like`` and ``is not null`` are their opposites. ``and``, ``or``, ``not`` and parentheses join
conditions. A text stands in single quotes, a quote in it doubled; a column whose name is not a plain word stands in
double quotes. As in SQL, a row whose column is null meets no comparison.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown

MAX_LENGTH = 10_000
"""Longest filter, in characters."""

MAX_DEPTH = 50
"""Deepest nesting of parentheses and `not`."""

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<word>[^\W\d]\w*)
    | (?P<sign><=|>=|!=|<>|==|[=<>(),])
    )""",
    re.VERBOSE,
)

_ROW = "\0row"
"""Name that no column of a dataset has."""

_WORDS = frozenset(["and", "or", "not", "in", "like", "ilike", "is", "null", "true", "false"])

_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda column, value: column == value,
    "==": lambda column, value: column == value,
    "!=": lambda column, value: column != value,
    "<>": lambda column, value: column != value,
    "<": lambda column, value: column < value,
    "<=": lambda column, value: column <= value,
    ">": lambda column, value: column > value,
    ">=": lambda column, value: column >= value,
}


class Comparison(NamedTuple):
    """A condition that compares a column with a number."""

    column: str
    sign: str
    value: float


@dataclass(frozen=True, slots=True)
class Where:
    """A parsed filter."""

    text: str
    expression: Any
    """pyarrow.compute.Expression."""
    columns: frozenset[str]
    """The columns that it reads."""
    schema: pa.Schema
    comparisons: tuple[Comparison, ...] | None = None
    """Its conditions, if all of them compare with numbers and are joined by ``and``; None for any other filter."""

    def keeps(self, table: pa.Table) -> list[bool]:
        """Mask of a table's rows that meet the filter; a column that the table lacks is null."""
        kept = set(self.matching(table).tolist())
        return [row in kept for row in range(table.num_rows)]

    def matching(self, table: pa.Table) -> np.ndarray[Any, Any]:
        """The numbers of the rows of a table that meet the filter, ascending."""
        for name in self.columns.difference(table.column_names):
            table = table.append_column(name, pa.nulls(table.num_rows, self.schema.field(name).type))
        numbered = table.append_column(_ROW, pa.array(np.arange(table.num_rows)))
        numbers: np.ndarray[Any, Any] = numbered.filter(self.expression).column(_ROW).to_numpy()
        return numbers


def parse_where(text: str, schema: pa.Schema, names: Mapping[str, str] | None = None) -> Where:
    """Parse a filter over the columns of ``schema``. Raises RecipeError.

    ``names``: further names of columns, such as a scorer's for its score_ column.
    """
    if len(text) > MAX_LENGTH:
        raise RecipeError(f"--where has {len(text):,} characters; it may have {MAX_LENGTH:,}.")
    parser = _Parser(text, schema, names or {})
    expression = parser.any_of()
    parser.end()
    return Where(text, expression, frozenset(parser.columns), schema, parser.only_comparisons())


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, text: str, schema: pa.Schema, names: Mapping[str, str]) -> None:
        # It takes 0.2 s, which commands without a filter need not pay.
        from pyarrow import compute

        self._compute = compute
        self._text, self._schema, self._names = text, schema, names
        self._tokens = self._split(text)
        self._next = self._depth = 0
        self.columns: set[str] = set()
        self._comparisons: list[Comparison] = []

    def only_comparisons(self) -> tuple[Comparison, ...] | None:
        """The conditions of a filter that only compares with numbers, all at once; None for any other filter."""
        is_other = any(kind == "text" or (kind == "keyword" and text != "and") for kind, text, _ in self._tokens)
        return None if is_other else tuple(self._comparisons)

    def _split(self, text: str) -> list[tuple[str, str, int]]:
        """(kind, content, where it begins) of each token; the last is ("end", "", ...)."""
        tokens, at, end = [], 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._fault(at, "a column, a value or a comparison")
            kind = str(match.lastgroup)
            content, begin = match.group(kind), match.start(kind)
            if kind == "word" and content.lower() in _WORDS:
                kind, content = "keyword", content.lower()
            tokens.append((kind, content, begin))
            at = match.end()
        return [*tokens, ("end", "", end)]

    def _fault(self, at: int, expected: str) -> RecipeError:
        at += len(self._text[at:]) - len(self._text[at:].lstrip())
        there = shown(self._text[at:], 40) if self._text[at:].strip() else "the end"
        return RecipeError(
            f"--where is not a filter: at character {at + 1} it has {there}, and {expected} is expected. Write it like "
            "\"width >= 512 and prompt like '%fox%'\"."
        )

    def _take(self, *contents: str, kind: str = "") -> str | None:
        """The next token's content if it is one of these; None, and it stays the next, otherwise."""
        found, content, _ = self._tokens[self._next]
        if (kind and found == kind) or (found in ("keyword", "sign") and content in contents):
            self._next += 1
            return content
        return None

    def _require(self, content: str) -> None:
        if self._take(content) is None:
            raise self._fault(self._tokens[self._next][2], f"'{content}'")

    def end(self) -> None:
        """Raise RecipeError unless the text ends here."""
        if self._take(kind="end") is None:
            raise self._fault(self._tokens[self._next][2], "'and', 'or' or the end")

    def any_of(self) -> Any:
        """Conditions joined by or."""
        expression = self._all_of()
        while self._take("or"):
            expression = expression | self._all_of()
        return expression

    def _all_of(self) -> Any:
        expression = self._one()
        while self._take("and"):
            expression = expression & self._one()
        return expression

    def _one(self) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise RecipeError(f"--where is nested over {MAX_DEPTH} deep: write it with fewer parentheses and nots.")
        if self._take("not"):
            expression = ~self._one()
        elif self._take("("):
            expression = self.any_of()
            self._require(")")
        else:
            expression = self._condition()
        self._depth -= 1
        return expression

    def _condition(self) -> Any:
        at = self._tokens[self._next][2]
        name = self._take(kind="word")
        if name is None:
            quoted = self._take(kind="quoted")
            if quoted is None:
                raise self._fault(at, "a column")
            name = quoted[1:-1].replace('""', '"')
        column, kind = self._column(name)
        if self._take("is"):
            negated = self._take("not")
            self._require("null")
            return column.is_valid() if negated else column.is_null()
        negated = self._take("not")
        if self._take("in"):
            expression = self._is_in(name, column, kind)
        elif like := self._take("like", "ilike"):
            if not _is_text(kind):
                raise RecipeError(f"--where: {shown(name)} is {kind}, and {like!r} is for texts.")
            expression = self._compute.match_like(column, self._pattern(), ignore_case=like == "ilike")
        elif negated is None and (sign := self._take(*_COMPARISONS)):
            found, content, _ = self._tokens[self._next]
            expression = _COMPARISONS[sign](column, self._value(name, kind))
            if found == "number":
                self._comparisons.append(Comparison(self._named(name), sign, float(content)))
        else:
            raise self._fault(self._tokens[self._next][2], "a comparison such as '=', '<', 'in' or 'like'")
        return ~expression if negated else expression

    def _named(self, name: str) -> str:
        return name if name in self._schema.names else self._names.get(name, name)

    def _column(self, name: str) -> tuple[Any, pa.DataType]:
        column = self._named(name)
        if column not in self._schema.names:
            known = [*self._schema.names, *self._names]
            near = get_close_matches(name, known, 3) or known
            raise RecipeError(
                f"--where: there is no column {shown(name)}; there is {', '.join(shown(one, 40) for one in near[:8])}."
            )
        self.columns.add(column)
        field, kind = self._compute.field(column), self._schema.field(column).type
        return (field.cast(kind.value_type), kind.value_type) if pa.types.is_dictionary(kind) else (field, kind)

    def _pattern(self) -> str:
        at = self._tokens[self._next][2]
        text = self._take(kind="text")
        if text is None:
            raise self._fault(at, "a text in single quotes")
        return _unquoted(text)

    def _is_in(self, name: str, column: Any, kind: pa.DataType) -> Any:
        self._require("(")
        values = [self._value(name, kind)]
        while self._take(","):
            values.append(self._value(name, kind))
        self._require(")")
        either = column == values[0]
        for value in values[1:]:
            either = either | (column == value)
        return either

    def _value(self, name: str, kind: pa.DataType) -> pa.Scalar:
        """The next value, as the column's type. Raises RecipeError for one that the column cannot have."""
        found, content, at = self._tokens[self._next]
        if found not in ("text", "number") and content not in ("true", "false"):
            raise self._fault(at, "a number, a text in single quotes, true or false")
        self._next += 1
        try:
            return _scalar(found, content, kind)
        except pa.ArrowException as error:
            value = _unquoted(content) if found == "text" else content
            raise RecipeError(f"--where: {shown(name)} is {kind}, and {shown(value)} is not.") from error


def _scalar(found: str, content: str, kind: pa.DataType) -> pa.Scalar:
    types = pa.types
    if found == "text" and not (types.is_boolean(kind) or types.is_nested(kind) or _is_number(kind)):
        return pa.scalar(_unquoted(content)).cast(kind)
    if found == "number" and types.is_floating(kind):
        # In the column's own precision: a score that is stored as 0.24 is at least 0.24.
        return pa.scalar(float(content), kind)
    if found == "number" and _is_number(kind):
        return pa.scalar(Decimal(content)) if re.search("[.eE]", content) else pa.scalar(int(content), kind)
    if found == "keyword" and types.is_boolean(kind):
        return pa.scalar(content == "true")
    raise pa.ArrowInvalid("of another type")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'")
